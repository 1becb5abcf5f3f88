// The driver's half of a packed ring, byte by byte: every number here is typed again from virtio 1.4 §2.8.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import fc from "fast-check";
import { TestDma } from "../testing/mod.ts";
import { PackedVirtqueue } from "./packed.ts";
import { SgList, type VirtqueueOptions } from "./virtqueue.ts";

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 0x80;
const USED = 0x8000;

/** A descriptor as it lies in memory. */
interface RawDescriptor {
  readonly address: number;
  readonly length: number;
  readonly id: number;
  readonly flags: number;
}

/** A queue, and its memory as the device reads and writes it. */
class Rig implements Disposable {
  readonly dma: TestDma;
  readonly queue: PackedVirtqueue;
  readonly view: DataView;
  /** `data` of every notification. */
  readonly kicks: number[] = [];
  /** Where the device writes used descriptors, and its wrap counter. */
  used = 0;
  wrap = 1;

  constructor(options: Partial<VirtqueueOptions> = {}) {
    this.dma = (options.dma as TestDma | undefined) ?? new TestDma({ size: 20 * 1024 * 1024 });
    this.queue = new PackedVirtqueue({
      index: 3,
      name: "test",
      size: 8,
      dma: this.dma,
      indirect: false,
      eventIdx: false,
      notificationData: false,
      notify: (index, data) => {
        assertEquals(index, 3);
        this.kicks.push(data);
      },
      ...options,
    });
    this.view = new DataView(this.dma.memory.buffer);
  }

  at(address: number): number {
    return address - this.dma.base;
  }

  descriptor(i: number, table = this.queue.addresses.desc): RawDescriptor {
    const at = this.at(table) + 16 * i;
    return {
      address: Number(this.view.getBigUint64(at, true)),
      length: this.view.getUint32(at + 8, true),
      id: this.view.getUint16(at + 12, true),
      flags: this.view.getUint16(at + 14, true),
    };
  }

  flags(i: number): number {
    return this.descriptor(i).flags;
  }

  /** Writes a used descriptor where the device would, and passes over the buffer's descriptors. */
  use(id: number, length: number, descriptors = 1, flags = WRITE): void {
    const at = this.at(this.queue.addresses.desc) + 16 * this.used;
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 12, id, true);
    this.view.setUint16(at + 14, flags | (this.wrap === 1 ? AVAIL | USED : 0), true);
    this.used += descriptors;
    if (this.used < this.queue.size) return;
    this.used -= this.queue.size;
    this.wrap = 1 - this.wrap;
  }

  /** The driver event suppression structure: mode, place, wrap counter. */
  get asked(): [number, number, number] {
    const at = this.at(this.queue.addresses.driver);
    const place = this.view.getUint16(at, true);
    return [this.view.getUint16(at + 2, true), place % 32768, place >> 15];
  }

  /** Writes the device event suppression structure. */
  ask(mode: number, place = 0, wrap = 0): void {
    const at = this.at(this.queue.addresses.device);
    this.view.setUint16(at, place | wrap << 15, true);
    this.view.setUint16(at + 2, mode, true);
  }

  /** Adds a writable buffer and kicks; whether the device was told. */
  send(token = 0): boolean {
    const before = this.kicks.length;
    this.queue.add(writable(), token);
    this.queue.kick();
    return this.kicks.length > before;
  }

  /** Runs buffers of one descriptor through the ring, one at a time. */
  cycle(count: number): void {
    for (let i = 0; i < count; i++) {
      this.send(5);
      this.use(this.descriptor(this.used).id, 8);
      if (this.queue.pop() !== 5 || this.queue.usedLength !== 8) throw new Error(`Lost ${i}`);
    }
  }

  [Symbol.dispose](): void {
    this.queue[Symbol.dispose]();
  }
}

function readables(count: number, length = 16): SgList {
  const chain = new SgList(count);
  for (let i = 0; i < count; i++) chain.addReadable(0x1000 * (i + 1), length);
  return chain;
}

