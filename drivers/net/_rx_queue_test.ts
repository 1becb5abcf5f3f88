import { assertEquals } from "@std/assert";
import { BouncingDma, RingDevice } from "../testing/mod.ts";
import { plainQueue } from "../virtqueue/exchange_test_util.ts";
import { type NetStats, RxFrame } from "./frame.ts";
import { type RxLayout, RxQueue } from "./_rx_queue.ts";

const LAYOUT: RxLayout = {
  mode: "mergeable",
  headerSize: 12,
  mtu: 1500,
  splitHeader: false,
  gsoTypes: 0b11_1010,
  ecn: true,
  csum: true,
};

/** A receive queue on a ring, and a device that fills buffers and claims what it likes. */
function rig(layout: Partial<RxLayout> = {}, size = 8) {
  const dma = new BouncingDma({ size: 4 << 20 });
  let kicks = 0;
  const queue = plainQueue(dma, () => kicks++, size);
  const frame = new RxFrame();
  const stats = {
    rxFrames: 0,
    rxBytes: 0,
    rxShort: 0,
    rxNumBuffers: 0,
    rxTooLong: 0,
    rxBadChecksum: 0,
    rxBadGso: 0,
  };
  const frames: number[][] = [];
  const rx = new RxQueue(queue, dma, { ...LAYOUT, ...layout }, 3, {
    frame,
    stats: stats as unknown as NetStats,
    deliver: () => frames.push([...frame.view()]),
  });
  rx.kick();
  const device = new RingDevice(dma, queue.addresses);
  return {
    dma,
    queue,
    rx,
    frame,
    frames,
    kicks: () => kicks,
    /** The counters that are not 0. */
    counted: () => Object.fromEntries(Object.entries(stats).filter(([, count]) => count > 0)),
    fill(bytes: readonly number[], used = bytes.length): number[] {
      const chain = device.next()!;
      let at = 0;
      for (const { address, length } of chain.descriptors) {
        dma.deviceBytes(address, length).set(bytes.slice(at, at += length));
      }
      device.complete(chain, used);
      return chain.descriptors.map(({ length }) => length);
    },
  };
}

/** The bytes of a header of virtio 1.4 §5.1.6. */
function header(
  { flags = 0, gso = 0, size = 0, start = 0, offset = 0, buffers = 1 } = {},
  length = 12,
): number[] {
  const words = [0, size, start, offset, buffers].flatMap((word) => [word & 0xff, word >> 8]);
  return [flags, gso, ...words].concat(Array(8).fill(0)).slice(0, length);
}

/** A frame of some bytes, IPv4 unless it says otherwise. */
function packet(length: number, type: readonly number[] = [8, 0]): number[] {
  return Array.from({ length }, (_, i) => type[i - 12] ?? i & 0x7f);
}

Deno.test("rx queue: buffers hold the largest frame, in as many descriptors as the header needs", () => {
  const cases: [Partial<RxLayout>, number, number[]][] = [
    [{}, 8, [1536]],
    [{ mode: "small" }, 8, [1536]],
    // A tag of 4 bytes behind an Ethernet header of 14, in whole cache lines.
    [{ mode: "small", mtu: 9000 }, 8, [9088]],
    [{ mode: "small", mtu: 68, headerSize: 10 }, 8, [1536]],
    [{ mode: "small", splitHeader: true, headerSize: 10 }, 4, [10, 1526]],
    [{ mode: "big" }, 8, [65_664]],
    [{ mode: "big", splitHeader: true }, 4, [12, 65_652]],
    // A mergeable buffer is whole by what the feature says (virtio 1.4 §5.1.6.3.1).
    [{ splitHeader: true }, 8, [1536]],
  ];
  for (const [layout, count, lengths] of cases) {
    const { rx, queue, dma, fill, frames } = rig(layout);
    assertEquals(queue.inFlight, count, JSON.stringify(layout));
    assertEquals(fill([...header({}, layout.headerSize), ...packet(60)]), lengths);
    assertEquals([rx.poll(8), frames, queue.inFlight], [1, [packet(60)], count]);
    rx.dispose();
    assertEquals([dma.mistakes, dma.live], [[], 1]);
  }
});

