import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  DeviceId,
  type Dma,
  FeatureSet,
  type Interrupt,
  NetFeature,
  type VhostUserLease,
  type VhostUserNode,
  VireoError,
} from "@vireo/hal";
import { TestDma } from "../testing/dma.ts";
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

const RING = { size: 8, desc: 0x1000, driver: 0x2000, device: 0x3000 };

/** A transport whose back end has two queues and 8 bytes of configuration, and what it is told. */
function recorded() {
  const log: string[] = [];
  const config = Uint8Array.of(0x11, 0x22, 0x33, 0x84, 0x55, 0x66, 0x77, 0x88);
  const back = { present: true, configChanges: 0, status: 0 };
  const interrupts = [0, 1, 2].map((): Interrupt => ({ polled: false, wait: async () => {} }));
  const lease: VhostUserLease = {
    queues: 2,
    pairs: 0,
    hasConfig: true,
    get present() {
      return back.present;
    },
    get configChanges() {
      return back.configChanges;
    },
    configInterrupt: interrupts[2]!,
    readFeatures: () => FeatureSet.of(32, 34),
    writeFeatures: (features) => log.push(`features ${[...features]}`),
    readStatus: () => back.status,
    writeStatus: (status) => log.push(`status ${back.status = status}`),
    reset: () => log.push("reset"),
    setUpQueue: (index, { size, packed }) => log.push(`set up ${index}: ${size} ${packed}`),
    enableQueue: (index) => log.push(`enable ${index}`),
    stopQueue: (index) => log.push(`stop ${index}`),
    queueInterrupt: (index) => interrupts[index]!,
    takeInterrupt: () => false,
    kick: (index) => log.push(`kick ${index}`),
    readConfig: (offset, length) => config.slice(offset, offset + length),
    writeConfig: (offset, bytes) => log.push(`config ${offset}: ${bytes}`),
    [Symbol.dispose]: () => log.push("closed"),
  };
  const node: VhostUserNode = { kind: "vhost-user", name: "x", deviceId: 5, open: () => lease };
  const dma = new TestDma();
  const it = new VhostUserTransport(node, dma);
  return { it, dma, back, interrupts, log, taken: () => log.splice(0) };
}

Deno.test("vhost-user: queues are enabled with DRIVER_OK, and those that are set up after it at once", async () => {
  const { it, dma, taken } = recorded();
  assertEquals([it.name, it.deviceId, it.dma], ["x", 5, dma]);
  it.writeFeatures(it.readFeatures());
  it.enableQueue(1, RING);
  it.startQueues();
  it.writeStatus(11);
  it.startQueues();
  assertEquals(taken(), ["features 32,34", "set up 1: 8 true", "status 11"]);
  it.writeStatus(15);
  assertEquals([taken(), it.readStatus()], [["enable 1", "status 15"], 15]);
  it.enableQueue(0, RING);
  assertEquals(taken(), ["set up 0: 8 true"]);
  it.startQueues();
  it.startQueues();
  it.notify(1);
  assertEquals(taken(), ["enable 0", "kick 1"]);
  assertThrows(() => it.writeStatus(0), RangeError, "use reset()");
  await it.reset();
  // Split rings from now on, and none is enabled before DRIVER_OK.
  it.writeFeatures(FeatureSet.of(32));
  it.enableQueue(0, RING);
  it.startQueues();
  it[Symbol.dispose]();
  assertEquals(taken(), ["reset", "features 32", "set up 0: 8 false", "closed"]);
});

Deno.test("vhost-user: a queue is in use until it is stopped or the device is reset", async () => {
  const { it, back, taken } = recorded();
  it.enableQueue(0, RING);
  const used = assertThrows(() => it.queueMaxSize(0), VireoError);
  assertEquals([used.code, used.queue, it.queueMaxSize(1)], ["QUEUE_IN_USE", 0, 128]);
  it.disableQueue(0);
  assertEquals(it.queueMaxSize(0), 128);
  // One that was stopped is not enabled.
  it.writeStatus(4);
  assertEquals(taken(), ["set up 0: 8 false", "stop 0", "status 4"]);
  it.enableQueue(0, RING);
  await it.reset();
  assertEquals(it.queueMaxSize(0), 128);
  it.writeStatus(4);
  assertEquals(taken(), ["set up 0: 8 false", "reset", "status 4"]);
  // A back end that is gone hears nothing.
  back.present = false;
  it.disableQueue(0);
  assertEquals([it.isPresent(), taken()], [false, []]);
  const reset = () => it.resetQueue(1);
  assertEquals((await assertRejects(reset, VireoError)).code, "QUEUE_RESET_UNSUPPORTED");
});

Deno.test("vhost-user: changes have an interrupt, and so has each queue that is waited for", async () => {
  const { it, interrupts, back } = recorded();
  assertEquals([it.route, it.interrupt], [undefined, interrupts[2]!]);
  const route = it.routeInterrupts([{ index: 0, wanted: false }, { index: 1, wanted: true }]);
  assertEquals(route.sources, [
    { interrupt: interrupts[2]!, cause: 2, queues: [] },
    { interrupt: interrupts[1]!, cause: 1, queues: [1] },
  ]);
  assertEquals(it.route, route);
  const causes = () => [it.peekInterruptCause(), it.takeInterruptCause(), it.peekInterruptCause()];
  assertEquals([causes(), it.configGeneration()], [[0, 0, 0], 0]);
  back.configChanges = 2;
  assertEquals([causes(), it.configGeneration()], [[2, 2, 0], 2]);
  await it.reset();
  assertEquals(it.route, undefined);
});

Deno.test("vhost-user: a field of configuration is one message, little-endian and aligned", () => {
  const { it, taken } = recorded();
  assertEquals([it.readConfig(0, 4), it.readConfig(6, 2), it.readConfig(3, 1)], [
    0x84332211,
    0x8877,
    0x84,
  ]);
  it.writeConfig(4, 4, 0x87654321);
  it.writeConfig(0, 2, 0x1234);
  assertEquals(taken(), ["config 4: 33,67,101,135", "config 0: 52,18"]);
  for (const offset of [-4, 2, 0.5, NaN]) {
    assertThrows(() => it.readConfig(offset, 4), RangeError, `offset ${offset}`);
  }
});
