import { assertEquals } from "@std/assert";
import { CAIF_CONFIG, CAIF_DEFAULT } from "./caif.ts";

// Typed anew from Linux's struct virtio_caif_transf_config and struct virtio_caif_config.
Deno.test("caif: the configuration is two directions of 12 bytes and 8 more", () => {
  const at = (name: keyof typeof CAIF_CONFIG): number =>
    (CAIF_CONFIG[name] as { offset: number }).offset;
  assertEquals([at("uplinkHeadroom"), at("uplinkTailroom"), at("uplinkMtu")], [0, 2, 4]);
  assertEquals([at("downlinkHeadroom"), at("downlinkTailroom"), at("downlinkMtu")], [12, 14, 16]);
  assertEquals([at("reserved"), CAIF_CONFIG.SIZE], [24, 32]);
  assertEquals(CAIF_DEFAULT, { headroom: 32, tailroom: 32, mtu: 4096 });
});
