// What every device model keeps of its driver, as one table: a snapshot, what a reset forgets, and its configuration.
import { assert, assertEquals } from "@std/assert";
import { InputType } from "@vireo/hal";
import { Hub } from "../backends/hub.ts";
import { loopbackPort } from "../backends/stream_port.ts";
import { MemoryDisk } from "../backends/memory_disk.ts";
import type { ConfigWidth, DeviceModel, ModelUsage } from "../device.ts";
import { FakeChain, FakeHost } from "../testing/fake_host.ts";
import { BalloonDevice } from "./balloon/mod.ts";
import { BlkDevice } from "./blk/mod.ts";
import { ConsoleDevice } from "./console/mod.ts";
import { CryptoDevice } from "./crypto/mod.ts";
import { GpuDevice } from "./gpu/mod.ts";
import { InputDevice } from "./input/mod.ts";
import { NetDevice } from "./net/mod.ts";
import { MemoryTree, P9Device } from "./p9/mod.ts";
import { RpmsgDevice } from "./rpmsg/mod.ts";
import { ScsiDevice } from "./scsi/mod.ts";
import { VsockDevice } from "./vsock/mod.ts";

type Data = Readonly<Record<string, unknown>>;

interface Row {
  readonly make: () => DeviceModel & Disposable;
  /** What a driver may have left in it: no field as it is at first. */
  readonly state: Data;
  /** Its size there. */
  readonly usage?: ModelUsage;
  /** What a reset leaves of it, besides what is there at first: the host's part. */
  readonly left?: Data;
  /** Size after a reset, if it is not 0. */
  readonly leftUsage?: ModelUsage;
  /** Bytes of the configuration that a driver can change, by single bytes or by words. */
  readonly writable?: readonly number[];
  /** Changes the configuration from the host's side. */
  readonly change?: (model: never) => void;
}

const bytes = (length: number): number[] => Array.from({ length }, (_, i) => 1 + i);

