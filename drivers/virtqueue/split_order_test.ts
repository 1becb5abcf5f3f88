import { assert, assertEquals } from "@std/assert";
import { RingDevice, TestDma } from "../testing/mod.ts";
import { SplitVirtqueue } from "./split.ts";
import { SgList } from "./virtqueue.ts";

/**
 * Runs `act` with the other side awake at each atomic store of a 16-bit word: `before` sees memory as it
 * is when the store is about to be seen, `after` as soon as it was.
 */
function atStores(
  act: () => void,
  before: (words: Uint16Array, index: number) => void,
  after: (words: Uint16Array, index: number) => void = () => {},
): void {
  const { store } = Atomics;
  Atomics.store = ((words: Uint16Array, index: number, value: number) => {
    before(words, index);
    const stored = store(words, index, value);
    after(words, index);
    return stored;
  }) as typeof Atomics.store;
  try {
    act();
  } finally {
    Atomics.store = store;
  }
}

function rig(eventIdx: boolean) {
  const dma = new TestDma({ size: 64 * 1024 });
  let kicks = 0;
  const queue = new SplitVirtqueue({
    index: 0,
    name: "order",
    size: 8,
    dma,
    indirect: true,
    eventIdx,
    notificationData: false,
    notify: () => kicks++,
  });
  const device = new RingDevice(dma, queue.addresses, { indirect: true, eventIdx });
  return { queue, device, dma, kicks: () => kicks };
}

/** Address of the word of a store. */
function addressOf(words: Uint16Array, index: number): number {
  return 0x4000_0000 + words.byteOffset + index * 2;
}

Deno.test("drv.split-ring.update-idx.1: all of a batch is in memory before the index is stored", () => {
  const { queue, device } = rig(false);
  const one = new SgList(1).addReadable(0x111000, 11);
  const two = new SgList(2).addReadable(0x222000, 22).addWritable(0x333000, 33);
  let published = 0;
  atStores(() => {
    queue.add(one, 0);
    queue.add(two, 1);
    // Nothing tells the device of it yet.
    assertEquals([published, device.availIndex], [0, 0]);
    queue.kick();
  }, (words, index) => {
    assertEquals(addressOf(words, index), queue.addresses.driver + 2);
    published++;
    const heads = [device.availEntry(0), device.availEntry(1)];
    const [first, second] = heads.map((head) => device.descriptor(head));
    assertEquals([first!.address, first!.length, first!.flags], [0x111000, 11, 0]);
    assertEquals([second!.length, second!.flags], [32, 4]);
  });
  // The index is stored once for the batch, and atomically: a plain store would not be seen here.
  assertEquals(published, 1);
  assertEquals(device.takeAll()[1]!.descriptors.map((d) => d.address), [0x222000, 0x333000]);
});

Deno.test("drv.split-ring.notify.1: flags and avail_event are read after the index was stored", () => {
  for (const eventIdx of [false, true]) {
    for (const wants of [false, true]) {
      const { queue, device, kicks } = rig(eventIdx);
      // Until the store, the device says the contrary of what it says right after it.
      if (wants) device.refuseNotification();
      else device.wantNotification();
      queue.add(new SgList(1).addWritable(0x1000, 1), 0);
      atStores(() => queue.kick(), () => {}, (words, index) => {
        if (addressOf(words, index) !== queue.addresses.driver + 2) return;
        if (wants) device.wantNotification();
        else device.refuseNotification();
      });
      assertEquals(kicks(), wants ? 1 : 0, `eventIdx ${eventIdx}`);
    }
  }
});

Deno.test("no used buffer is lost between enabling callbacks and the last look", () => {
  for (const eventIdx of [false, true]) {
    for (const delayed of [false, true]) {
      const { queue, device } = rig(eventIdx);
      for (let i = 0; i < 4; i++) queue.add(new SgList(1).addWritable(0x1000, 1), i);
      queue.kick();
      queue.disableCallbacks();
      const chains = device.takeAll();
      let idle: boolean | undefined;
      // The device returns all before the driver's wish is in memory: no interrupt for them.
      atStores(
        () => idle = delayed ? queue.enableCallbacksDelayed() : queue.enableCallbacks(),
        () => {
          for (const chain of chains.splice(0)) device.complete(chain, 0);
          assertEquals(device.interruptDue(), false);
        },
      );
      assertEquals([idle, chains.length], [false, 0], `eventIdx ${eventIdx}, delayed ${delayed}`);
      for (let i = 0; i < 4; i++) assertEquals(queue.pop(), i);
    }
  }
});

Deno.test("used_event is written only while callbacks are on, flags only without EVENT_IDX", () => {
  for (const eventIdx of [false, true]) {
    const { queue, device, dma } = rig(eventIdx);
    const { driver, size } = queue.addresses;
    const cycle = () => {
      queue.add(new SgList(1).addWritable(0x1000, 1), 0);
      queue.kick();
      device.complete(device.next()!, 0);
      assert(queue.pop() === 0);
    };
    const stores = (act: () => void): number[] => {
      const seen: number[] = [];
      atStores(act, (words, index) => seen.push(addressOf(words, index) - driver));
      return seen;
    };
    const usedEvent = 4 + 2 * size;
    assertEquals(stores(cycle), eventIdx ? [2, usedEvent] : [2]);
    // Words of the available ring that change, by atomic stores or others.
    const changes = (act: () => void): number[] => {
      const words = () => {
        const { buffer, byteOffset } = dma.deviceBytes(driver, usedEvent + 2);
        return [...new Uint16Array(buffer, byteOffset, usedEvent / 2 + 1)];
      };
      const before = words();
      act();
      return words().flatMap((word, i) => word === before[i] ? [] : [2 * i]);
    };
    assertEquals(changes(() => queue.disableCallbacks()), [eventIdx ? usedEvent : 0]);
    assertEquals(stores(cycle), [2]);
    assertEquals(changes(() => queue.disableCallbacks()), []);
    assertEquals(stores(() => queue.enableCallbacks()), [eventIdx ? usedEvent : 0]);
  }
});