function writable(length = 64): SgList {
  return new SgList(1).addWritable(0x9000, length);
}

function popAll(queue: PackedVirtqueue): number[] {
  const tokens: number[] = [];
  for (let token = queue.pop(); token !== -1; token = queue.pop()) tokens.push(token);
  return tokens;
}

Deno.test("packed: the parts are aligned to 16, 4 and 4 bytes and do not overlap, at any size (§2.8.10)", () => {
  for (const size of [1, 2, 3, 7, 100, 257, 32767, 32768]) {
    using it = new Rig({ size });
    const { desc, driver, device } = it.queue.addresses;
    assertEquals(it.queue.addresses.size, size);
    assertEquals([desc % 16, driver % 4, device % 4], [0, 0, 0]);
    assert(driver >= desc + 16 * size && device >= driver + 4);
    assertEquals([it.queue.freeSlots, it.queue.inFlight, it.queue.size], [size, 0, size]);
  }
});

Deno.test("packed: a size that is none is refused, and too little memory leaves nothing allocated", () => {
  for (const size of [0, -1, 1.5, 32769, NaN]) {
    const error = assertThrows(() => new Rig({ size }), VireoError);
    assertEquals([error.code, error.seen], ["QUEUE_SIZE", size]);
  }
  const dma = new TestDma({ size: 8192 });
  const error = assertThrows(() => new Rig({ size: 256, indirect: true, dma }), VireoError);
  assertEquals([error.code, dma.live], ["OUT_OF_MEMORY", 0]);
});

Deno.test("packed: address, length, id and flags; nothing is available before the kick (§2.8.6)", () => {
  using it = new Rig();
  it.queue.add(new SgList(1).addReadable(0x1_2345_6789, 77), 4);
  it.queue.add(writable(64), 5);
  assertEquals(it.flags(0), 0);
  it.queue.kick();
  assertEquals(it.descriptor(0), { address: 0x1_2345_6789, length: 77, id: 0, flags: AVAIL });
  assertEquals(it.descriptor(1), { address: 0x9000, length: 64, id: 1, flags: AVAIL | WRITE });
  assertEquals(it.flags(2), 0);
  assertEquals(it.kicks, [-1]);
  it.queue.kick();
  assertEquals(it.kicks, [-1]);
});

Deno.test("packed: lists are linked by NEXT, the id is in the last, and flags turn at the wrap (drv.packed-ring.sg.3)", () => {
  using it = new Rig({ size: 5 });
  it.cycle(3);
  const chain = new SgList(4).addReadable(0x1000, 1).addReadable(0x2000, 2)
    .addWritable(0x3000, 3).addWritable(0x4000, 4);
  it.queue.add(chain, 9);
  assertEquals(it.queue.freeSlots, 1);
  it.queue.kick();
  const seen = [3, 4, 0, 1].map((i) => it.descriptor(i));
  assertEquals(seen.map(({ address }) => address), [0x1000, 0x2000, 0x3000, 0x4000]);
  assertEquals(seen.map(({ flags }) => flags), [
    NEXT | AVAIL,
    NEXT | AVAIL,
    NEXT | WRITE | USED,
    WRITE | USED,
  ]);
  // The device overwrites the first one of the list only, and passes all four.
  it.use(seen[3]!.id, 7, 4);
  assertEquals([it.queue.pop(), it.queue.usedLength, it.queue.freeSlots], [9, 7, 5]);
  it.cycle(20);
});

Deno.test("packed: a table of INDIRECT_DESC takes one descriptor, and has no flags but WRITE (§2.8.7; drv.packed-ring.indirect.2, .4)", () => {
  using it = new Rig({ indirect: true, size: 6 });
  const chain = new SgList(3).addReadable(0x1000, 1).addReadable(0x2000, 2).addWritable(0x3000, 3);
  assertEquals([1, 2, 6].map((n) => it.queue.slotsFor(n)), [1, 1, 1]);
  it.queue.add(chain, 1);
  it.queue.kick();
  const { address, length, flags } = it.descriptor(0);
  assertEquals([length, flags, it.queue.freeSlots], [48, INDIRECT | AVAIL, 5]);
  assertEquals([0, 1, 2].map((i) => it.descriptor(i, address).flags), [0, 0, WRITE]);
  assertEquals([0, 1, 2].map((i) => it.descriptor(i, address).length), [1, 2, 3]);
});