Deno.test("rx queue: a poll takes no more buffers than it may, and notifies once", () => {
  const { rx, fill, frames, kicks } = rig();
  for (let i = 0; i < 5; i++) fill([...header(), ...packet(20 + i)]);
  const before = kicks();
  assertEquals([rx.poll(2), frames.length, kicks() - before], [2, 2, 1]);
  assertEquals([rx.poll(9), frames.length, kicks() - before], [3, 5, 2]);
  assertEquals([rx.poll(9), frames.map(({ length }) => length)], [0, [20, 21, 22, 23, 24]]);
});

Deno.test("rx queue: each frame is handed on with what its header says, or dropped and counted", () => {
  const PARTIAL = { flags: 1, start: 14, offset: 44 };
  const TSO = { ...PARTIAL, gso: 1, size: 1 };
  const V6 = [0x86, 0xdd];
  const VLAN = [0x81, 0, 0, 5];
  const cases: [Parameters<typeof header>[0], number[], string | undefined][] = [
    [{}, packet(14), undefined],
    [{}, packet(13), "rxShort"],
    [{ buffers: 0 }, packet(60), "rxNumBuffers"],
    [{ flags: 2 }, packet(60), undefined],
    // The range begins behind the Ethernet header and ends with the frame.
    [PARTIAL, packet(60), undefined],
    [PARTIAL, packet(59), "rxBadChecksum"],
    [{ ...PARTIAL, start: 13 }, packet(60), "rxBadChecksum"],
    [{ ...PARTIAL, offset: 45 }, packet(60), "rxBadChecksum"],
    [{ ...PARTIAL, start: 0x10e }, packet(0x10e + 46), undefined],
    [{ ...PARTIAL, offset: 0x12c }, packet(14 + 0x12c + 2), undefined],
    [TSO, packet(60), undefined],
    [{ ...TSO, size: 0 }, packet(60), "rxBadGso"],
    [{ ...TSO, size: 0x1234 }, packet(60), undefined],
    [{ gso: 1, size: 9 }, packet(60), undefined],
    [TSO, packet(60, V6), "rxBadGso"],
    [{ ...TSO, gso: 4 }, packet(60, V6), undefined],
    [{ ...TSO, gso: 4 }, packet(60), "rxBadGso"],
    ...[3, 5].flatMap((gso): typeof cases => [
      [{ ...TSO, gso }, packet(60), undefined],
      [{ ...TSO, gso }, packet(60, V6), undefined],
      [{ ...TSO, gso }, packet(60, [8, 6]), "rxBadGso"],
      [{ ...TSO, gso }, packet(60, [9, 0]), "rxBadGso"],
    ]),
    [TSO, packet(60, [...VLAN, 8, 0]), undefined],
    [TSO, packet(60, [...VLAN, ...V6]), "rxBadGso"],
    // A tag needs 18 bytes.
    [{ gso: 1, size: 9 }, packet(18, [...VLAN, 8, 0]), undefined],
    [{ ...TSO, gso: 2 }, packet(60), "rxBadGso"],
    [{ ...TSO, gso: 0x81 }, packet(60), undefined],
  ];
  const { rx, fill, frames, frame, counted } = rig();
  const counts: Record<string, number> = { rxFrames: 0, rxBytes: 0 };
  for (const [fields, bytes, dropped] of cases) {
    fill([...header(fields), ...bytes]);
    rx.poll(1);
    if (dropped !== undefined) counts[dropped] = (counts[dropped] ?? 0) + 1;
    else {
      counts["rxFrames"]!++;
      counts["rxBytes"]! += bytes.length;
      const { flags = 0, gso = 0, size = 0, start = 0, offset = 0 } = fields!;
      const { flags: seen, gsoType, gsoSize, csumStart, csumOffset, queue, hash } = frame;
      assertEquals([seen, gsoType, gsoSize, csumStart, csumOffset, queue, hash], [
        flags,
        gso,
        size,
        start,
        offset,
        3,
        0,
      ]);
      assertEquals(frames.pop(), bytes);
    }
    assertEquals([counted(), frames], [counts, []], JSON.stringify(fields));
  }
});

Deno.test("rx queue: small buffers have one frame each, of at least an Ethernet header", () => {
  const { rx, fill, frames, counted } = rig({ mode: "small" });
  for (const length of [14, 13, 0]) fill([...header({ buffers: 0 }), ...packet(length)]);
  // A tag that is written behind the frame's end is none.
  fill([...header({ gso: 1, size: 9 }), ...packet(18, [0x81, 0, 0, 5, 8, 0])], 12 + 17);
  fill(header().slice(1));
  rx.poll(8);
  assertEquals([frames, counted()], [[packet(14)], {
    rxFrames: 1,
    rxBytes: 14,
    rxShort: 3,
    rxBadGso: 1,
  }]);
});