const ROWS: Readonly<Record<string, Row>> = {
  blk: {
    change: (model: BlkDevice) => model.resize(1),
    make: () => new BlkDevice({ disk: new MemoryDisk(1 << 16) }),
    state: { writeback: 0 },
    writable: [32],
  },
  net: {
    change: (model: NetDevice) => model.setLink(false),
    make: () =>
      new NetDevice({ backend: new Hub().port(), queuePairs: 2, mac: "52:54:00:00:00:01" }),
    state: {
      mac: [2, 3, 4, 5, 6, 7],
      // The link is down, and an announcement waits.
      status: 2,
      pairs: 2,
      offloads: [1, 7],
      filter: {
        modes: [true, true, true, true, true, true],
        unicast: [5],
        multicast: [6, 7],
        vlans: [0, 100, 4095],
      },
      hash: { types: 3, key: bytes(40), table: [1, 0], unclassified: 1 },
      coalescing: {
        rx: { maxPackets: 1, maxUsecs: 2 },
        tx: { maxPackets: 3, maxUsecs: 4 },
        own: [[2, { maxPackets: 5, maxUsecs: 6 }]],
      },
    },
    left: { status: 0 },
  },
  console: {
    make: () =>
      new ConsoleDevice({
        ports: [{ backend: loopbackPort() }, { backend: loopbackPort() }],
        maxPorts: 2,
      }),
    state: {
      driverReady: true,
      cols: 80,
      rows: 25,
      outbox: [[1, 2, 3, 4, 5, 6, 7, 8]],
      ports: [0, 1].map((id) => ({
        id,
        hostOpen: false,
        guestOpen: true,
        ready: true,
        pending: bytes(3 + id),
      })),
    },
    usage: { items: 1, bytes: 64 },
    left: {
      cols: 80,
      rows: 25,
      ports: [0, 1].map((id) => ({
        id,
        hostOpen: false,
        guestOpen: false,
        ready: false,
        pending: bytes(3 + id),
      })),
    },
  },
  balloon: {
    change: (model: BalloonDevice) => void (model.target = 3),
    make: () => new BalloonDevice({ target: 9 }),
    state: {
      target: 7,
      config: bytes(16),
      held: [4, 6],
      values: [[1, 2], [3, 4]],
      hints: [5, 6, 7],
    },
    usage: { items: 4, bytes: 64 },
    // Pages that it wants, and what was told; ids of hints are not used again.
    left: {
      target: 7,
      config: [7, ...new Array(15).fill(0)],
      values: [[1, 2], [3, 4]],
      hints: [5, 0, 0],
    },
    leftUsage: { items: 2, bytes: 0 },
    writable: [4, 5, 6, 7, 12, 13, 14, 15],
  },
  input: {
    make: () => new InputDevice({ name: "k", codes: { [InputType.KEY]: [1] } }),
    state: {
      config: bytes(136),
      waiting: [[{ type: 1, code: 2, value: 3 }, { type: 0, code: 0, value: 0 }]],
      statuses: [{ type: 4, code: 5, value: 6 }],
      lost: 7,
    },
    usage: { items: 3, bytes: 192 },
    left: { statuses: [{ type: 4, code: 5, value: 6 }], lost: 7 },
    leftUsage: { items: 1, bytes: 64 },
    // And the size of the answer to the first two.
    writable: [0, 1, 2],
  },
  crypto: {
    change: (model: CryptoDevice) => model.setReady(false),
    make: () => new CryptoDevice(),
    state: {
      lastSession: 3,
      sessions: [[3, { service: 1, key: [1, 2], authKey: [3] }]],
    },
    usage: { items: 1, bytes: 3 },
  },
  scsi: {
    make: () => new ScsiDevice({ units: [{ target: 1, disk: new MemoryDisk(1 << 16) }] }),
    state: {
      sizes: [18, 16],
      events: [bytes(16), bytes(16)],
      missed: true,
      attentions: { "1:0": [0x29, 0] },
    },
    usage: { items: 2, bytes: 32 },
    left: { attentions: { "1:0": [0x29, 0] } },
    writable: [20, 24],
  },
  gpu: {
    change: (model: GpuDevice) => model.resize(0, 1, 1),
    make: () => new GpuDevice({ displays: [{ width: 8, height: 4 }], blob: true }),
    state: {
      events: 1,
      resources: [
        {
          id: 5,
          width: 2,
          height: 1,
          format: 1,
          pixels: Uint8Array.from(bytes(8)),
          blob: null,
          backing: [[0x1000, 4], [0x3000, 4]],
          uuid: bytes(16),
        },
        {
          id: 6,
          width: 0,
          height: 0,
          format: 0,
          pixels: new Uint8Array(0),
          blob: { size: 16, stride: 8, offset: 4 },
          backing: null,
        },
      ],
      displays: [{
        width: 16,
        height: 9,
        shows: { id: 5, part: { x: 0, y: 0, width: 2, height: 1 } },
        picture: { width: 2, height: 1, rgba: Uint8Array.from(bytes(8)) },
        cursor: { id: 5, x: 3, y: 4, image: new Uint8Array(64 * 64 * 4).fill(7) },
      }],
    },
    usage: { items: 2, bytes: 2 * 512 + 8 + 2 * 16 + 8 + 16384 },
    left: {
      events: 1,
      displays: [{
        width: 16,
        height: 9,
        shows: null,
        picture: null,
        cursor: { id: 0, x: 0, y: 0, image: null },
      }],
    },
  },
  "9p": {
    make: () => new P9Device({ tag: "t", tree: new MemoryTree() }),
    state: {
      msize: 8192,
      fids: [
        [9, {
          path: [],
          entries: ["a", "bc"],
          access: 0,
          append: false,
          opened: true,
          xattr: undefined,
        }],
        [10, {
          path: ["x"],
          entries: undefined,
          access: 2,
          append: true,
          opened: false,
          xattr: { name: "user.a", flags: 1, bytes: Uint8Array.of(1, 2, 3), written: 2 },
        }],
      ],
      locks: [[1n, [{ type: 1, process: 2, client: "c", start: 3, end: 4, fid: 5 }]]],
    },
    usage: { items: 5, bytes: 137 },
  },
  vsock: {
    change: (model: VsockDevice) => model.resetTransport(9),
    make: () => new VsockDevice({ host: { connect: () => undefined } }),
    state: { cid: 77 },
    left: { cid: 77 },
  },
  rpmsg: {
    make: () => new RpmsgDevice({ services: [] }),
    state: { announced: [["a", 1024]], waiting: [{ src: 1, dst: 2, bytes: [3, 4] }] },
    usage: { items: 2, bytes: 130 },
  },
};

const NONE = new Uint8Array(0);
const NOTHING: ModelUsage = { items: 0, bytes: 0 };

