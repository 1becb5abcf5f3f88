import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  CaifDevice,
  ConsoleDevice,
  Hub,
  InputDevice,
  NetDevice,
  RngDevice,
  RpmsgDevice,
  RprocSerialDevice,
} from "@vireo/emu";
import { MockQueue } from "@vireo/emu/testing";
import { Accept, NO_OFFLOAD } from "../../../emu/backends/net_backend.ts";
import { bytesOf, concat, type HostileSuite, Rig, type RigOptions } from "./rig.ts";

/** A host that takes all at once, so that nothing ever waits for it. */
const greedy = () => ({
  readable: new ReadableStream<Uint8Array>(),
  writable: new WritableStream<Uint8Array>({}, { highWaterMark: Infinity, size: () => 0 }),
});

/** Sends gigabytes by one chain: the same memory over and over. */
async function flood(it: Rig<ConsoleDevice>): Promise<void> {
  const { address } = it.scratch(1 << 20);
  const elements = Array.from({ length: 64 }, () => ({ address, length: 1 << 20 }));
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  for (let i = 0; i < 4; i++) {
    const { usedIndex } = it.queue(1);
    it.raw(1, elements);
    await it.until(1, usedIndex + 1);
  }
  clearInterval(timer);
  assert(ticks > 0, "timers went on meanwhile");
  assert(it.device.work.counters.yields >= 8, `${it.device.work.counters.yields} turns between`);
  it.check();
}

const rpmsg = (how: RigOptions = {}) =>
  new Rig(new RpmsgDevice({ services: [{ name: "echo", address: 1024, handle() {} }] }), how);

const named = (name: string, flags = 0): Uint8Array => {
  const bytes = new Uint8Array(40);
  new TextEncoder().encodeInto(name, bytes);
  bytes.set(bytesOf([4, 77], [4, flags]), 32);
  return concat(bytesOf([4, 77], [4, 53], [4, 0], [2, 40], [2, 0]), bytes);
};

/** Hostile drivers of consoles. */
export const CONSOLE: HostileSuite = {
  model: "console",
  cases: [
    {
      name: "gigabytes for a host that takes all are sent in turns",
      run: () => flood(new Rig(new ConsoleDevice({ ports: [{ backend: greedy() }] }))),
    },
    {
      name: "control messages of any contents are counted or answered, and the outbox is bounded",
      async run(random) {
        const ports = Array.from({ length: 20 }, () => ({ backend: greedy(), name: "p" }));
        await using it = new Rig(new ConsoleDevice({ ports }), { memorySize: 8 << 20 });
        for (let i = 0; i < 600; i++) {
          const bytes = bytesOf([4, random() % 25], [2, random() % 10], [2, random() % 3]);
          void it.queue(3).add([{ read: bytes }]);
          it.queue(3).kick();
          it.driver.interrupt();
          if (it.model.waitingMessages >= 256) break;
        }
        assert(it.model.waitingMessages >= 256, "the driver takes none");
        it.check();
      },
    },
  ],
};

/** Hostile drivers of a remote processor's serial line. */
export const RPROC_SERIAL: HostileSuite = {
  model: "rproc-serial",
  cases: [{
    name: "gigabytes for a host that takes all are sent in turns",
    run: () => flood(new Rig(new RprocSerialDevice(greedy()))),
  }],
};

/** Hostile drivers of rpmsg. */
export const RPMSG: HostileSuite = {
  model: "rpmsg",
  cases: [
    {
      name: "names that a driver announces are no more than 256",
      async run() {
        await using it = rpmsg();
        for (let i = 0; i < 1000; i++) await it.send(1, named(`service-${i}`));
        assertEquals([it.model.announced.size, it.model.refused], [256, 744]);
        await it.send(1, named("service-0", 1));
        await it.send(1, named("service-999"));
        assertEquals([it.model.announced.size, it.model.announced.get("service-999")], [256, 77]);
        it.check();
      },
    },
    {
      name: "messages of any length are taken, or are a fault",
      async run(random) {
        for (let i = 0; i < 60; i++) {
          await using it = rpmsg();
          const length = random() % 600;
          const bytes = concat(
            bytesOf([4, random()], [4, random() % 2000], [4, 0], [2, length], [2, 0]),
          );
          void it.queue(1).add([{ read: concat(bytes, new Uint8Array(random() % 500)) }]);
          it.queue(1).kick();
          it.check();
        }
      },
    },
    {
      name: "names are in a snapshot",
      async run() {
        await using it = rpmsg();
        await it.send(1, named("shell"));
        await using next = it.moveTo(rpmsg(it.memory));
        assertEquals([...next.model.announced], [["shell", 77]]);
      },
    },
  ],
};