Deno.test("rx queue: big buffers are at most 32, however long the ring", () => {
  for (const [mode, count] of [["big", 32], ["small", 64]] as const) {
    const { queue } = rig({ mode }, 64);
    assertEquals(queue.inFlight, count);
  }
});

Deno.test("rx queue: a hash is that of a report that is known", () => {
  const { rx, fill, frame } = rig({ headerSize: 20 });
  // hash_value of 4 bytes, hash_report of 2 and padding follow the header (virtio 1.4 §5.1.6).
  const tail = [0x78, 0x56, 0x34, 0x92];
  for (
    const [report, high, known] of [[0, 0, false], [1, 0, true], [9, 0, true], [10, 0, false], [
      1,
      1,
      false,
    ]] as const
  ) {
    fill([...header(), ...tail, report, high, 0, 0, ...packet(60)]);
    rx.poll(1);
    const { hash, hashReport } = frame;
    assertEquals([hash, hashReport], known ? [0x92345678, report] : [0, 0], `${report} ${high}`);
  }
});

Deno.test("rx queue: headers say only what was negotiated", () => {
  const cases = [
    [{ csum: false }, { flags: 1, start: 14, offset: 4 }, { rxBadChecksum: 1 }],
    [{ gsoTypes: 0b11_1000 }, { gso: 1, size: 9 }, { rxBadGso: 1 }],
    [{ ecn: false }, { gso: 0x81, size: 9 }, { rxBadGso: 1 }],
    [{ ecn: false }, { gso: 1, size: 9 }, { rxFrames: 1, rxBytes: 60 }],
    // Types over 31 are no bit.
    [{ gsoTypes: -1 }, { gso: 31, size: 9 }, { rxBadGso: 1 }],
    [{ gsoTypes: -1 }, { gso: 30, size: 9 }, { rxFrames: 1, rxBytes: 60 }],
    [{ gsoTypes: -1 }, { gso: 33, size: 9 }, { rxBadGso: 1 }],
  ] as const;
  for (const [layout, fields, expected] of cases) {
    const { rx, fill, counted } = rig(layout);
    fill([...header(fields), ...packet(60)]);
    rx.poll(1);
    assertEquals(counted(), expected);
  }
});

Deno.test("rx queue: a frame of several buffers is one if all of them are there", () => {
  const parts = [packet(60), packet(1536), packet(7)];
  const first = (buffers: number) => [...header({ buffers }), ...parts[0]!];
  const whole = { rxFrames: 1, rxBytes: 60 + 1536 + 7 };
  for (
    const [buffers, expected] of [
      [2, { rxFrames: 1, rxBytes: 60 + 1536, rxShort: 7 }],
      [3, { ...whole, rxShort: 6 }],
      [4, { rxNumBuffers: 1, rxShort: 6 }],
      [0x103, { rxNumBuffers: 1, rxShort: 6 }],
    ] as const
  ) {
    const r = rig();
    // The ring wraps within the frame.
    for (let i = 0; i < 6; i++) r.fill(header());
    r.rx.poll(6);
    for (const bytes of [first(buffers), ...parts.slice(1)]) r.fill(bytes);
    // A budget counts the buffers, and a frame is not cut by it.
    assertEquals([r.rx.poll(1), r.counted()["rxNumBuffers"] ?? 0], [
      Math.min(3, buffers),
      buffers > 3 ? 1 : 0,
    ]);
    r.rx.poll(8);
    assertEquals([r.counted(), r.queue.inFlight], [expected, 8]);
    if (buffers === 3) assertEquals(r.frames, [parts.flat()]);
    r.rx.dispose();
    assertEquals(r.dma.mistakes, []);
  }
});

Deno.test("rx queue: a frame in buffers may have 65589 bytes, and is dropped whole if it has more", () => {
  for (
    const [last, expected] of [
      [1089, { rxFrames: 1, rxBytes: 65_589 }],
      [1090, { rxTooLong: 1 }],
    ] as const
  ) {
    const { rx, fill, frames, counted, queue } = rig({}, 64);
    fill([...header({ buffers: 43 }), ...packet(1524)]);
    for (let i = 0; i < 41; i++) fill(packet(1536));
    fill(packet(last));
    assertEquals([rx.poll(64), counted(), queue.inFlight], [43, expected, 64]);
    assertEquals(frames.length, last === 1089 ? 1 : 0);
  }
});