for (const [name, row] of Object.entries(ROWS)) {
  const { state, left, usage = NOTHING, leftUsage = NOTHING } = row;

  Deno.test(`${name} device: a snapshot's every field comes back, and a reset forgets all but the host's`, () => {
    for (const end of ["reset", "dispose"] as const) {
      using model = row.make();
      const first = model.snapshot?.() as Data;
      for (const [field, value] of Object.entries(state)) {
        assert(JSON.stringify(value, text) !== JSON.stringify(first[field], text), field);
      }
      model.restore?.(structuredClone(state));
      assertEquals(model.snapshot?.(), state);
      assertEquals(model.usage?.() ?? NOTHING, usage);
      const { items, bytes } = model.bounds ?? NOTHING;
      assert(items >= usage.items && bytes >= usage.bytes, `${items} items, ${bytes} bytes`);
      if (end === "dispose") {
        // A console has no ports afterwards.
        if (name === "console") continue;
        model[Symbol.dispose]();
      } else model.reset();
      assertEquals(model.snapshot?.(), { ...first, ...left });
      assertEquals(model.usage?.() ?? NOTHING, leftUsage);
    }
  });

  Deno.test(`${name} device: its configuration is the same in all widths, and only its writable fields change`, () => {
    using model = row.make();
    new FakeHost(model);
    const read = (width: ConfigWidth): number[] =>
      Array.from(
        { length: Math.floor(model.configSize / width) },
        (_, i) => model.readConfig(i * width, width),
      );
    const single = read(1);
    for (const width of [2, 4] as const) {
      const joined = read(width).map((_, i) =>
        single.slice(i * width, (i + 1) * width).reduceRight((value, byte) => value * 256 + byte, 0)
      );
      assertEquals(read(width), joined, `${width} bytes`);
    }
    const changed = new Set<number>();
    for (const width of [1, 4] as const) {
      for (let at = 0; at + width <= model.configSize; at += width) {
        const before = read(1);
        const value = width === 1 ? before[at]! ^ 1 : (model.readConfig(at, 4) ^ 0x01010101) >>> 0;
        model.writeConfig?.(at, width, value);
        const after = read(1);
        for (let i = at; i < at + width; i++) if (after[i] !== before[i]) changed.add(i);
      }
    }
    assertEquals([...changed].sort((a, b) => a - b), row.writable ?? []);
  });
}

for (const [name, { make, change }] of Object.entries(ROWS)) {
  if (change === undefined) continue;
  Deno.test(`${name} device: a change of its configuration is told, whether or not a driver runs`, () => {
    for (const runs of [false, true]) {
      using model = make();
      const host = new FakeHost(model);
      if (!runs) model.reset();
      change(model as never);
      assertEquals(host.configChanges, 1);
    }
  });
}

for (const [name, { make }] of Object.entries(ROWS)) {
  Deno.test(`${name} device: queues without a driver or without a buffer are left alone, and chains without bytes are no news to the host`, () => {
    using model = make();
    const host = new FakeHost(model);
    for (const index of model.queues.keys()) {
      model.notify(index);
      model.resetQueue?.(index);
    }
    assertEquals([host.faults, host.done], [[], []]);
    for (const index of model.queues.keys()) host.send(index, new FakeChain(NONE, NONE, 0));
    assertEquals(host.hostFailures, []);
    model.reset();
    const before = [host.done.length, host.faults.length, host.signals];
    for (const index of model.queues.keys()) host.send(index, new FakeChain(NONE, NONE, 0));
    assertEquals([host.done.length, host.faults.length, host.signals], before);
    assertEquals(model.usage?.() ?? NOTHING, NOTHING);
  });
}

Deno.test("every device: its type, and its queues by the names of the specification or of Linux", () => {
  const found = Object.entries(ROWS).map(([name, { make }]) => {
    using model = make();
    return [name, model.deviceId, model.queues.map(({ name }) => name).join(" ")];
  });
  assertEquals(found, [
    ["blk", 2, "requestq1"],
    ["net", 1, "receiveq1 transmitq1 receiveq2 transmitq2 controlq"],
    ["console", 3, "receiveq0 transmitq0 control receiveq control transmitq receiveq1 transmitq1"],
    ["balloon", 5, "inflate deflate stats free_page reporting"],
    ["input", 18, "eventq statusq"],
    ["crypto", 20, "dataq1 controlq"],
    ["scsi", 8, "controlq eventq requestq0"],
    ["gpu", 16, "controlq cursorq"],
    ["9p", 9, "requests"],
    ["vsock", 19, "rx tx event"],
    ["rpmsg", 7, "input output"],
  ]);
});

/** Numbers that JSON has not. */
function text(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}` : value;
}
