import { assert } from "@std/assert";
import fc from "fast-check";
import { EmulatedMachine } from "./machine.ts";
import { VERSION_1_ROWS, VERSION_2_ROWS } from "./transport/mmio.ts";
import { EchoModel, MockDriver } from "./testing/mod.ts";

const BASE = 0x4000_0000;
const SIZE = 1 << 15;

/** A register access or a write into RAM by a driver that was never told any rule. */
const act = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("register"), at: fc.nat(400), value: fc.nat() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("read"), at: fc.nat(0x1ff), value: fc.nat() }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("ram"), at: fc.nat(), value: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("init"), at: fc.nat(), value: fc.nat() }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("kick"), at: fc.nat(3), value: fc.nat() }),
  },
);

for (const kind of ["version 1", "version 2", "packed"] as const) {
  Deno.test(`hostile driver: nothing it does is thrown, hangs or costs more than the log, ${kind}`, () => {
    const version = kind === "version 1" ? 1 : 2;
    const ring = kind === "packed" ? { packed: true, inOrder: true, notificationData: true } : {};
    const rows = version === 1 ? VERSION_1_ROWS : VERSION_2_ROWS;
    const values = [0, 1, 2, 3, 7, 8, 11, 15, 64, 255, 4096, BASE, BASE + 4096, 0xffffffff];
    const property = fc.property(fc.array(act, { maxLength: 120 }), (acts) => {
      const model = new EchoModel({ queueSizes: [8, 16], hold: acts.length % 2 === 0 });
      const machine = EmulatedMachine.create({
        devices: [{ model, version }],
        memorySize: SIZE,
        ring,
      });
      const driver = new MockDriver(machine);
      const { slot } = driver;
      for (const { kind, at, value } of acts) {
        if (kind === "register") {
          const row = rows[at % rows.length]!;
          slot.write32(row.offset, at % 3 === 0 ? value : values[value % values.length]!);
        } else if (kind === "read") slot[value % 2 === 0 ? "read8" : "read32"](at);
        else if (kind === "ram") {
          // Descriptor-like words: addresses in and around RAM, small lengths, flags.
          const kinds = [
            BASE + value % (SIZE + 64),
            value % 70,
            value % 8 | (value % 17) << 16,
            value,
          ];
          machine.memory.words32[at % (SIZE / 4)] = kinds[at % 4]!;
        } else if (kind === "init") {
          driver.init();
          const packed = driver.packed[value % 2];
          packed?.setDesc(at % 8, BASE + value % SIZE, value % 100, at % 9, value & 0x8087);
          const queue = driver.queues[value % 2];
          if (queue === undefined) continue;
          queue.setDesc(at % 8, BASE + value % SIZE, value % 100, value % 8, at % 9);
          queue.makeAvailable(at % 9);
        } else slot.write32(0x50, value % 3 === 0 ? at | value << 16 : at);
      }
      model.release();
      const device = machine.device(0);
      assert(device.log.length <= 256);
      assert(device.log.filter(({ register }) => register === "ring").length <= acts.length);
      assert(!device.log.some(({ register }) => register === "model"), "the model never failed");
      if ((device.status & 64) !== 0) assert(device.queue(0) === undefined);
      // A reset makes the device usable, whatever the driver did.
      machine.memory.bytes.fill(0);
      assert((driver.init() & 4) !== 0);
      const queue = driver.packed[0] ?? driver.queues[0]!;
      void queue.add([{ write: 1 }]);
      queue.kick();
      model.release();
      const used = driver.packed[0]?.view.getUint16(14, true) ?? driver.queues[0]!.usedIndex;
      assert(used === (kind === "packed" ? 0x8080 : 1));
    });
    fc.assert(property, { seed: 42, numRuns: 400 });
  });
}
