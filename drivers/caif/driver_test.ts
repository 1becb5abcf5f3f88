import { assertEquals, assertThrows } from "@std/assert";
import { VireoError, type VireoErrorCode } from "@vireo/hal";
import type { QueueRequest } from "../device.ts";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Caif } from "./driver.ts";

/** A driver whose modem offers buffers of these lengths in its memory, and what the driver did with them. */
function rig(...lengths: readonly number[]) {
  const fake = new FakeDevice();
  const { device } = fake;
  const done: string[] = [];
  const ring = {
    index: 1,
    elements: [] as { address: number; length: number }[],
    broken: undefined as VireoError | undefined,
    pop() {
      const next = done.length;
      if (this.broken !== undefined || next === lengths.length) return -1;
      this.elements = [{ address: 0x1000 + 64 * next, length: lengths[next]! }];
      done.push("taken");
      return next;
    },
    giveBack: (head: number) => done[head] = "returned",
    kick() {},
    enableCallbacks: () => true,
    disableCallbacks() {},
    break(reason: VireoError) {
      this.broken = reason;
    },
  };
  const { findQueues } = device;
  const memory = { bytes: new Uint8Array(4096), [Symbol.dispose]() {} };
  // A direction has a headroom of 4, a tailroom of 2 and an MTU of 32.
  fake.config.setUint16(0, 4, true);
  fake.config.setUint16(2, 2, true);
  fake.config.setUint32(4, 32, true);
  const made = Object.assign(device, {
    queues: fake.queues,
    sharedMemory: () => ({ address: 0x1000, length: 4096 }),
    openSharedMemory: () => memory,
    findQueues: (requests: readonly QueueRequest[]) => [findQueues([requests[0]!])[0], ring],
  });
  return { fake, caif: new Caif(made as never), done };
}

Deno.test("caif: what the modem offered before the driver was ready is received", async () => {
  const { caif, done } = rig(16, 17);
  caif.scan();
  assertEquals([(await caif.receive()).length, (await caif.receive()).length], [10, 11]);
  assertEquals(done, ["returned", "returned"]);
});

Deno.test("caif: a buffer that cannot be a frame breaks the link, and is not given back", () => {
  for (const length of [6, 33]) {
    const { fake, caif, done } = rig(16, length, 16);
    caif.scan();
    assertEquals([caif.waiting, done, fake.log], [1, ["returned", "taken"], ["break CHAIN_SHAPE"]]);
  }
});

Deno.test("caif: a modem whose memory cannot be opened is refused", () => {
  const { device } = new FakeDevice();
  device.config.write32(4, 32);
  const made = Object.assign(device, {
    sharedMemory: () => ({ address: 0x1000, length: 4096 }),
    openSharedMemory() {},
  });
  assertEquals(assertThrows(() => new Caif(made as never), VireoError).code, "UNSUPPORTED");
});

Deno.test("caif: only a configuration that is not there is replaced by the defaults", () => {
  for (
    const [error, expected] of [
      [new VireoError("CONFIG_ACCESS", "As the test wants"), "UNSUPPORTED"],
      [new VireoError("DEVICE_REMOVED", "As the test wants"), "DEVICE_REMOVED"],
    ] as const
  ) {
    const { device } = new FakeDevice();
    device.config.read16 = () => {
      throw error;
    };
    // The defaults are as good as any: what lacks then is the shared memory.
    const made = Object.assign(device, { sharedMemory() {}, openSharedMemory() {} });
    const { code } = assertThrows(() => new Caif(made as never), VireoError);
    assertEquals<VireoErrorCode>(code, expected);
  }
});
