import { assertEquals } from "@std/assert";
import { TestDma } from "../testing/mod.ts";
import type { RingInspection } from "./inspection.ts";
import { PackedVirtqueue } from "./packed.ts";
import { SplitVirtqueue } from "./split.ts";
import { SgList, type Virtqueue } from "./virtqueue.ts";

/** A ring of four, and its memory as the device sees it. */
function rig(packed: boolean, options: { indirect?: boolean; eventIdx?: boolean } = {}) {
  const dma = new TestDma();
  const Ring = packed ? PackedVirtqueue : SplitVirtqueue;
  const queue = new Ring({
    index: 2,
    name: "inspected",
    size: 4,
    dma,
    indirect: false,
    eventIdx: false,
    notificationData: false,
    notify() {},
    ...options,
  });
  const { desc, driver, device } = queue.addresses;
  const part = (address: number, length: number): DataView => {
    const { buffer, byteOffset } = dma.deviceBytes(address, length);
    return new DataView(buffer, byteOffset, length);
  };
  return {
    queue: queue as Virtqueue,
    inspect: () => queue.inspect(),
    desc: part(desc, 64),
    driver: part(driver, packed ? 4 : 6 + 2 * 4),
    device: part(device, packed ? 4 : 6 + 8 * 4),
  };
}

/** A chain of a readable part of 10 bytes, and of writable ones. */
function chain(address: number, ...writable: number[]): SgList {
  const list = new SgList(1 + writable.length).addReadable(address, 10);
  for (const [i, length] of writable.entries()) list.addWritable(address + 0x100 * (i + 1), length);
  return list;
}

/** Buffers in a few words: token, state, and the descriptors' slots, addresses, lengths and flags. */
function brief({ buffers }: RingInspection): unknown[] {
  return buffers.map(({ token, state, descriptors }) => [
    token,
    state,
    ...descriptors.map(({ slot, address, length, flags }) =>
      `${slot} ${address.toString(16)} ${length} ${flags}`
    ),
  ]);
}

