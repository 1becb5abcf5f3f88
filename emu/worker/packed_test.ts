import { assert, assertEquals } from "@std/assert";
import { MmioRegister as R } from "@vireo/hal";
import { seededRandom } from "../backends/random.ts";
import type { TestDevices } from "./test_devices.ts";
import { WorkerMachine } from "./machine.ts";

// Typed from virtio 1.4 §2.8.1 and §2.8.10.
const WRITE = 2;
const AVAIL = 0x80;
const USED = 0x8000;
const DISABLE = 1;
const DESC = 2;
const BUFFER = 64;
const READY = { ready: () => false };

/**
 * The driver's half of a packed ring over memory that two threads share: `total` buffers, up to `depth`
 * at once, notifications and interrupts only where the event suppression structures ask for them.
 */
async function receive(machine: WorkerMachine, features: number[], total: number, depth: number) {
  using lease = machine.nodes()[0]!.open();
  const { mmio, interrupt } = lease;
  for (const status of [0, 1, 3]) mmio.write32(R.Status, status);
  for (const word of [0, 1]) {
    const bits = features.filter((bit) => bit >>> 5 === word);
    mmio.write32(R.DriverFeaturesSel, word);
    mmio.write32(R.DriverFeatures, bits.reduce((sum, bit) => sum | 1 << (bit & 31), 0) >>> 0);
  }
  mmio.write32(R.Status, 11);
  assertEquals(mmio.read32(R.Status), 11);
  mmio.write32(R.QueueSel, 0);
  const size = mmio.read32(R.QueueSizeMax);
  using ring = machine.dma.alloc(16 * size + 8);
  using data = machine.dma.alloc(BUFFER * size);
  mmio.write32(R.QueueSize, size);
  mmio.write32(R.QueueDescLow, ring.address);
  mmio.write32(R.QueueDriverLow, ring.address + 16 * size);
  mmio.write32(R.QueueDeviceLow, ring.address + 16 * size + 4);
  mmio.write32(R.QueueReady, 1);
  mmio.write32(R.Status, 15);

  const { buffer, byteOffset } = ring.bytes;
  const words16 = new Uint16Array(buffer, byteOffset, 8 * size + 4);
  const words32 = new Uint32Array(buffer, byteOffset, 4 * size);
  const driverEvent = 8 * size;
  const deviceEvent = driverEvent + 2;
  const eventIdx = features.includes(29);
  const got = new Uint8Array(BUFFER * total);
  let [added, next, wrap, taken, used, usedWrap] = [0, 0, 1, 0, 0, 1];
  let [kicks, interrupts] = [0, 0];
  const step = (place: number, counter: number): [number, number] =>
    place + 1 === size ? [0, counter ^ 1] : [place + 1, counter];
  const isUsed = (): boolean => {
    const flags = Atomics.load(words16, 8 * used + 7) & (AVAIL | USED);
    return flags === (usedWrap === 1 ? AVAIL | USED : 0);
  };
  while (taken < total) {
    while (added < total && added - taken < Math.min(depth, size)) {
      words32[4 * next] = data.address + BUFFER * next;
      words32[4 * next + 1] = 0;
      words32[4 * next + 2] = BUFFER;
      words16[8 * next + 6] = next;
      Atomics.store(words16, 8 * next + 7, WRITE | (wrap === 1 ? AVAIL : USED));
      const [place, counter] = [next, wrap];
      [next, wrap] = step(next, wrap);
      added++;
      const mode = Atomics.load(words16, deviceEvent + 1);
      const event = Atomics.load(words16, deviceEvent);
      if (mode === DISABLE || (mode === DESC && event !== (place | counter << 15))) continue;
      kicks++;
      mmio.write32(R.QueueNotify, features.includes(38) ? (next | wrap << 15) << 16 >>> 0 : 0);
    }
    if (!isUsed()) {
      if (eventIdx) {
        Atomics.store(words16, driverEvent, used | usedWrap << 15);
        Atomics.store(words16, driverEvent + 1, DESC);
      } else Atomics.store(words16, driverEvent + 1, 0);
      // What was used before the stores were seen is found here, what comes later interrupts.
      while (!isUsed()) {
        await interrupt.wait({ signal: AbortSignal.timeout(5000), ...READY });
        mmio.write32(R.InterruptACK, mmio.read32(R.InterruptStatus));
        interrupts++;
      }
      Atomics.store(words16, driverEvent + 1, DISABLE);
    }
    assertEquals(words32[4 * used + 2], BUFFER);
    const id = words16[8 * used + 6]!;
    got.set(data.bytes.subarray(BUFFER * id, BUFFER * (id + 1)), BUFFER * taken++);
    [used, usedWrap] = step(used, usedWrap);
  }
  mmio.write32(R.Status, 0);
  return { got, kicks, interrupts };
}

for (const features of [[32, 34], [29, 32, 34, 35, 38]]) {
  for (const [size, depth] of [[1, 1], [7, 7], [64, 20]] as const) {
    Deno.test(`worker machine: no buffer, notification or interrupt is lost on a packed ring of ${size}, features ${features}`, async () => {
      const options: TestDevices = { kind: "rng" };
      await using machine = await WorkerMachine.create({
        module: new URL("./test_devices.ts", import.meta.url),
        options,
        // `deno test` checks the types of the worker's modules at the first start.
        deadline: 60_000,
        memorySize: 1 << 20,
        ring: { packed: true, inOrder: true, maxQueueSize: size, notificationData: true },
      });
      const total = 3000;
      const { got, kicks, interrupts } = await receive(machine, features, total, depth);
      const expected = new Uint8Array(BUFFER * total);
      seededRandom(7)(expected);
      assertEquals(got, expected);
      assert(kicks > 0 && kicks <= total && interrupts <= total);
    });
  }
}
