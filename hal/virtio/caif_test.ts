import { assertEquals } from "@std/assert";
import { DeviceId } from "./ids.ts";
import { CAIF_CONFIG, CAIF_DEFAULT, CaifQueue } from "./caif.ts";

// Typed again from Linux's struct virtio_caif_transf_config and struct virtio_caif_config.
Deno.test("caif: the configuration is two directions of 12 bytes and 8 more", () => {
  const at = (name: keyof typeof CAIF_CONFIG): number =>
    (CAIF_CONFIG[name] as { offset: number }).offset;
  assertEquals([at("uplink_headroom"), at("uplink_tailroom"), at("uplink_mtu")], [0, 2, 4]);
  assertEquals([at("downlink_headroom"), at("downlink_tailroom"), at("downlink_mtu")], [
    12,
    14,
    16,
  ]);
  assertEquals([at("reserved"), CAIF_CONFIG.SIZE], [24, 32]);
  assertEquals(CAIF_DEFAULT, { headroom: 32, tailroom: 32, mtu: 4096 });
});

// Typed again from Linux's virtio_ids.h (VIRTIO_ID_CAIF) and from the order of queues here: Linux has none.
Deno.test("caif: device id 12, frames to the modem by queue 0 and from it by queue 1", () => {
  assertEquals([DeviceId.CAIF, CaifQueue.TRANSMIT, CaifQueue.RECEIVE], [12, 0, 1]);
});
