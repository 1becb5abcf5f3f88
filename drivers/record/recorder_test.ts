// What a recorder keeps of a machine made by hand, record by record.
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type DeviceNode,
  type DmaRegion,
  type Interrupt,
  joinBytes,
  type Mmio,
  type PciNode,
  type Platform,
  VireoError,
} from "@vireo/hal";
import type { Ring } from "../virtqueue/create_ring.ts";
import { SgList } from "../virtqueue/virtqueue.ts";
import { HostStepKind, RecordKind, RecordReader } from "./format.ts";
import { Recorder } from "./recorder.ts";

const BASE = 0x10000;

/** A machine of one slot, whose memory is given out from 0x10000 on, until a MiB is gone. */
class Machine implements Platform {
  readonly name = "by hand";
  readonly memory: DmaRegion[] = [];
  /** What the slot's register reads. */
  value = 5;
  diagnosis: VireoError | undefined;
  /** Waits of the slot's interrupt. */
  interrupt: Interrupt = { polled: false, wait: () => Promise.resolve() };
  #at = BASE;

  readonly dma = {
    alloc: (size: number): DmaRegion => {
      if (size > 1 << 20) throw new VireoError("OUT_OF_MEMORY", "No room");
      const region: DmaRegion = {
        address: this.#at,
        bytes: new Uint8Array(size),
        share: () => 0,
        unshare() {},
        [Symbol.dispose]() {},
      };
      this.#at += size;
      this.memory.push(region);
      return region;
    },
  };

  nodes(): readonly DeviceNode[] {
    const read = (): number => this.value;
    const mmio: Mmio = {
      ...{ name: "slot", size: 512, read8: read, read16: read, read32: read },
      ...{ write8() {}, write16() {}, write32() {} },
    };
    return [{
      kind: "mmio",
      name: "slot",
      size: 512,
      open: () => ({ mmio, interrupt: this.interrupt, [Symbol.dispose]() {} }),
    } as DeviceNode];
  }

  diagnose(): VireoError | undefined {
    return this.diagnosis;
  }

