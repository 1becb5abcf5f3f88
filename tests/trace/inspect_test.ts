import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Bus, rngDriver } from "@vireo/drivers";
import { SgList, type Virtqueue } from "@vireo/drivers/core";
import { EmulatedMachine, RngDevice } from "@vireo/emu";
import { openVireo } from "@vireo/firmware";
import type { DmaRegion } from "@vireo/hal";
import { call, vireo } from "../cli_helper.ts";

/** What a test does with a queue of eight descriptors whose device answers at each kick. */
type Use = (queue: Virtqueue, memory: DmaRegion, ring: (address: number) => Uint8Array) => void;

async function withQueue(packed: boolean, use: Use): Promise<void> {
  const random = (into: Uint8Array): void => void into.fill(7);
  const machine = EmulatedMachine.create({
    devices: [{ model: new RngDevice({ random }) }],
    ring: { packed },
  });
  await using bus = new Bus({ queueSize: 8 });
  let memory: DmaRegion | undefined;
  await bus.registerDriver({
    name: "inspected",
    ids: rngDriver.ids,
    features: rngDriver.features,
    probe: (device) => {
      const region = memory = device.dma.alloc(64);
      device.findQueues([{ name: "requests" }]);
      device.ready();
      return {
        remove: async () => {
          await device.reset();
          device.deleteQueues();
          region[Symbol.dispose]();
        },
      };
    },
  });
  const [device] = await bus.addPlatform(machine);
  use(device!.queues[0]!, memory!, (address) => machine.openMemory(address, 64).bytes);
}

const CHAIN = (address: number): SgList =>
  new SgList(2).addWritable(address, 16).addWritable(address + 16, 8);

for (const packed of [false, true]) {
  Deno.test(`inspect: buffers of a ${packed ? "packed" : "split"} ring, from add to pop`, async () => {
    await withQueue(packed, (queue, { address }) => {
      queue.add(CHAIN(address), 3);
      const states = (): unknown =>
        queue.inspect!().buffers.map((
          { id, token, state, indirect },
        ) => [id, token, state, indirect]);
      // The kick writes the flags of a packed descriptor: until then nothing says what it is.
      assertEquals(states(), [[0, 3, "added", !packed]]);
      queue.kick();
      assertEquals(states(), [[0, 3, "used", !packed]]);
      const { format, inFlight, free, buffers, memory, wrong, shadow } = queue.inspect!();
      assertEquals([format, inFlight, free], [packed ? "packed" : "split", 1, 7]);
      assertEquals(memory.entries, [{ id: 0, length: 24 }]);
      assertEquals(wrong, []);
      assertEquals(shadow, { added: 1, kicked: 1, taken: 0 });
      // The device has overwritten the packed descriptor, and with it where the table is.
      assertEquals(
        buffers[0]!.descriptors.map((
          { slot, address: at, length, flags },
        ) => [slot, at, length, flags]),
        packed ? [] : [
          [0, address, 16, ["NEXT", "WRITE"]],
          [1, address + 16, 8, ["WRITE"]],
        ],
      );
      assertEquals(queue.pop(), 3);
      assertEquals([queue.inspect!().buffers, queue.inspect!().shadow.taken], [[], 1]);
    });
  });
}

Deno.test("inspect: what a device cannot have written is marked, and the shadow is as it was", async () => {
  await withQueue(false, (queue, { address }, ring) => {
    queue.add(new SgList(1).addWritable(address, 16), 5);
    queue.kick();
    const { addresses } = queue.inspect!();
    const used = ring(addresses.device);
    used[4] = 6;
    used[8] = 99;
    assertEquals(queue.inspect!().wrong, ["used entry names buffer 6, which is not in flight"]);
    used[4] = 0;
    assertEquals(queue.inspect!().wrong, [
      "used entry of buffer 0 has 99 bytes, the driver lent 16",
    ]);
    used[8] = 16;
    used[2] = 9;
    ring(addresses.desc)[8] = 17;
    ring(addresses.driver)[2] = 4;
    assertEquals(queue.inspect!().wrong, [
      "used index 9 is 9 after 0, with 1 buffers in flight",
      "available index 4, the driver wrote 1",
      "buffer 0 has 17 writable bytes, the driver lent 16",
    ]);
    assertEquals(queue.inspect!().buffers.map(({ token, state }) => [token, state]), [[5, "used"]]);
  });
});

Deno.test("inspect: on QEMU its own view stands beside ours, and what differs is marked", async () => {
  await using board = await openVireo({ target: "qtest:aarch64-virt" });
  await board.blk.read(0, 4096);
  const devices = await board.inspect();
  const queues = devices.flatMap(({ queues }) => queues);
  assert(queues.length >= 8);
  assertEquals(queues.flatMap(({ differences, wrong }) => [...differences, ...wrong]), []);
  const [blk] = devices.find(({ type }) => type === "block")!.queues;
  assertEquals([blk!.qemu?.used, blk!.qemu?.taken, blk!.memory.used], [1, 1, 1]);
  const [input] = devices.find(({ type }) => type === "net")!.queues;
  assertEquals(input!.qemu?.next?.index, input!.buffers[0]!.id);
  // Something else writes to the rings.
  using used = board.platform.openMemory(blk!.addresses.device, 4);
  used.bytes[2] = 7;
  using desc = board.platform.openMemory(input!.addresses.desc, 16);
  desc.bytes[8] = 1;
  const after = (await board.inspect()).flatMap(({ queues }) => queues);
  const at = (address: number) => after.find(({ addresses }) => addresses.desc === address)!;
  assertEquals(at(blk!.addresses.desc).differences, ["used index: 7 here, 1 in QEMU"]);
  assertEquals(at(input!.addresses.desc).wrong.length, 1);
  used.bytes[2] = 1;
  desc.bytes[8] = 0;
});

Deno.test("inspect: the command prints tables, or JSON", async () => {
  const { code, out } = await vireo("inspect --queue-size 16");
  assertEquals(code, 0);
  const lines = out.split("\n");
  assert(lines.includes("    buffer  token  state      slot  address     length  flags"), out);
  assertStringIncludes(out, "    0       0      available  0     0x");
  const json = await call("inspect --queue-size 16 --packed --json");
  const devices: { type: string; queues: { format: string }[] }[] = JSON.parse(json.out);
  assertEquals(devices.map(({ type }) => type), ["net", "block", "console", "rng"]);
  assertEquals(
    new Set(devices.flatMap(({ queues }) => queues).map(({ format }) => format)),
    new Set(["packed"]),
  );
});