/** Hostile drivers of CAIF. */
export const CAIF: HostileSuite = {
  model: "caif",
  cases: [{
    name:
      "a queue that is reset gives back the buffers that were in it, and the frame that was held",
    async run() {
      const frames: number[] = [];
      let takes = false;
      const model = new CaifDevice({
        buffers: 2,
        onFrame: (frame) => takes && frames.push(frame.length) > 0,
      });
      await using it = new Rig(model, { ring: { ringReset: true } });
      const reset = (index: number): void => {
        it.driver.slot.write32(0x30, index);
        it.driver.slot.write32(0xc0, 1);
        it.driver.queues[index] = new MockQueue(it.driver, index, 16);
      };
      const send = () => model.send(new Uint8Array(8));
      assertEquals([send(), send(), model.room], [true, true, 0]);
      reset(1);
      assertEquals([model.room, send()], [2, true]);
      // A frame that is held when its queue goes is not returned to the next one.
      it.raw(0, [{ address: it.scratch(80).address, length: 80 }]);
      assertEquals(it.queue(0).usedIndex, 0);
      reset(0);
      takes = true;
      model.resume();
      assertEquals(frames, []);
    },
  }, {
    name:
      "buffers that the driver has, with their bytes, and a frame that is held are in a snapshot",
    async run() {
      const frames: number[][] = [];
      let takes = false;
      let room = 0;
      const make = (how: RigOptions) =>
        new Rig(
          new CaifDevice({
            buffers: 3,
            onFrame: (frame) => takes && frames.push([...frame]) > 0,
            onRoom: () => void room++,
          }),
          how,
        );
      await using it = make({});
      it.model.send(Uint8Array.of(1, 2, 3));
      it.model.send(Uint8Array.of(4, 5));
      const held = it.scratch(66);
      held.bytes.set([8, 9], 32);
      it.raw(0, [{ address: held.address, length: 66 }]);
      assertEquals([it.model.room, it.queue(0).usedIndex], [1, 0]);
      const before = it.queue(1);
      await using next = it.moveTo(make(it.memory));
      room = 0;
      await it.turn();
      assertEquals([next.model.room, room], [1, 1]);
      // What the driver finds at its earlier addresses is what the first modem put there.
      const view = new DataView(it.machine.memory.bytes.buffer);
      const desc = before.region.address - it.machine.memory.base;
      const texts = [0, 1].map((i) => {
        const head = view.getUint16(desc + before.layout.availOffset + 4 + 2 * i, true);
        const address = Number(view.getBigUint64(desc + 16 * head, true));
        using memory = next.machine.openMemory(address, 40);
        return [...memory.bytes.subarray(32, 36)];
      });
      assertEquals(texts, [[1, 2, 3, 0], [4, 5, 0, 0]]);
      takes = true;
      next.model.resume();
      assertEquals(frames, [[8, 9]]);
      assertEquals([it.queue(0).usedIndex, next.model.send(Uint8Array.of(6))], [1, true]);
      assertEquals([next.model.send(Uint8Array.of(7)), next.log], [false, []]);
    },
  }, {
    name: "a snapshot of a modem with other buffers is refused",
    async run() {
      const make = (buffers: number, mtu: number, how: RigOptions = {}) =>
        new Rig(new CaifDevice({ buffers, mtu, onFrame: () => {} }), how);
      await using it = make(3, 200);
      for (let i = 0; i < 3; i++) it.model.send(new Uint8Array(8));
      for (const [buffers, mtu] of [[2, 200], [3, 300]] as const) {
        await using other = make(buffers, mtu, it.memory);
        assertThrows(
          () => other.machine.restore(structuredClone(it.machine.snapshot())),
          RangeError,
          "the modem must have it",
        );
      }
    },
  }],
};

/** Hostile drivers of input devices. */
export const INPUT: HostileSuite = {
  model: "input",
  cases: [
    {
      name: "status events without end are kept as 1024, and a short one is a fault",
      async run(random) {
        await using it = new Rig(new InputDevice({ name: "k", codes: { 1: [1] } }));
        for (let i = 0; i < 1200; i++) {
          await it.send(1, bytesOf([2, 17], [2, random() % 9], [4, i]));
        }
        assertEquals([it.model.statuses.length, it.model.statuses.at(-1)!.value], [1024, 1199]);
        it.check();
        it.raw(1, [{ address: it.scratch(8).address, length: 7 }]);
        assertEquals(it.driver.needsReset, true);
      },
    },
    {
      name: "what is selected and events that wait are in a snapshot",
      async run() {
        const make = (how: RigOptions) =>
          new Rig(new InputDevice({ name: "key", codes: { 1: [1] } }), how);
        await using it = make({});
        it.driver.slot.write8(0x100, 1);
        it.model.tap(1);
        await using next = it.moveTo(make(it.memory));
        assertEquals(new TextDecoder().decode(it.driver.config(8, 3)), "key");
        const { bytes } = await it.driver.request(0, [{ write: 8 }]);
        assertEquals([...bytes[0]!], [1, 0, 1, 0, 1, 0, 0, 0]);
        next.check();
      },
    },
  ],
};