  openMemory(address: number): { bytes: Uint8Array; [Symbol.dispose](): void } {
    return { bytes: Uint8Array.of(address), [Symbol.dispose]() {} };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** A recording under way, and what it has so far. */
class Rig implements Disposable {
  readonly machine = new Machine();
  readonly #parts: Uint8Array[] = [];
  readonly recorder: Recorder = new Recorder(
    this.machine,
    (bytes) => this.#parts.push(bytes.slice()),
  );
  #seen = 0;

  /** The records since the last look. */
  records(): unknown[][] {
    this.recorder.log.flush();
    const reader = new RecordReader(joinBytes(...this.#parts));
    const all: unknown[][] = [];
    while (reader.next()) {
      const { kind, a, b, c, d } = reader;
      if (kind === RecordKind.MEMORY) all.push([kind, a, b - BASE, ...reader.bytes]);
      else if (kind === RecordKind.META || kind === RecordKind.DIAGNOSIS) {
        all.push([kind, reader.json()]);
      } else if (kind === RecordKind.ADD) {
        all.push([kind, a, b, c, ...reader.elements.map((n, i) => i % 2 ? n : n - BASE), d]);
      } else if (
        kind === RecordKind.KICK || kind === RecordKind.POP || kind === RecordKind.LOOK ||
        kind === RecordKind.INTERRUPT
      ) all.push([kind, a, b]);
      else all.push([kind, a, b, c]);
    }
    return all.slice(this.#seen, this.#seen = all.length);
  }

  /** A ring whose answers are set by hand. */
  ring(size: number, packed: boolean): { inner: Answers; ring: Ring; ringBytes: Uint8Array } {
    const region = this.recorder.dma.alloc(4096);
    const desc = region.address;
    const addresses = { size, desc, driver: desc + 1024, device: desc + 2048 };
    const inner: Answers = {
      ...{ index: 0, name: "requests", size, addresses },
      ...{ token: -1, used: false, none: true, usedLength: 0, room: true },
      calls: [],
    };
    const call = (name: string): void => void inner.calls.push(name);
    const ring = Object.assign(inner, {
      add: () => inner.room,
      kick: () => call("kick"),
      kickAgain: () => call("kick again"),
      pop: () => inner.token,
      hasUsed: () => inner.used,
      disableCallbacks: () => call("off"),
      enableCallbacks: () => inner.none,
      enableCallbacksDelayed: () => inner.none,
      detachUnused: () => inner.token,
      [Symbol.dispose]: () => call("dispose"),
    }) as unknown as Ring;
    this.records();
    const recorded = this.recorder.ring(ring, { slot: "slot", packed } as never);
    assertEquals(this.records(), [[RecordKind.META, {
      ...{ op: "ring", slot: "slot", queue: 0, name: "requests", size, ring: this.#rings++ },
    }]]);
    return { inner, ring: recorded, ringBytes: region.bytes };
  }

  #rings = 0;

  [Symbol.dispose](): void {
    this.recorder.close();
  }
}

interface Answers {
  readonly index: number;
  readonly name: string;
  readonly size: number;
  readonly addresses: { readonly desc: number; readonly driver: number; readonly device: number };
  token: number;
  used: boolean;
  none: boolean;
  usedLength: number;
  room: boolean;
  readonly calls: string[];
}

Deno.test("recorder: register accesses of each width, and the slot that was opened", () => {
  using rig = new Rig();
  const [node] = rig.recorder.nodes();
  const { mmio } = (node as { open(): { mmio: Mmio } }).open();
  assertEquals(rig.records(), [[RecordKind.META, {
    ...{ op: "open", node: "slot", polled: false, window: 0, source: 0 },
  }]]);
  rig.machine.value = -1;
  mmio.read8(1);
  mmio.read16(2);
  mmio.read32(4);
  mmio.write8(1, 7);
  mmio.write16(2, 8);
  mmio.write32(4, -2);
  assertEquals(rig.records(), [
    [RecordKind.READ8, 0, 1, 0xffff_ffff],
    [RecordKind.READ16, 0, 2, 0xffff_ffff],
    [RecordKind.READ32, 0, 4, 0xffff_ffff],
    [RecordKind.WRITE8, 0, 1, 7],
    [RecordKind.WRITE16, 0, 2, 8],
    [RecordKind.WRITE32, 0, 4, 0xffff_fffe],
  ]);
  const second = (rig.recorder.nodes()[0] as { open(): { mmio: Mmio } }).open();
  assertEquals(rig.records()[0]?.[1], {
    ...{ op: "open", node: "slot", polled: false, window: 1, source: 1 },
  });
  second.mmio.read8(9);
  assertEquals(rig.records()[0]?.slice(1, 3), [1, 9]);
});

Deno.test("recorder: memory that was given out, or that there was no room for", () => {
  using rig = new Rig();
  const { recorder } = rig;
  recorder.dma.alloc(64);
  recorder.dma.alloc(64, { align: 4096 });
  assertThrows(() => recorder.dma.alloc(2 << 20), VireoError, "No room");
  assertEquals(rig.records(), [
    [RecordKind.ALLOC, 64, 16, BASE + 1],
    [RecordKind.ALLOC, 64, 4096, BASE + 65],
    [RecordKind.ALLOC, 2 << 20, 16, 0],
  ]);
  assertEquals(recorder.memory.find(BASE, 64)?.length, 64);
  assertEquals([...recorder.openMemory(7, 1).bytes], [7]);
});

Deno.test("recorder: what the machine says of a device, whenever that changes", () => {
  using rig = new Rig();
  const { recorder, machine } = rig;
  const told = (): unknown => {
    assertEquals(recorder.diagnose("slot"), machine.diagnosis);
    return rig.records().map(([kind, json]) => [kind, json]);
  };
  assertEquals(told(), []);
  machine.diagnosis = new VireoError("QUEUE_BROKEN", "It broke");
  const said = { node: "slot", code: "QUEUE_BROKEN", message: "It broke" };
  assertEquals(told(), [[RecordKind.DIAGNOSIS, said]]);
  assertEquals(told(), []);
  machine.diagnosis = undefined;
  assertEquals(told(), [[RecordKind.DIAGNOSIS, { node: "slot", message: null }]]);
  assertEquals(told(), []);
});

Deno.test("recorder: steps of a ring, and what the device wrote to a split one before each", () => {
  using rig = new Rig();
  const { inner, ring, ringBytes } = rig.ring(4, false);
  const buffer = rig.recorder.dma.alloc(64);
  rig.records();
  const at = buffer.address - BASE;
  buffer.bytes.fill(7, 0, 16);
  const chain = new SgList(3).addReadable(buffer.address, 16)
    .addWritable(buffer.address + 16, 32).addWritable(buffer.address + 48, 1);
  inner.room = false;
  assertEquals([ring.add(chain, 3), rig.records()], [false, []]);
  inner.room = true;
  assertEquals(ring.add(chain, 3), true);
  const [added] = rig.records();
  assertEquals(added?.slice(0, -1), [RecordKind.ADD, 0, 3, 1, at, 16, at + 16, 32, at + 48, 1]);
  // The sum is of the readable bytes alone.
  buffer.bytes.fill(9, 16);
  ring.add(chain, 3);
  assertEquals(rig.records(), [added]);
  buffer.bytes[0] = 8;
  ring.add(chain, 3);
  assertEquals(rig.records()[0]?.at(-1) === added?.at(-1), false);

  ring.kick();
  ring.kickAgain();
  assertEquals(rig.records(), [[RecordKind.KICK, 0, 0], [RecordKind.KICK, 0, 1]]);
  assertEquals(inner.calls, ["kick", "kick again"]);

  // The used ring: flags, index, entries of 8 bytes, and where the next notification is wanted.
  const used = new DataView(ringBytes.buffer, 2048);
  const [kind, place] = [RecordKind.MEMORY, 2048];
  used.setUint16(2, 1, true);
  used.setUint32(4, 3, true);
  used.setUint32(8, 33, true);
  inner.token = 3;
  inner.usedLength = 20;
  buffer.bytes.set([1, 2, 3, 4], 16);
  buffer.bytes[48] = 5;
  assertEquals(ring.pop(), 3);
  assertEquals(rig.records(), [
    [kind, 0, place + 4, 3, 0, 0, 0, 33, 0, 0, 0],
    [kind, 0, place + 2, 1, 0],
    [kind, 0, at + 16, ...buffer.bytes.subarray(16, 36)],
    // The last byte of each buffer may be a status.
    [kind, 0, at + 48, 5],
    [RecordKind.POP, 0, 4],
  ]);
  inner.token = -1;
  assertEquals([ring.pop(), rig.records()], [-1, [[RecordKind.POP, 0, 0]]]);

  used.setUint16(0, 0x101, true);
  used.setUint16(4 + 8 * 4, 0x203, true);
  assertEquals(ring.hasUsed(), false);
  assertEquals(rig.records(), [
    [kind, 0, place, 1, 1],
    [kind, 0, place + 4 + 8 * 4, 3, 2],
    [RecordKind.LOOK, 0, 0],
  ]);
  inner.used = true;
  assertEquals([ring.hasUsed(), rig.records()], [true, [[RecordKind.LOOK, 0, 1]]]);

  ring.disableCallbacks();
  assertEquals(inner.calls.at(-1), "off");
  assertEquals([ring.enableCallbacks(), ring.enableCallbacksDelayed()], [true, true]);
  inner.none = false;
  assertEquals([ring.enableCallbacks(), ring.enableCallbacksDelayed()], [false, false]);
  const callbacks = RecordKind.CALLBACKS;
  assertEquals(rig.records(), [
    [callbacks, 0, 0, 1],
    [callbacks, 0, 1, 1],
    [callbacks, 0, 2, 1],
    [callbacks, 0, 1, 0],
    [callbacks, 0, 2, 0],
  ]);

  // Entries wrap, and an index that jumps shows a ring's worth.
  for (const [index, entries] of [[5, [1, 2, 3, 0]], [6, [1]], [4, [2, 3, 0, 1]]] as const) {
    used.setUint16(2, index, true);
    ring.hasUsed();
    assertEquals(
      rig.records().map((record) => record[2]),
      [...entries.map((entry) => place + 4 + 8 * entry), place + 2, 1],
    );
  }
  ring[Symbol.dispose]();
  used.setUint16(2, 9, true);
  rig.recorder.sync();
  assertEquals([rig.records(), inner.calls.at(-1)], [[], "dispose"]);
});

Deno.test("recorder: a used buffer as far as the device says, over its elements", () => {
  using rig = new Rig();
  const { inner, ring } = rig.ring(4, false);
  const buffer = rig.recorder.dma.alloc(64);
  buffer.bytes.forEach((_, i) => buffer.bytes[i] = i);
  const at = buffer.address - BASE;
  rig.records();
  const answers = (usedLength: number): (readonly unknown[])[] => {
    ring.add(new SgList(2).addWritable(buffer.address, 4).addWritable(buffer.address + 8, 3), 1);
    rig.records();
    Object.assign(inner, { token: 1, usedLength });
    ring.pop();
    return rig.records().slice(0, -1).map(([, , address, ...bytes]) => [
      (address as number) - at,
      ...bytes,
    ]);
  };
  assertEquals(answers(0), [[10, 10]]);
  assertEquals(answers(2), [[0, 0, 1], [10, 10]]);
  assertEquals(answers(4), [[0, 0, 1, 2, 3], [10, 10]]);
  assertEquals(answers(5), [[0, 0, 1, 2, 3], [8, 8], [10, 10]]);
  assertEquals(answers(7), [[0, 0, 1, 2, 3], [8, 8, 9, 10]]);
  assertEquals(answers(99), [[0, 0, 1, 2, 3], [8, 8, 9, 10]]);
  // A buffer is recorded once, and not at all when it was taken back.
  ring.pop();
  assertEquals(rig.records(), [[RecordKind.POP, 0, 2]]);
  ring.add(new SgList(1).addWritable(buffer.address, 4), 1);
  ring.detachUnused();
  rig.records();
  ring.pop();
  assertEquals(rig.records(), [[RecordKind.POP, 0, 2]]);
});

Deno.test("recorder: what the device writes to a packed ring, and not what the driver does", () => {
  using rig = new Rig();
  const { ring, ringBytes } = rig.ring(4, true);
  const view = new DataView(ringBytes.buffer);
  const descriptor = (index: number, length: number, id: number, flags: number): void => {
    view.setUint32(16 * index + 8, length, true);
    view.setUint16(16 * index + 12, id, true);
    view.setUint16(16 * index + 14, flags, true);
  };
  const written = (): unknown[][] => {
    ring.kick();
    return rig.records().slice(0, -1).map(([, , address, ...bytes]) => [address, ...bytes]);
  };
  // Available: AVAIL alone or USED alone, by the wrap counter.
  descriptor(0, 16, 1, 0x80);
  descriptor(1, 16, 2, 0x8000);
  assertEquals(written(), []);
  descriptor(0, 4, 1, 0x8080);
  descriptor(3, 5, 2, 0);
  assertEquals(written(), [[8, 4, 0, 0, 0, 1, 0, 0x80, 0x80], [56, 5, 0, 0, 0, 2, 0, 0, 0]]);
  assertEquals(written(), []);
  descriptor(3, 6, 2, 0);
  assertEquals(written(), [[56, 6, 0, 0, 0, 2, 0, 0, 0]]);
  view.setUint32(2048, 0x80020304, true);
  assertEquals(written(), [[2048, 4, 3, 2, 0x80]]);
  assertEquals(written(), []);
  for (const value of [0x80020305, 0x80020405, 0x80030405, 0x405]) {
    view.setUint32(2048, value, true);
    assertEquals([value, written().length], [value, 1]);
  }
});

Deno.test("recorder: an interrupt, with the step of the poll that found it alone", async () => {
  using rig = new Rig();
  const { signal } = new AbortController();
  const open = (interrupt: Interrupt): { interrupt: Interrupt; mmio: Mmio } => {
    rig.machine.interrupt = interrupt;
    const lease = (rig.recorder.nodes()[0] as { open(): { interrupt: Interrupt; mmio: Mmio } })
      .open();
    rig.records();
    return lease;
  };
  const plain = open({ polled: false, wait: () => Promise.resolve() });
  let served = 0;
  await plain.interrupt.wait({ signal, ready: () => true, serve: () => ++served > 0 });
  assertEquals([rig.records(), served], [[[RecordKind.INTERRUPT, 0, 0]], 1]);

  // A poller asks often; only the answer that counts is a step.
  const polls = async (options: object): Promise<unknown[][]> => {
    const { interrupt, mmio } = open({
      polled: true,
      async wait({ ready, readyInMemory }) {
        for (;;) {
          await Promise.resolve();
          if (readyInMemory?.() || ready()) return;
        }
      },
    });
    let asked = 0;
    const ask = (window: number): boolean => {
      mmio.read8(window);
      return ++asked > 3;
    };
    await interrupt.wait({
      signal,
      ready: () => ask(1),
      ..."memory" in options && { readyInMemory: () => ask(2) },
    });
    return rig.records().map(([kind, , at]) => [kind, at]);
  };
  assertEquals(await polls({}), [[RecordKind.INTERRUPT, 2], [RecordKind.READ8, 1]]);
  // By turns: memory, register, memory, register.
  assertEquals(await polls({ memory: true }), [[RecordKind.INTERRUPT, 2], [RecordKind.READ8, 1]]);

  const stop = new AbortController();
  const given = open({
    polled: false,
    wait: () => Promise.resolve(stop.abort()),
  });
  await given.interrupt.wait({
    signal: stop.signal,
    ready: () => true,
    serve: () => ++served > 0,
  });
  assertEquals([rig.records(), served], [[], 1]);
});

Deno.test("recorder: what a device writes while a poll asks is recorded with the answer that counts", async () => {
  using rig = new Rig();
  const { inner, ring, ringBytes } = rig.ring(8, false);
  rig.machine.interrupt = {
    polled: true,
    async wait({ ready }) {
      while (!ready()) await Promise.resolve();
    },
  };
  const [node] = rig.recorder.nodes();
  const { interrupt } = (node as { open(): { interrupt: Interrupt } }).open();
  rig.records();
  // The used index, which the first two looks are too early for.
  ringBytes[2048 + 2] = 1;
  let asked = 0;
  const ready = (): boolean => {
    inner.used = ++asked > 2;
    return ring.hasUsed();
  };
  await interrupt.wait({ signal: new AbortController().signal, ready });
  assertEquals(rig.records().map(([kind, , at]) => [kind, at]), [
    ...[[RecordKind.MEMORY, 2048 + 4], [RecordKind.MEMORY, 2048 + 2]],
    ...[[RecordKind.INTERRUPT, 2], [RecordKind.LOOK, 1]],
  ]);
});

Deno.test("recorder: steps at the host's end, until the recorder is disposed of", async () => {
  const parts: Uint8Array[] = [];
  const recorder = new Recorder(new Machine(), (bytes) => parts.push(bytes.slice()));
  await recorder.host({ kind: HostStepKind.READ, bytes: Uint8Array.of(1, 2) });
  await recorder[Symbol.asyncDispose]();
  await recorder.host({ kind: HostStepKind.ENDED, bytes: new Uint8Array(0) });
  const reader = new RecordReader(joinBytes(...parts));
  assertEquals([reader.next(), reader.kind, reader.a, [...reader.bytes]], [
    ...[true, RecordKind.HOST, HostStepKind.READ, [1, 2]],
  ]);
  assertEquals([reader.next(), reader.cut], [false, false]);
});

Deno.test("recorder: devices without registers are refused, and looks for others", async () => {
  const machine = new Machine();
  const node = { kind: "vhost-user", name: "x" } as unknown as DeviceNode;
  const others = Object.assign(machine, { nodes: () => [node] });
  const error = assertThrows(() => new Recorder(others, () => {}), VireoError);
  assertEquals([error.code, error.message], [
    "UNSUPPORTED",
    "Cannot record a device behind a vhost-user socket: it must have registers",
  ]);
  using rig = new Rig();
  await assertRejects(async () => await rig.recorder.rescan(), VireoError);
  await rig.recorder[Symbol.asyncDispose]();
});

Deno.test("recorder: a function's line and messages are interrupts with numbers of their own", async () => {
  const { signal } = new AbortController();
  const interrupt: Interrupt = { polled: false, wait: () => Promise.resolve() };
  const window = { name: "fn", size: 256 } as Mmio;
  /** The interrupts that reach a driver of a function with a line or without, by their numbers. */
  const sources = async (line: Interrupt | undefined): Promise<unknown[]> => {
    const parts: Uint8Array[] = [];
    const lease = {
      ...{ config: window, bars: [], line, [Symbol.dispose]() {} },
      messages: () => [{ address: 1, data: 2, interrupt }, { address: 3, data: 4, interrupt }],
      openBar: (index: number) => ({ name: `bar${index}`, size: 4096 }) as Mmio,
    };
    const node = {
      ...{ kind: "pci", name: "fn", vendor: 0x1af4, device: 0x1041, open: () => lease },
      address: { segment: 0, bus: 0, device: 1, function: 0 },
    } as unknown as DeviceNode;
    const machine = Object.assign(new Machine(), { nodes: () => [node] });
    const recorder = new Recorder(machine, (bytes) => parts.push(bytes.slice()));
    const fn = (recorder.nodes()[0] as PciNode).open();
    const wait = { signal, ready: () => false };
    await fn.line?.wait(wait);
    for (const { interrupt } of fn.messages(2)!) await interrupt.wait(wait);
    fn.openBar(4);
    recorder.close();
    const reader = new RecordReader(joinBytes(...parts));
    const seen: unknown[] = [fn.line === undefined];
    while (reader.next()) {
      if (reader.kind === RecordKind.INTERRUPT) seen.push(reader.a);
      else if (reader.kind === RecordKind.META) metas.push(reader.json());
    }
    return seen;
  };
  const metas: unknown[] = [];
  assertEquals(await sources(interrupt), [false, 0, 1, 2]);
  const config = { name: "fn", size: 256 };
  const message = (address: number, source: number): object => (
    { address, data: address + 1, source, polled: false }
  );
  assertEquals(metas.splice(0), [
    { op: "open", node: "fn", window: 0, source: 0, polled: false, bars: [], config },
    { op: "messages", node: "fn", count: 2, given: [message(1, 1), message(3, 2)] },
    { op: "bar", node: "fn", index: 4, name: "bar4", size: 4096, window: 1 },
  ]);
  assertEquals(await sources(undefined), [true, 0, 1]);
  assertEquals(metas[0], { op: "open", node: "fn", window: 0, bars: [], config });
});