Deno.test("packed: chains that no ring of the size may take are refused, what has no room now is not (drv.packed-ring.sg.1, .2)", () => {
  using it = new Rig({ size: 3 });
  for (const chain of [new SgList(1), readables(4)]) {
    assertEquals(assertThrows(() => it.queue.add(chain, 0), VireoError).code, "CHAIN_SHAPE");
  }
  assertEquals(it.queue.add(readables(2), 0), true);
  assertEquals(it.queue.add(readables(2), 1), false);
  assertEquals(it.queue.add(readables(1), 2), true);
  assertEquals(it.queue.add(readables(1), 3), false);
});

Deno.test("packed: the device's event flags decide: all, none, and the reserved one is all (§2.8.14)", () => {
  for (const eventIdx of [false, true]) {
    using it = new Rig({ eventIdx });
    it.ask(1);
    assertEquals(it.send(), false);
    it.ask(0);
    assertEquals(it.send(), true);
    it.ask(3);
    assertEquals(it.send(), true);
    // A place means nothing without the feature.
    it.ask(2, 7, 1);
    assertEquals(it.send(), !eventIdx);
  }
});

Deno.test("packed: with EVENT_IDX the kick that passes the place notifies, over the wrap too", () => {
  using it = new Rig({ eventIdx: true, size: 5 });
  for (const [place, wrap] of [[0, 1], [3, 1], [4, 1], [0, 0], [2, 0]] as const) {
    using fresh = new Rig({ eventIdx: true, size: 5 });
    fresh.ask(2, place, wrap);
    const told: number[] = [];
    for (let i = 0; i < 9; i++) {
      if (fresh.send()) told.push(i);
      fresh.use(fresh.descriptor(fresh.used).id, 1);
      fresh.queue.pop();
    }
    assertEquals(told, [place + (wrap === 1 ? 0 : 5)], `place ${place}, wrap ${wrap}`);
  }
  // A batch that passes the place notifies once.
  it.ask(2, 2, 1);
  for (let i = 0; i < 4; i++) it.queue.add(writable(), i);
  it.queue.kick();
  assertEquals(it.kicks.length, 1);
});

Deno.test("packed: NOTIFICATION_DATA tells the next place and the wrap counter (§2.9; drv.packed-ring.desc-table.3)", () => {
  using it = new Rig({ notificationData: true, size: 3 });
  it.cycle(7);
  assertEquals(it.kicks, [1, 2, 0, 1, 2, 0, 1].map((at, i) => at | (i < 2 || i > 4 ? 0x8000 : 0)));
});

Deno.test("packed: the driver asks by ENABLE and DISABLE, or with EVENT_IDX by a place", () => {
  using plain = new Rig();
  assertEquals(plain.asked, [0, 0, 0]);
  plain.queue.disableCallbacks();
  assertEquals(plain.asked, [1, 0, 0]);
  assertEquals(plain.queue.enableCallbacks(), true);
  assertEquals(plain.asked[0], 0);
  assertEquals(plain.queue.enableCallbacksDelayed(), true);
  assertEquals(plain.asked[0], 0);

  using it = new Rig({ eventIdx: true, size: 3 });
  assertEquals(it.asked, [2, 0, 1]);
  // While callbacks are on, each pop asks for the next.
  it.cycle(2);
  assertEquals(it.asked, [2, 2, 1]);
  it.cycle(1);
  assertEquals(it.asked, [2, 0, 0]);
  it.queue.disableCallbacks();
  it.cycle(2);
  assertEquals(it.asked, [1, 0, 0]);
  assertEquals(it.queue.enableCallbacks(), true);
  assertEquals(it.asked, [2, 2, 0]);
  it.queue.disableCallbacks();
  it.send();
  it.use(it.descriptor(2).id, 1);
  assertEquals(it.queue.enableCallbacks(), false);
});

