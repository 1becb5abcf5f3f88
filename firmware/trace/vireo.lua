-- Shows what Vireo wrote into a pcapng file beside the frames of networks: one line of text an event.
-- Load it with: wireshark -X lua_script:vireo.lua trace.pcapng
local vireo = Proto("vireo", "Vireo trace")
local device = ProtoField.string("vireo.device", "Device")
local event = ProtoField.string("vireo.event", "Event")
vireo.fields = { device, event }

function vireo.dissector(buffer, packet, tree)
  local text = buffer():string()
  local name, what = text:match("^(%S+) (.*)$")
  if name == nil then return 0 end
  packet.cols.protocol = "VIREO"
  packet.cols.info = text
  local node = tree:add(vireo, buffer(), "Vireo: " .. text)
  node:add(device, buffer(0, #name), name)
  node:add(event, buffer(#name + 1), what)
  return buffer:len()
end

local wtap = wtap_encaps or wtap
DissectorTable.get("wtap_encap"):add(wtap.USER0, vireo)
