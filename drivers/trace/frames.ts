const IPV4 = 0x0800;
const ARP = 0x0806;
const VLAN = 0x8100;
const PROTOCOLS: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP" };
const ICMP: Readonly<Record<number, string>> = { 0: "echo reply", 8: "echo request" };
const TCP_FLAGS = ["FIN", "SYN", "RST", "PSH", "ACK"] as const;

/**
 * An Ethernet frame in a few words, for example `ICMP echo request 10.0.2.15 > 10.0.2.2 sequence 1`.
 *
 * @example
 * ```ts
 * import { describeFrame } from "@vireo/drivers/trace";
 * import { arpRequest } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const mac = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
 * const frame = arpRequest({ mac, source: "10.0.2.15", target: "10.0.2.2" });
 * assertEquals(describeFrame(frame), "ARP who has 10.0.2.2, tell 10.0.2.15");
 * ```
 */
export function describeFrame(frame: Uint8Array): string {
  if (frame.length < 14) return `frame of ${frame.length} bytes`;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  let [at, type, vlan] = [14, view.getUint16(12), ""];
  if (type === VLAN && frame.length >= 18) {
    [at, type, vlan] = [18, view.getUint16(16), `VLAN ${view.getUint16(14) & 0xfff} `];
  }
  if (type === ARP && frame.length >= at + 28) return vlan + arp(view, at);
  if (type === IPV4 && frame.length >= at + 20) return vlan + ipv4(view, at);
  return `${vlan}frame of type 0x${type.toString(16).padStart(4, "0")}`;
}

function address(view: DataView, at: number): string {
  return [0, 1, 2, 3].map((i) => view.getUint8(at + i)).join(".");
}

function arp(view: DataView, at: number): string {
  const [sender, target] = [address(view, at + 14), address(view, at + 24)];
  return view.getUint16(at + 6) === 1
    ? `ARP who has ${target}, tell ${sender}`
    : `ARP ${sender} is at ${mac(view, at + 8)}`;
}

function mac(view: DataView, at: number): string {
  return [0, 1, 2, 3, 4, 5].map((i) => view.getUint8(at + i).toString(16).padStart(2, "0"))
    .join(":");
}

function ipv4(view: DataView, at: number): string {
  const protocol = view.getUint8(at + 9);
  const [source, target] = [address(view, at + 12), address(view, at + 16)];
  const name = PROTOCOLS[protocol] ?? `IPv4 protocol ${protocol}`;
  const inner = at + 4 * (view.getUint8(at) & 0xf);
  const fragment = (view.getUint16(at + 6) & 0x1fff) !== 0;
  if (fragment || inner + 8 > view.byteLength) return `${name} ${source} > ${target}`;
  if (name === "ICMP") {
    const type = view.getUint8(inner);
    const text = ICMP[type] ?? `type ${type}`;
    return `ICMP ${text} ${source} > ${target} sequence ${view.getUint16(inner + 6)}`;
  }
  if (name !== "TCP" && name !== "UDP") return `${name} ${source} > ${target}`;
  const ports = [view.getUint16(inner), view.getUint16(inner + 2)];
  const text = `${name} ${source}:${ports[0]} > ${target}:${ports[1]}`;
  if (name === "UDP" || inner + 20 > view.byteLength) return text;
  const flags = TCP_FLAGS.filter((_, bit) => (view.getUint8(inner + 13) & 1 << bit) !== 0);
  return `${text} ${flags.join("|")}`;
}
