// The device's side of a split ring, held by a driver: the other side is written byte by byte from
// virtio 1.4 §2.7.
import { assert, assertEquals, assertThrows } from "@std/assert";
import type { VireoError } from "@vireo/hal";
import fc from "fast-check";
import { TestDma } from "../testing/mod.ts";
import { HostRing } from "./host_ring.ts";
import { SgList } from "./virtqueue.ts";

class Rig implements Disposable {
  readonly dma = new TestDma({ size: 1 << 16 });
  readonly ring: HostRing;
  readonly view: DataView;
  notified = 0;
  #avail = 0;

  readonly size = 8;

  constructor(eventIdx = false) {
    this.ring = new HostRing({
      index: 1,
      name: "input",
      device: "modem",
      size: this.size,
      dma: this.dma,
      indirect: false,
      eventIdx,
      notificationData: false,
      notify: (index, data) => {
        assertEquals([index, data], [1, -1]);
        this.notified++;
      },
    });
    this.view = new DataView(this.dma.memory.buffer);
  }

  at(part: "desc" | "driver" | "device", offset: number): number {
    return this.ring.addresses[part] - this.dma.base + offset;
  }

  descriptor(slot: number, address: number, length: number, flags = 0, next = 0): void {
    const at = this.at("desc", 16 * slot);
    this.view.setBigUint64(at, BigInt(address), true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 12, flags, true);
    this.view.setUint16(at + 14, next, true);
  }