Deno.test("packed: delayed callbacks name the place after three quarters of what is in flight", () => {
  for (const [start, place, wrap] of [[0, 6, 1], [1, 7, 1], [2, 0, 0], [5, 3, 0]] as const) {
    using it = new Rig({ eventIdx: true });
    it.cycle(start);
    for (let i = 0; i < 8; i++) it.queue.add(writable(), i);
    it.queue.kick();
    assertEquals(it.queue.enableCallbacksDelayed(), true);
    assertEquals(it.asked, [2, place, wrap]);
    it.use(it.descriptor(start).id, 1);
    assertEquals(it.queue.enableCallbacksDelayed(), false);
  }
});

Deno.test("packed: buffers come back in the device's order, their length no more than they take", () => {
  using it = new Rig();
  for (const [token, length] of [[10, 64], [11, 32], [12, 16]] as const) {
    it.queue.add(writable(length), token);
  }
  it.queue.add(readables(1), 13);
  it.queue.kick();
  it.use(2, 99);
  // QEMU never sets WRITE, so the length counts without it.
  it.use(0, 63, 1, 0);
  it.use(3, 5);
  assertEquals(it.queue.hasUsed(), true);
  const seen = popAll(it.queue);
  assertEquals([seen, it.queue.usedLength, it.queue.inFlight], [[12, 10, 13], 0, 1]);
  it.use(1, 0xffff_ffff);
  assertEquals([it.queue.pop(), it.queue.usedLength], [11, 32]);
  assertEquals(it.queue.hasUsed(), false);
});

Deno.test("packed: under IN_ORDER one used descriptor returns all before it too, used wholly (§2.8.8)", () => {
  using it = new Rig({ inOrder: true, size: 7 });
  for (let round = 0; round < 5; round++) {
    const chain = new SgList(2).addReadable(0x1000, 1).addWritable(0x2000, 20);
    it.queue.add(chain, 1);
    it.queue.add(writable(30), 2);
    it.queue.add(writable(40), 3);
    it.queue.kick();
    const last = it.descriptor((it.used + 3) % 7).id;
    it.use(last, 4, 4);
    const seen = [0, 1, 2].map(() => [it.queue.pop(), it.queue.usedLength]);
    assertEquals(seen, [[1, 20], [2, 30], [3, 4]]);
    assertEquals([it.queue.pop(), it.queue.freeSlots, it.queue.broken], [-1, 7, undefined]);
  }
});

Deno.test("packed: a used descriptor that lies breaks the queue, and says how", () => {
  const lies: [string, (it: Rig) => void, number][] = [
    ["USED_ID_RANGE", (it) => it.use(8, 1), 8],
    ["USED_ID_RANGE", (it) => it.use(0xffff, 1), 0xffff],
    ["USED_ID_NOT_IN_FLIGHT", (it) => it.use(5, 1), 5],
    ["USED_ID_NOT_IN_FLIGHT", (it) => {
      it.use(0, 1);
      assertEquals(it.queue.pop(), 20);
      it.use(0, 1);
    }, 0],
  ];
  for (const inOrder of [false, true]) {
    for (const [code, lie, seen] of lies) {
      using it = new Rig({ inOrder, device: "dev" });
      it.queue.add(writable(), 20);
      it.queue.add(writable(), 21);
      it.queue.kick();
      lie(it);
      assertEquals(it.queue.pop(), -1);
      const { broken } = it.queue;
      assertEquals([broken?.code, broken?.seen, broken?.queue], [code, seen, 3]);
      assertEquals(broken?.device, "dev");
      assertEquals([it.queue.hasUsed(), it.queue.pop()], [false, -1]);
      const refused = assertThrows(() => it.queue.add(writable(), 1), VireoError);
      assertEquals([refused.code, refused.cause], ["QUEUE_BROKEN", broken]);
      const left: number[] = [];
      for (let t = it.queue.detachUnused(); t !== -1; t = it.queue.detachUnused()) left.push(t);
      assertEquals(left.length + (seen === 0 ? 1 : 0), 2);
      assertEquals(it.queue.freeSlots, 8);
    }
  }
});

