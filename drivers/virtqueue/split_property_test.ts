import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { RingDevice, TestDma } from "../testing/mod.ts";
import { SplitVirtqueue } from "./split.ts";
import { SgList } from "./virtqueue.ts";

/** One step of a program: what to do, and two numbers to do it with. */
type Step = readonly [what: number, a: number, b: number];

const STEPS = fc.array(
  fc.tuple(fc.nat(11), fc.nat(0xffff), fc.nat(0xffff)),
  { minLength: 1, maxLength: 400, size: "max" },
);
const SHIFT = fc.oneof(
  { weight: 4, arbitrary: fc.nat(5) },
  { weight: 1, arbitrary: fc.integer({ min: 6, max: 15 }) },
);
const FLAGS = fc.record({ indirect: fc.boolean(), eventIdx: fc.boolean() });

interface Buffer {
  readonly token: number;
  readonly elements: number;
  readonly slots: number;
  readonly writable: number;
}

/** A queue, its device, and a model that knows where each buffer is. */
class World {
  readonly queue: SplitVirtqueue;
  readonly device: RingDevice;
  readonly #size: number;
  readonly #indirect: boolean;
  readonly #eventIdx: boolean;
  readonly #dma: TestDma;
  #nextToken = 1;
  #free: number;
  /** Added, not kicked. */
  #added: Buffer[] = [];
  /** Kicked, not seen by the device. */
  #kicked: Buffer[] = [];
  /** At the device, by head. */
  readonly #taken = new Map<number, Buffer>();
  /** Returned, not popped, with the length to expect. */
  #returned: [Buffer, number][] = [];
  #notifications = 0;
  /** The device sleeps until a notification; it asked for one and saw nothing. */
  #deviceSleeps = false;
  /** The driver sleeps until an interrupt; enabling the callbacks told that there is nothing. */
  #driverSleeps = false;
  #delayed = 0;