  /** Makes heads available. */
  offer(...heads: number[]): void {
    for (const head of heads) {
      this.view.setUint16(this.at("driver", 4 + 2 * (this.#avail++ % this.size)), head, true);
    }
    this.view.setUint16(this.at("driver", 2), this.#avail, true);
  }

  /** The used index, and an entry. */
  get usedIndex(): number {
    return this.view.getUint16(this.at("device", 2), true);
  }

  used(i: number): [number, number] {
    const at = this.at("device", 4 + 8 * i);
    return [this.view.getUint32(at, true), this.view.getUint32(at + 4, true)];
  }

  [Symbol.dispose](): void {
    this.ring[Symbol.dispose]();
  }
}

Deno.test("host ring: chains are taken in their order, and returned when the driver is done", () => {
  using it = new Rig();
  const { ring } = it;
  assertEquals([ring.pop(), ring.hasUsed(), ring.inFlight], [-1, false, 8]);
  it.descriptor(3, 0x1_0000_5000, 70, 1, 6);
  it.descriptor(6, 0x6000, 7);
  it.descriptor(0, 0x7000, 5);
  it.offer(3, 0);
  assertEquals([ring.hasUsed(), ring.pop()], [true, 3]);
  assertEquals(ring.elements, [{ address: 0x1_0000_5000, length: 70 }, {
    address: 0x6000,
    length: 7,
  }]);
  assertEquals([ring.pop(), ring.elements.length, ring.pop(), ring.inFlight], [0, 1, -1, 6]);
  ring.giveBack(0);
  ring.giveBack(3, 9);
  // Nothing is seen before the kick.
  assertEquals([it.usedIndex, it.notified], [0, 0]);
  ring.kick();
  assertEquals([it.usedIndex, it.used(0), it.used(1), it.notified], [2, [0, 0], [3, 9], 1]);
  ring.kick();
  assertEquals(it.notified, 1);
  assertThrows(() => ring.giveBack(3), RangeError);
  assertThrows(() => ring.add(new SgList(1), 0), TypeError);
});

Deno.test("host ring: both sides' suppression, by flags and by event indices", () => {
  using plain = new Rig();
  plain.ring.disableCallbacks();
  assertEquals(plain.view.getUint16(plain.at("device", 0), true), 1);
  assertEquals(plain.ring.enableCallbacks(), true);
  assertEquals(plain.view.getUint16(plain.at("device", 0), true), 0);
  plain.view.setUint16(plain.at("driver", 0), 1, true);
  plain.descriptor(0, 0x1000, 1);
  plain.offer(0);
  assertEquals(plain.ring.enableCallbacks(), false);
  plain.ring.giveBack(plain.ring.pop());
  plain.ring.kick();
  assertEquals([plain.usedIndex, plain.notified], [1, 0]);

  using event = new Rig(true);
  for (let i = 0; i < 4; i++) event.descriptor(i, 0x1000 * (i + 1), 1);
  // used_event: told when the second entry is used.
  event.view.setUint16(event.at("driver", 4 + 2 * 8), 1, true);
  event.offer(0, 1, 2, 3);
  for (const [i, told] of [0, 1, 1, 1].entries()) {
    event.ring.giveBack(event.ring.pop());
    event.ring.kick();
    assertEquals([event.usedIndex, event.notified], [i + 1, told]);
  }
  // avail_event: where the driver is.
  assertEquals(event.ring.enableCallbacks(), true);
  assertEquals(event.view.getUint16(event.at("device", 4 + 8 * 8), true), 4);
});

Deno.test("host ring: what cannot be true breaks it, and says what was seen", () => {
  const lies: [string, (it: Rig) => void, number][] = [
    ["head", (it) => it.offer(8), 8],
    ["index", (it) => it.view.setUint16(it.at("driver", 2), 9, true), 9],
    ["written", (it) => {
      it.descriptor(0, 0x1000, 1, 2);
      it.offer(0);
    }, 2],
    ["table", (it) => {
      it.descriptor(0, 0x1000, 16, 4);
      it.offer(0);
    }, 4],
    ["next", (it) => {
      it.descriptor(0, 0x1000, 16, 1, 99);
      it.offer(0);
    }, 99],
    ["loop", (it) => {
      it.descriptor(0, 0x1000, 16, 1, 1);
      it.descriptor(1, 0x1000, 16, 1, 0);
      it.offer(0);
    }, 9],
    ["twice", (it) => {
      it.descriptor(5, 0x1000, 16);
      it.offer(5, 5);
      assertEquals(it.ring.pop(), 5);
    }, 5],
  ];
  for (const [name, lie, seen] of lies) {
    using it = new Rig();
    lie(it);
    assertEquals(it.ring.pop(), -1, name);
    const broken = it.ring.broken as VireoError;
    assertEquals([name, broken.code, broken.seen, broken.device], [
      name,
      "CHAIN_SHAPE",
      seen,
      "modem",
    ]);
    assertEquals([it.ring.hasUsed(), it.ring.enableCallbacks()], [false, true]);
    assert(it.ring.elements.length <= it.ring.size, name);
  }
});

Deno.test("host ring: garbage in its memory throws nothing, and no chain is taken twice (property)", () => {
  const bytes = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 80 });
  fc.assert(
    fc.property(bytes, fc.boolean(), (writes, eventIdx) => {
      using it = new Rig(eventIdx);
      const held = new Set<number>();
      for (const [at, value] of writes) {
        it.dma.memory[at] = value;
        for (let head = it.ring.pop(); head >= 0; head = it.ring.pop()) {
          assert(!held.has(head) && head < 8);
          held.add(head);
        }
        if (value % 3 === 0) {
          for (const head of held) it.ring.giveBack(head);
          held.clear();
          it.ring.kick();
        }
        assertEquals(it.ring.inFlight, 8 - held.size);
      }
      let left = 0;
      while (it.ring.detachUnused() >= 0) left++;
      assertEquals(left, held.size);
    }),
    { seed: 42, numRuns: 500 },
  );
});

Deno.test("host ring: all chains may come at once, and each that is held can be forgotten", () => {
  using rig = new Rig();
  for (let slot = 0; slot < rig.size; slot++) rig.descriptor(slot, 0x1000, 8);
  const all = Array.from({ length: rig.size }, (_, i) => i);
  rig.offer(...all);
  assertEquals(all.map(() => rig.ring.pop()), all);
  assertEquals([...all, -1].map(() => rig.ring.detachUnused()), [...all, -1]);
  assertEquals([rig.ring.inFlight, rig.ring.broken], [rig.size, undefined]);
});

Deno.test("host ring: a chain that leads behind the last descriptor breaks it", () => {
  using rig = new Rig();
  rig.descriptor(0, 0x1000, 8, 1, rig.size);
  rig.offer(0);
  assertEquals([rig.ring.pop(), rig.ring.broken?.seen], [-1, rig.size]);
  // Nobody is notified by it any more.
  rig.ring.kick();
  rig.ring.kickAgain();
  assertEquals(rig.notified, 0);
});

Deno.test("host ring: disposing frees the memory once", () => {
  const it = new Rig();
  assertEquals(it.dma.live, 1);
  it[Symbol.dispose]();
  it[Symbol.dispose]();
  assertEquals([it.dma.live, it.ring.broken?.code], [0, "DEVICE_STATE"]);
  // The memory may be another's by now.
  it.dma.memory.fill(0xa5);
  it.ring.disableCallbacks();
  it.ring.enableCallbacks();
  it.ring.kick();
  assertEquals([it.ring.pop(), it.dma.memory.every((byte) => byte === 0xa5)], [-1, true]);
});