Deno.test("packed: used flags of an earlier round mean nothing", () => {
  using it = new Rig({ size: 4 });
  it.cycle(4);
  it.send(1);
  // The second round's used flags are both 0; those of the first are still there in descriptors 1 to 3.
  assertEquals(it.queue.hasUsed(), false);
  it.use(it.descriptor(0).id, 3);
  assertEquals(popAll(it.queue), [1]);
});

Deno.test("packed: disposing frees the memory, once, and breaks the queue", () => {
  const it = new Rig({ indirect: true });
  it.send();
  assertEquals(it.dma.live, 2);
  it.queue[Symbol.dispose]();
  it.queue[Symbol.dispose]();
  assertEquals([it.dma.live, it.queue.broken?.code], [0, "DEVICE_STATE"]);
  const before = it.dma.memory.slice();
  it.queue.kick();
  it.queue.enableCallbacks();
  it.queue.disableCallbacks();
  assertEquals(it.dma.memory, before);
});

Deno.test("packed: all of a batch is in memory before the first flags are stored (drv.packed-ring.update-flags.1, .sg.6)", () => {
  using it = new Rig();
  const { store } = Atomics;
  let stores = 0;
  it.queue.add(readables(2), 0);
  it.queue.add(writable(), 1);
  Atomics.store = ((words: Int32Array, index: number, value: number) => {
    assertEquals(it.flags(0), 0);
    assertEquals([it.flags(1), it.flags(2)], [AVAIL, WRITE | AVAIL]);
    stores++;
    return store(words, index, value);
  }) as typeof Atomics.store;
  try {
    it.queue.kick();
  } finally {
    Atomics.store = store;
  }
  assertEquals([stores, it.flags(0)], [1, NEXT | AVAIL]);
});

Deno.test("packed: a readable element after a writable one makes no list (drv.packed-ring.sg.3)", () => {
  const chain = new SgList(2).addWritable(0x1000, 1);
  assertThrows(() => chain.addReadable(0x2000, 1), TypeError);
});

/** The bytes of descriptors. */
function bytesOf(it: Rig, from: number, count: number): Uint8Array {
  return it.dma.deviceBytes(it.queue.addresses.desc + 16 * from, 16 * count).slice();
}

Deno.test("packed: an available descriptor is left alone until the device has used it (drv.packed-ring.desc-table.1, .2)", () => {
  for (const indirect of [false, true]) {
    using it = new Rig({ size: 4, indirect });
    for (let i = 0; i < 4; i++) it.queue.add(writable(16 * (i + 1)), i);
    it.queue.kick();
    const before = bytesOf(it, 0, 4);
    // The ring is full, and nothing that the driver may still do touches it.
    assertEquals(it.queue.add(writable(), 9), false);
    it.queue.kick();
    it.queue.disableCallbacks();
    it.queue.enableCallbacks();
    it.queue.enableCallbacksDelayed();
    assertEquals([it.queue.pop(), bytesOf(it, 0, 4)], [-1, before]);
    // Used out of order: the first place is the driver's again, with the memory of the third buffer.
    it.use(2, 3);
    assertEquals(it.queue.pop(), 2);
    const after = bytesOf(it, 1, 3);
    assertEquals(it.queue.add(writable(), 9), true);
    assertEquals(it.queue.add(writable(), 10), false);
    it.queue.kick();
    assertEquals([bytesOf(it, 1, 3), it.descriptor(0).id], [after, 2]);
  }
});