  constructor(size: number, indirect: boolean, eventIdx: boolean, start: number) {
    this.#size = size;
    this.#indirect = indirect;
    this.#eventIdx = eventIdx;
    this.#free = size;
    this.#dma = new TestDma({ size: size * 16 * (indirect ? 34 : 2) + 4096 });
    this.queue = new SplitVirtqueue({
      index: 0,
      name: "property",
      size,
      dma: this.#dma,
      indirect,
      eventIdx,
      notificationData: true,
      notify: (_, data) => {
        assertEquals(data, this.device.availIndex);
        this.#notifications++;
      },
    });
    this.device = new RingDevice(this.#dma, this.queue.addresses, { indirect, eventIdx });
    this.#advance(start);
  }

  /** Brings the indices near their wrap. */
  #advance(count: number): void {
    const chain = new SgList(1).addWritable(0x1000, 4);
    for (let left = count; left > 0;) {
      const batch = Math.min(left, this.#size);
      for (let i = 0; i < batch; i++) this.queue.add(chain, i);
      this.queue.kick();
      for (const one of this.device.takeAll()) this.device.put(one.head, 4);
      this.device.publish();
      for (let i = 0; i < batch; i++) assert(this.queue.pop() === i);
      left -= batch;
    }
    assertEquals(this.device.availIndex, count & 0xffff);
    this.device.interruptDue();
    // Whatever avail_event is now, it is not a promise any more.
    this.device.wantNotification();
  }

  run(steps: readonly Step[]): void {
    for (const [what, a, b] of steps) {
      this.#step(what, a, b);
      assertEquals(this.queue.freeSlots, this.#free);
      assertEquals(
        this.queue.inFlight,
        this.#added.length + this.#kicked.length + this.#taken.size + this.#returned.length,
      );
    }
    this.#finish();
  }

  #step(what: number, a: number, b: number): void {
    switch (what) {
      case 0:
      case 1:
      case 2:
        return this.#add(1 + a % Math.min(this.#size, what === 0 ? 40 : 4), b);
      case 3:
      case 4:
        return this.#kick();
      case 5:
        return this.#take(1 + a % 4);
      case 6:
      case 7:
        return this.#complete(a, b);
      case 8:
        return this.#pop(1 + a % 8);
      case 9: {
        this.queue.disableCallbacks();
        this.#driverSleeps = false;
        return;
      }
      case 10:
        return this.#driverWaits(a % 3 === 0);
      default:
        return a % 2 === 0 ? this.#deviceWaits() : this.#deviceWakes();
    }
  }

  #add(elements: number, seed: number): void {
    const chain = new SgList(elements);
    const readable = seed % (elements + 1);
    for (let i = 0; i < elements; i++) {
      const address = this.#nextToken * 0x1_0000 + i;
      if (i < readable) chain.addReadable(address, 1 + i);
      else chain.addWritable(address, 1 + seed % 100);
    }
    const token = this.#nextToken;
    const slots = this.#indirect && elements > 1 && elements <= Math.min(32, this.#size)
      ? 1
      : elements;
    assertEquals(this.queue.slotsFor(elements), slots);
    const added = this.queue.add(chain, token);
    assertEquals(added, slots <= this.#free);
    if (!added) return;
    this.#nextToken++;
    this.#free -= slots;
    this.#added.push({ token, elements, slots, writable: chain.writableLength });
  }

  #kick(): void {
    const before = this.#notifications;
    const sleeping = this.#deviceSleeps && this.#added.length > 0;
    this.queue.kick();
    this.#kicked.push(...this.#added);
    this.#added = [];
    assertEquals(
      this.device.availIndex,
      (this.device.lastAvail + this.#kicked.length) & 0xffff,
    );
    // No lost notification: a device that sleeps is woken by what it has not seen.
    if (sleeping) assertEquals(this.#notifications, before + 1);
    if (this.#notifications > before) this.#deviceSleeps = false;
  }

  #take(count: number): void {
    if (this.#deviceSleeps) {
      assertEquals(this.device.next(), undefined);
      return;
    }
    for (let i = 0; i < count; i++) {
      const chain = this.device.next();
      const buffer = this.#kicked.shift();
      if (chain === undefined) return assertEquals(buffer, undefined);
      assert(buffer !== undefined);
      assertEquals(chain.descriptors.length, buffer.elements);
      assertEquals(chain.writableLength, buffer.writable);
      chain.descriptors.forEach((d, at) => assertEquals(d.address, buffer.token * 0x1_0000 + at));
      assert(!this.#taken.has(chain.head));
      this.#taken.set(chain.head, buffer);
    }
  }

  #complete(pick: number, length: number): void {
    const heads = [...this.#taken.keys()];
    if (heads.length === 0) return;
    const head = heads[pick % heads.length]!;
    const buffer = this.#taken.get(head)!;
    this.#taken.delete(head);
    const claim = length > 0xfff0 ? 0xffff_ffff : length;
    this.device.complete(head, claim);
    this.#returned.push([buffer, Math.min(claim, buffer.writable)]);
    const due = this.device.interruptDue();
    // No lost interrupt: a driver that sleeps is woken by the entry it waits for.
    if (this.#driverSleeps) {
      assertEquals(due, this.#returned.length === this.#delayed + 1);
      if (due) this.#driverSleeps = false;
    }
  }

  #pop(count: number): void {
    assertEquals(this.queue.hasUsed(), this.#returned.length > 0);
    // Who pops is awake.
    this.#driverSleeps = false;
    for (let i = 0; i < count; i++) {
      const [buffer, length] = this.#returned.shift() ?? [];
      assertEquals(this.queue.pop(), buffer?.token ?? -1);
      if (buffer === undefined) return;
      assertEquals(this.queue.usedLength, length);
      this.#free += buffer.slots;
    }
  }

  #driverWaits(delayed: boolean): void {
    this.#delayed = delayed && this.#eventIdx ? Math.floor(this.queue.inFlight * 3 / 4) : 0;
    const idle = delayed ? this.queue.enableCallbacksDelayed() : this.queue.enableCallbacks();
    assertEquals(idle, this.#returned.length <= this.#delayed);
    this.#driverSleeps = idle;
  }

  #deviceWaits(): void {
    this.device.wantNotification();
    this.#deviceSleeps = this.#kicked.length === 0;
  }

  #deviceWakes(): void {
    this.#deviceSleeps = false;
    this.device.refuseNotification();
  }

  /** Everything comes back, and each but once. */
  #finish(): void {
    this.#deviceSleeps = false;
    this.#kick();
    this.#take(this.#size);
    while (this.#taken.size > 0) this.#complete(7, 1);
    this.#pop(this.#size + 1);
    assertEquals([this.queue.freeSlots, this.queue.inFlight], [this.#size, 0]);
    assertEquals(this.queue.broken, undefined);
    this.queue[Symbol.dispose]();
    assertEquals(this.#dma.live, 0);
  }
}

Deno.test("random programs agree with a model: order, lengths, slots, notifications, interrupts", () => {
  fc.assert(
    fc.property(SHIFT, FLAGS, fc.nat(200), STEPS, (shift, flags, before, steps) => {
      // Every other run crosses the wrap of the 16-bit indices.
      const start = before % 2 === 0 ? 65_536 - before : before;
      const world = new World(1 << shift, flags.indirect, flags.eventIdx, start);
      world.run(steps);
    }),
    { seed: 42, numRuns: 150 },
  );
});

Deno.test("garbage in the used ring throws nothing and returns no token twice", () => {
  const word = fc.oneof(fc.nat(9), fc.integer({ min: 0, max: 0xffff_ffff }));
  const garbage = fc.array(fc.tuple(fc.nat(6), word, word), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(fc.nat(4), FLAGS, garbage, (shift, flags, steps) => {
      const size = 1 << shift;
      const dma = new TestDma({ size: 64 * 1024 });
      using queue = new SplitVirtqueue({
        index: 0,
        name: "garbage",
        size,
        dma,
        ...flags,
        notificationData: false,
        notify() {},
      });
      const device = new RingDevice(dma, queue.addresses, flags);
      const { device: used, desc } = queue.addresses;
      const out = new Set<number>();
      let token = 0;
      for (const [what, a, b] of steps) {
        // The driver keeps what it can in the ring.
        while (queue.broken === undefined) {
          const chain = new SgList(2).addWritable(0x1000, 10);
          if (a % 2 === 1 && size > 1) chain.addWritable(0x2000, 10);
          if (!queue.add(chain, token)) break;
          out.add(token++);
        }
        queue.kick();
        if (what <= 1) device.complete(a, b);
        else if (what === 2) device.usedIndex = a & 0xffff;
        else if (what === 3) {
          const bytes = dma.deviceBytes(used, 6 + 8 * size);
          bytes[a % bytes.length] = b;
        } else if (what === 4) {
          const bytes = dma.deviceBytes(desc, 16 * size);
          bytes[a % bytes.length] = b;
        } else if (what === 5) device.complete(device.availEntry(a), b);
        else device.availEvent = a & 0xffff;

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
    { seed: 42, numRuns: 1000 },
  );
});