for (const packed of [false, true]) {
  const kind = packed ? "packed" : "split";

  Deno.test(`inspect: ${kind}: each buffer in flight is shown with its own descriptors, over the wrap`, () => {
    const { queue, inspect, desc, device } = rig(packed);
    // Away from the start of the ring.
    for (let i = 0; i < 3; i++) {
      queue.add(chain(0x9000), 9);
      queue.kick();
      if (packed) {
        desc.setUint16(16 * i + 14, 0x8080, true);
      } else {
        device.setUint32(4 + 8 * i, 0, true);
        device.setUint16(2, i + 1, true);
      }
      assertEquals(queue.pop(), 9);
    }
    queue.add(chain(0x1_0000_1000, 20, 30), 5);
    queue.kick();
    queue.add(chain(0x2000), 6);
    const seen = inspect();
    const slots = packed ? [3, 0, 1, 2] : [0, 1, 2, 3];
    const last = packed ? [] : [`${slots[3]} 2000 10 `];
    assertEquals(brief(seen), [
      [
        5,
        "available",
        `${slots[0]} 100001000 10 NEXT`,
        `${slots[1]} 100001100 20 NEXT,WRITE`,
        `${slots[2]} 100001200 30 WRITE`,
      ],
      // A kick writes the flags of a packed descriptor: before it there is none.
      [6, "added", ...last],
    ]);
    assertEquals(
      [seen.queue, seen.name, seen.inFlight, seen.free, seen.broken],
      [2, "inspected", 2, 0, null],
    );
    assertEquals(seen.shadow, { added: packed ? 3 : 5, kicked: packed ? 2 : 4, taken: 3 });
    assertEquals(seen.wrong, []);
    queue.kick();
    assertEquals(brief(inspect())[1], [6, "available", `${slots[3]} 2000 10 `]);
  });

  Deno.test(`inspect: ${kind}: a table is shown in place of the descriptor that names it`, () => {
    const { queue, inspect } = rig(packed, { indirect: true });
    for (const token of [7, 8]) queue.add(chain(0x1000 * token, 20), token);
    queue.kick();
    assertEquals(
      brief(inspect()),
      [7, 8].map((token) => [
        token,
        "available",
        `0 ${token}000 10 ${packed ? "" : "NEXT"}`,
        `1 ${token}100 20 WRITE`,
      ]),
    );
    assertEquals(inspect().buffers.map(({ indirect }) => indirect), [true, true]);
  });

  Deno.test(`inspect: ${kind}: what the device returned is used, and its claims are compared`, () => {
    const { queue, inspect, desc, device } = rig(packed);
    /** The device's entry after so many others. */
    const use = (at: number, id: number, length: number): void => {
      const place = at % 4;
      if (packed) {
        desc.setUint32(16 * place + 8, length, true);
        desc.setUint16(16 * place + 12, id, true);
        desc.setUint16(16 * place + 14, at < 4 ? 0x8080 : 0, true);
      } else {
        device.setUint32(4 + 8 * place, id, true);
        device.setUint32(8 + 8 * place, length, true);
        device.setUint16(2, at + 1, true);
      }
    };
    const buffer = new SgList(1).addWritable(0x1000, 20);
    // Three of the buffers are on both sides of the wrap.
    for (let at = 0; at < 2; at++) {
      queue.add(buffer, 9);
      queue.kick();
      use(at, at === 0 || packed ? 0 : inspect().buffers[0]!.id, 20);
      assertEquals(queue.pop(), 9);
    }
    for (const token of [0, 6, 7]) queue.add(buffer, token);
    queue.kick();
    const [first, second, third] = [0, 6, 7].map((token) =>
      inspect().buffers.find((each) => each.token === token)!.id
    );
    const states = () =>
      [0, 6, 7].map((token) => inspect().buffers.find((each) => each.token === token)!.state);
    assertEquals([states(), inspect().memory.entries], [Array(3).fill("available"), []]);
    use(2, second!, 20);
    assertEquals([inspect().memory.entries, inspect().wrong], [[{ id: second, length: 20 }], []]);
    assertEquals(states(), ["available", "used", "available"]);
    use(3, first!, 21);
    assertEquals(inspect().wrong, [
      `used entry of buffer ${first} has 21 bytes, the driver lent 20`,
    ]);
    use(3, 9, 0);
    assertEquals([inspect().memory.entries.length, inspect().wrong], [2, [
      "used entry names buffer 9, which is not in flight",
    ]]);
    use(3, first!, 19);
    use(4, third!, 0);
    assertEquals([states(), inspect().wrong], [Array(3).fill("used"), []]);
    assertEquals(inspect().memory.entries, [
      { id: second!, length: 20 },
      { id: first!, length: 19 },
      { id: third!, length: 0 },
    ]);
    assertEquals(queue.pop(), 6);
    assertEquals([inspect().shadow.taken, inspect().memory.entries.length], [3, 2]);
  });

  Deno.test(`inspect: ${kind}: it says when each side wants to hear of the other`, () => {
    const plain = rig(packed);
    assertEquals(plain.inspect().events, {
      interrupt: packed ? "for each buffer" : "for each used buffer",
      kick: packed ? "for each buffer" : "for each available buffer",
    });
    plain.queue.disableCallbacks();
    plain.device.setUint16(packed ? 2 : 0, 1, true);
    assertEquals(plain.inspect().events, { interrupt: "none", kick: "none" });
    const event = rig(packed, { eventIdx: true });
    event.queue.enableCallbacks();
    if (packed) {
      event.device.setUint16(0, 0x8003, true);
      event.device.setUint16(2, 2, true);
      assertEquals(event.inspect().events, {
        interrupt: "at place 0, wrap counter 1",
        kick: "at place 3, wrap counter 1",
      });
      event.device.setUint16(2, 7, true);
      assertEquals(event.inspect().events.kick, "0x3");
    } else {
      event.device.setUint16(4 + 8 * 4, 0xffff, true);
      assertEquals(event.inspect().events, {
        interrupt: "at used index 1",
        kick: "at available index 0",
      });
    }
  });
}

Deno.test("inspect: split: contradictions in indices and descriptors are listed", () => {
  const { queue, inspect, desc, device, driver } = rig(false);
  queue.add(chain(0x1000, 20), 5);
  queue.kick();
  const cases: [() => void, string[]][] = [
    [() => {}, []],
    [() => device.setUint16(2, 2, true), ["used index 2 is 2 after 0, with 1 buffers in flight"]],
    [() => device.setUint16(2, 0, true), []],
    [() => driver.setUint16(2, 9, true), ["available index 9, the driver wrote 1"]],
    [() => driver.setUint16(2, 1, true), []],
    [() => desc.setUint32(16 + 8, 21, true), [
      "buffer 0 has 21 writable bytes, the driver lent 20",
    ]],
    // A list that leads around ends with the ring.
    [() => {
      desc.setUint16(16 + 12, 3, true);
      desc.setUint16(16 + 14, 1, true);
    }, [
      "buffer 0 has 4 descriptors, the driver wrote 2",
      "buffer 0 has 63 writable bytes, the driver lent 20",
    ]],
    // And one that leads out of the ring there.
    [
      () => desc.setUint16(14, 4, true),
      ["buffer 0 has 1 descriptors, the driver wrote 2"].concat(
        "buffer 0 has 0 writable bytes, the driver lent 20",
      ),
    ],
  ];
  for (const [change, wrong] of cases) {
    change();
    assertEquals(inspect().wrong, wrong);
  }
});