Deno.test("packed: a list that does not fit now is not begun (drv.packed-ring.sg.4, .5)", () => {
  using it = new Rig({ size: 4 });
  it.queue.add(writable(), 1);
  it.queue.add(writable(), 2);
  it.queue.kick();
  const before = bytesOf(it, 0, 4);
  assertEquals(it.queue.add(readables(3), 3), false);
  it.queue.kick();
  assertEquals([bytesOf(it, 0, 4), it.queue.inFlight, it.queue.freeSlots], [before, 2, 2]);
  it.use(it.descriptor(0).id, 1);
  assertEquals([it.queue.pop(), it.queue.add(readables(3), 3)], [1, true]);
});

Deno.test("packed: INDIRECT is used only if it was negotiated, for no more than the ring takes (drv.packed-ring.indirect.1, .3)", () => {
  for (const indirect of [false, true]) {
    using it = new Rig({ size: 4, indirect });
    it.queue.add(readables(4), 1);
    it.queue.kick();
    const flags = [0, 1, 2, 3].map((i) => it.flags(i) & INDIRECT);
    assertEquals(flags, [indirect ? INDIRECT : 0, 0, 0, 0]);
    using fresh = new Rig({ size: 4, indirect });
    const error = assertThrows(() => fresh.queue.add(readables(5), 0), VireoError);
    assertEquals([error.code, bytesOf(fresh, 0, 4)], ["CHAIN_SHAPE", new Uint8Array(64)]);
  }
});

Deno.test("packed: the device's wish is read after the flags were stored (drv.packed-ring.notify.1)", () => {
  for (const wants of [false, true]) {
    using it = new Rig();
    // Until the store, the device says the contrary of what it says right after it.
    it.ask(wants ? 1 : 0);
    it.queue.add(writable(), 0);
    const { store } = Atomics;
    let stores = 0;
    Atomics.store = ((words: Int32Array, index: number, value: number) => {
      const stored = store(words, index, value);
      it.ask(wants ? 0 : 1);
      stores++;
      return stored;
    }) as typeof Atomics.store;
    try {
      it.queue.kick();
    } finally {
      Atomics.store = store;
    }
    assertEquals([stores, it.kicks.length], [1, wants ? 1 : 0]);
  }
});

Deno.test("packed: garbage in memory throws nothing and returns no token twice (property)", () => {
  const word = fc.oneof(fc.nat(9), fc.integer({ min: 0, max: 0xffff_ffff }));
  const garbage = fc.array(fc.tuple(fc.nat(3), word, word), { minLength: 1, maxLength: 60 });
  const flags = fc.record({
    indirect: fc.boolean(),
    eventIdx: fc.boolean(),
    inOrder: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 17 }), flags, garbage, (size, options, steps) => {
      using it = new Rig({ size, ...options, dma: new TestDma({ size: 64 * 1024 }) });
      const { queue } = it;
      const out = new Set<number>();
      let token = 0;
      for (const [what, a, b] of steps) {
        while (queue.broken === undefined) {
          const chain = new SgList(2).addWritable(0x1000, 10);
          if (a % 2 === 1 && size > 1) chain.addWritable(0x2000, 10);
          if (!queue.add(chain, token)) break;
          out.add(token++);
        }
        queue.kick();
        if (what <= 1) it.use(a & 0xffff, b, 1 + b % 2, b & 0xff7f);
        else {
          const bytes = it.dma.deviceBytes(queue.addresses.desc, 16 * size + 8);
          bytes[a % bytes.length] = b;
        }
        for (let found = queue.pop(); found !== -1; found = queue.pop()) {
          assert(out.delete(found), `token ${found} came back twice`);
          assert(queue.usedLength <= 20);
        }
        assertEquals(queue.inFlight, out.size);
        assertEquals(queue.hasUsed(), false);
        if (b % 3 === 0) queue.disableCallbacks();
        else if (b % 3 === 1) queue.enableCallbacks();
        else queue.enableCallbacksDelayed();
      }
      for (let left = queue.detachUnused(); left !== -1; left = queue.detachUnused()) {
        assert(out.delete(left));
      }
      assertEquals([out.size, queue.freeSlots, queue.inFlight], [0, size, 0]);
    }),
    { seed: 42, numRuns: 800 },
  );
});