/** Hostile drivers of network devices. */
export const NET: HostileSuite = {
  model: "net",
  cases: [{
    name: "frames and commands of any bytes are sent, counted or refused",
    async run(random) {
      let sent = 0;
      const backend = {
        accepts: 0,
        connect() {},
        send() {
          sent++;
        },
        flush() {},
      };
      await using it = new Rig(
        new NetDevice({ backend: backend as never }),
        { memorySize: 8 << 20 },
      );
      for (let i = 0; i < 1500; i++) {
        const bytes = Uint8Array.from(
          { length: 12 + random() % 200 },
          () => random() % 4 === 0 ? random() : 0,
        );
        if (i % 3 === 0) await it.send(2, bytes.subarray(0, 2 + random() % 60), 1);
        else await it.send(1, bytes);
      }
      assert(sent > 0);
      it.check();
    },
  }, {
    name: "a packet counts as work by the frames that it is cut into, here or behind the device",
    async run() {
      for (const accepts of [0, Accept.CSUM | Accept.TSO4]) {
        let sent = 0;
        const backend = { accepts, connect() {}, send: () => void sent++, flush() {} };
        await using it = new Rig(new NetDevice({ backend: backend as never }));
        // To be cut by TSO4 into pieces of 32 bytes; their checksum is 16 bytes behind byte 34.
        const header = [1, 1, 54, 0, 32, 0, 34, 0, 16, 0, 0, 0];
        const packet = new Uint8Array(12 + 60_000);
        packet.set(header);
        packet.set([8, 0, 0x45], 12 + 12);
        packet[12 + 14 + 9] = 6;
        packet[12 + 34 + 12] = 5 << 4;
        const { steps } = it.device.work.counters;
        await it.send(1, packet);
        assertEquals(sent, accepts === 0 ? Math.ceil((60_000 - 54) / 32) : 1);
        assert(it.device.work.counters.steps - steps > 60_000 / 32);
        it.check();
      }
    },
  }, {
    name: "hashes, tables and coalescing of any bytes are taken or refused, and frames steered",
    async run(random) {
      let stop = 0;
      const timer = (_usecs: number, expired: () => void) => {
        if (random() % 8 === 0) expired();
        return () => void stop++;
      };
      const hub = new Hub();
      const wire = hub.port();
      const model = new NetDevice({
        backend: hub.port(),
        queuePairs: 2,
        hashReport: true,
        queueSize: 16,
        timer,
      });
      await using it = new Rig(model, { memorySize: 8 << 20 });
      const added = [0, 0, 0];
      const byte = (): number => random() % 3 === 0 ? random() & 0xff : random() % 3;
      for (let i = 0; i < 600; i++) {
        const mask = 2 ** (random() % 9) - 1;
        const pairs = Array.from({ length: 2 * (mask + 1) }, (_, at) => at % 2 ? 0 : byte() & 1);
        const key = [40, ...Array.from({ length: 40 }, byte)];
        const bytes = [
          [4, 1, byte(), byte() & 1, 0, 0, mask & 0xff, mask >> 8, 0, 0, ...pairs, 2, 0, ...key],
          [4, random() % 4, ...Array.from({ length: 20 }, byte)],
          [6, random() % 4, ...Array.from({ length: [4, 8, 12][random() % 3]! }, byte)],
        ][random() % 3]!;
        const cut = random() % 4 === 0 ? random() % bytes.length : bytes.length;
        await it.send(4, Uint8Array.from(bytes.slice(0, Math.max(2, cut))), 9);
        const queue = 2 * (random() & 1);
        it.driver.interrupt();
        if (added[queue]! - it.queue(queue).usedIndex < 8) {
          added[queue]!++;
          void it.queue(queue).add([{ write: 256 }]);
          it.queue(queue).kick();
        }
        const frame = Uint8Array.from({ length: 15 + random() % 120 }, byte);
        frame.set(model.mac);
        frame.set(random() % 2 === 0 ? [8, 0, 0x45] : [0x86, 0xdd, 0x60], 12);
        wire.send(frame, 0, frame.length, NO_OFFLOAD);
        wire.flush();
      }
      const { rxFrames, controlErrors } = model.stats;
      assert(rxFrames > 20 && controlErrors > 20 && controlErrors < 580 && stop > 0);
      it.check();
    },
  }],
};

/** Hostile drivers of the entropy device. */
export const RNG: HostileSuite = {
  model: "rng",
  cases: [{
    name: "requests of gigabytes get a bounded part, and requests of nothing are a fault",
    async run() {
      const make = () => new Rig(new RngDevice({ random: (into) => void into.fill(7) }));
      await using it = make();
      const { address } = it.scratch(1 << 20);
      it.raw(0, Array.from({ length: 64 }, () => ({ address, length: 1 << 20, write: true })));
      assertEquals(it.queue(0).usedIndex, 1);
      assert(it.device.work.counters.bytes <= 65536);
      it.check();
      it.raw(0, [{ address, length: 0, write: true }]);
      assertEquals(it.driver.needsReset, true);
    },
  }],
};
