import { assertEquals } from "@std/assert";
import {
  DeviceId,
  type Dma,
  NetFeature,
  type VhostUserLease,
  type VhostUserNode,
} from "@vireo/hal";
import { VhostUserTransport } from "./vhost_user.ts";

/** A transport of a device with so many queues, whose back end has the configuration or not. */
function transport(deviceId: number, hasConfig: boolean, pairs = 0): VhostUserTransport {
  const lease = { hasConfig, queues: 2, pairs } as unknown as VhostUserLease;
  const node: VhostUserNode = { kind: "vhost-user", name: "x", deviceId, open: () => lease };
  return new VhostUserTransport(node, undefined as unknown as Dma);
}

Deno.test("a network device without a configuration lacks what is in it, as DPDK's", () => {
  const told = [
    NetFeature.MTU,
    NetFeature.MAC,
    NetFeature.STATUS,
    NetFeature.SPEED_DUPLEX,
  ];
  const withheld = (hasConfig: boolean) =>
    told.map((bit) => transport(DeviceId.NET, hasConfig).withheld.has(bit));
  assertEquals(withheld(false), told.map(() => true));
  assertEquals(withheld(true), told.map(() => false));
  const { CTRL_VQ, RSS, HASH_REPORT, NOTF_COAL, VQ_NOTF_COAL } = NetFeature;
  for (const bit of [CTRL_VQ, RSS, HASH_REPORT, NOTF_COAL, VQ_NOTF_COAL]) {
    assertEquals(transport(DeviceId.NET, true).withheld.has(bit), true, `${bit}`);
  }
  // The front end has the control queue itself if there are pairs of queues to switch.
  for (const bit of [CTRL_VQ, NetFeature.MQ]) {
    assertEquals([0, 1].map((pairs) => transport(DeviceId.NET, true, pairs).withheld.has(bit)), [
      true,
      false,
    ]);
  }
  assertEquals([...transport(DeviceId.CONSOLE, false).withheld], []);
});

Deno.test("queues are no larger than back ends take, which may end instead of refusing one", () => {
  const sizes = (deviceId: number) =>
    [0, 1, 2].map((index) => transport(deviceId, true).queueMaxSize(index));
  assertEquals(sizes(DeviceId.CONSOLE), [128, 128, 0]);
  assertEquals(sizes(DeviceId.SCSI), [128, 128, 0]);
  assertEquals(sizes(DeviceId.NET), [1024, 1024, 0]);
  assertEquals(sizes(DeviceId.BLOCK), [1024, 1024, 0]);
});
