import { assertEquals } from "@std/assert";
import { NET_CONFIG, NET_HDR, NetCtrl, NetFeature, NetGso } from "./net.ts";

Deno.test("net: the config layout is that of virtio 1.4 §5.1.4", () => {
  assertEquals([
    NET_CONFIG.mac.offset,
    NET_CONFIG.status.offset,
    NET_CONFIG.max_virtqueue_pairs.offset,
    NET_CONFIG.mtu.offset,
    NET_CONFIG.speed.offset,
    NET_CONFIG.duplex.offset,
    NET_CONFIG.rss_max_key_size.offset,
    NET_CONFIG.rss_max_indirection_table_length.offset,
    NET_CONFIG.supported_hash_types.offset,
  ], [0, 6, 8, 10, 12, 16, 17, 18, 20]);
});

Deno.test("net: the header layout is that of virtio 1.4 §5.1.6", () => {
  assertEquals([
    NET_HDR.flags.offset,
    NET_HDR.gso_type.offset,
    NET_HDR.hdr_len.offset,
    NET_HDR.gso_size.offset,
    NET_HDR.csum_start.offset,
    NET_HDR.csum_offset.offset,
    NET_HDR.num_buffers.offset,
    NET_HDR.SIZE,
  ], [0, 1, 2, 4, 6, 8, 10, 12]);
});

Deno.test("net: feature, gso and class numbers are those of virtio 1.4 §5.1", () => {
  assertEquals([
    NetFeature.CSUM,
    NetFeature.MTU,
    NetFeature.MAC,
    NetFeature.GUEST_UFO,
    NetFeature.HOST_UFO,
    NetFeature.MRG_RXBUF,
    NetFeature.CTRL_RX_EXTRA,
    NetFeature.MQ,
    NetFeature.CTRL_MAC_ADDR,
    NetFeature.SPEED_DUPLEX,
  ], [0, 3, 5, 10, 14, 15, 20, 22, 23, 63]);
  assertEquals([NetGso.TCPV4, NetGso.UDP, NetGso.TCPV6, NetGso.ECN], [1, 3, 4, 0x80]);
  assertEquals([NetCtrl.RX, NetCtrl.VLAN, NetCtrl.MQ, NetCtrl.GUEST_OFFLOADS], [0, 2, 4, 5]);
});
