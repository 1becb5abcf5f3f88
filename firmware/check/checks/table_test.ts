// What checks make of answers at the ends of what a clause allows, each given by hand: without a device, a ring or a wait.
import { assertEquals } from "@std/assert";
import { CheckContext } from "../context.ts";
import { CheckFailure, CheckSkip } from "../failure.ts";
import { CHECKS } from "./table.ts";

/** Members of a context, or of its device: what they give; those that are left out do nothing. */
interface Script {
  readonly [name: string]: unknown;
}

/** An object of these members, and of all others as calls that do nothing. */
function scripted(script: Script): unknown {
  return new Proxy(script, {
    get(target, name) {
      if (typeof name === "symbol" || name === "then") return undefined;
      const value = target[name];
      if (value === undefined) return Object.hasOwn(target, name) ? undefined : () => undefined;
      return value?.constructor === Object ? scripted(value as Script) : value;
    },
  });
}

/** Carries out a check with a scripted context; how it ended. */
async function verdict(id: string, script: Script): Promise<string> {
  const { equal, expect, skip } = CheckContext.prototype;
  const check = CHECKS.find((check) => check.id === id)!;
  const context = scripted({ equal, expect, skip, ...script }) as CheckContext;
  try {
    await check.run(context);
    return "pass";
  } catch (error) {
    if (error instanceof CheckFailure) return `fail ${error.what}`;
    if (error instanceof CheckSkip) return `skip ${error.message}`;
    throw error;
  }
}

/** Values in turn, of which the last one stays. */
function turns<T>(...values: readonly T[]): () => T {
  let at = 0;
  return () => values[Math.min(at++, values.length - 1)]!;
}

/** Reads of little-endian numbers by their offsets; others are 0. */
const config = (numbers: Readonly<Record<number, number>>) => ({
  config: (offset: number): number => numbers[offset] ?? 0,
});

/** An answer of bytes at their places. */
function reply(bytes: Readonly<Record<number, number>>, length = 64): unknown {
  const all = new Uint8Array(1056);
  for (const [at, value] of Object.entries(bytes)) all[Number(at)] = value;
  return { bytes: all, used: { id: 0, length } };
}

/** Answers to requests in turn. */
const asked = (...replies: readonly unknown[]): Script => ({ ask: turns(...replies) });

type Row = readonly [script: Script, verdict: string];

/** Checks that each script of each check ends as it must. */
async function verdicts(rows: Readonly<Record<string, readonly Row[]>>): Promise<void> {
  for (const [id, cases] of Object.entries(rows)) {
    const seen = [];
    for (const [script] of cases) seen.push(await verdict(id, script));
    assertEquals([id, ...seen], [id, ...cases.map(([, ends]) => ends)]);
  }
}

Deno.test("checks: entropy, balloon and SCSI at the ends of what they may answer", async () => {
  const used = (length: number): Script => asked(reply({}, length));
  const scsi = (response: number, status: number): Script =>
    asked(reply({ 10: status, 11: response }));
  const sizes = (sense: number, cdb: number): Script => ({
    device: config({ 20: sense, 24: cdb }),
  });
  const queues = (count: number, size: number): Script => {
    let selected = 0;
    const device = {
      ...config({ 0: count }),
      select: (queue: number) => selected = queue,
      sizeMax: () => selected === 1 + count ? size : 99,
    };
    return { device };
  };
  const actual = (word: number, byte: number): Script => {
    const written: number[] = [];
    return {
      device: {
        config: (_: number, width: number) => width === 1 ? byte : written.length > 0 ? word : 7,
        writeConfig: (at: number, width: number, value: number) => {
          assertEquals([at, width, value], [4, 4, written.length === 0 ? 0x123 : 7]);
          written.push(value);
        },
      },
    };
  };
  await verdicts({
    "rng.bytes-7": [[used(0), "fail used length"], [used(1), "pass"], [used(7), "pass"], [
      used(8),
      "fail used length",
    ]],
    "rng.differs": [
      [asked(reply({}), reply({ 3: 1 })), "pass"],
      [asked(reply({})), "fail the second 32 bytes"],
    ],
    "balloon.actual": [
      [actual(0x123, 0x23), "pass"],
      [actual(0x124, 0x23), "fail actual"],
      [actual(0x123, 1), "fail its first byte"],
    ],
    "scsi.inquiry": [[scsi(0, 0), "pass"], [scsi(3, 9), "pass"], [scsi(1, 0), "fail response"], [
      scsi(0, 2),
      "fail status",
    ]],
    "scsi.no-such-target": [[scsi(3, 0), "pass"], [scsi(0, 0), "fail response"]],
    "scsi.report-luns": [[scsi(0, 0), "pass"], [scsi(3, 0), "pass"], [scsi(1, 0), "fail response"]],
    "scsi.unknown-command": [[scsi(0, 2), "pass"], [scsi(3, 0), "pass"], [
      scsi(0, 0),
      "fail status",
    ], [
      scsi(9, 2),
      "fail response",
    ]],
    "scsi.reset-sizes": [[sizes(96, 32), "pass"], [sizes(64, 32), "fail sense_size"], [
      sizes(96, 16),
      "fail cdb_size",
    ]],
    "scsi.queues": [[queues(1, 1), "pass"], [queues(4, 8), "pass"], [
      queues(0, 8),
      "fail num_queues",
    ], [
      queues(4, 0),
      "fail size of queue 5",
    ]],
  });
});

Deno.test("checks: a console's ports are below the most, and each is added once", async () => {
  /** Events of ports: kind 1 adds one. */
  const events = (...list: readonly (readonly [port: number, event: number])[]): Script => {
    let room = 0;
    return {
      device: config({ 4: 2 }),
      writable: () => ({ at: room++ }),
      ring: () => ({ add: () => 0, usedCount: () => list.length, used: () => list }),
      until: (done: () => boolean) => assertEquals(done(), list.length > 0),
      arena: {
        get: (at: number) => Uint8Array.of(list[at]![0], 0, 0, 0, list[at]![1], 0, 0, 0),
      },
    };
  };
  await verdicts({
    "console.ports": [
      [events([0, 1], [1, 1], [1, 3]), "pass"],
      [events([0, 1], [0, 1]), "fail ports that were added twice"],
      [events([2, 1]), "fail ports from max_nr_ports up"],
      [events([2, 3]), "pass"],
      [events(), "pass"],
    ],
  });
});

Deno.test("checks: 9P, gpu, input and vsock at the ends of what they may answer", async () => {
  const gpu = (...types: readonly number[]): Script =>
    asked(...types.map((type) => reply({ 0: type & 0xff, 1: type >> 8 })));
  const fence = { 4: 1, 8: 0x55, 9: 0x44, 10: 0x33, 11: 0x22, 12: 0x11 };
  const edid = {
    0: 4,
    1: 0x11,
    ...Object.fromEntries([33, 34, 35, 36, 37, 38].map((at) => [at, 0xff])),
  };
  const count = (offset: number, value: number): Script => ({
    device: config({ [offset]: value }),
  });
  const inputs = (size: (type: number) => number): Script => {
    let type = 0;
    return {
      device: {
        writeConfig: (at: number, _: number, value: number) => void (at === 1 && (type = value)),
        config: () => size(type),
      },
    };
  };
  const packet = (op: number, port = 1234, taken = true): Script => ({
    device: config({ 0: 3 }),
    ...{
      writable: () => ({ at: 5, length: 256, write: true }),
      take: () => taken ? {} : undefined,
    },
    arena: {
      get: (at: number, length: number) => {
        assertEquals([at, length], [5, 44]);
        const bytes = new Uint8Array(44);
        bytes[30] = op;
        new DataView(bytes.buffer).setUint32(20, port, true);
        return bytes;
      },
    },
  });
  const cid = (low: number, high = 0): Script => ({ device: config({ 0: low, 4: high }) });
  const none = "fail packet from the host";
  await verdicts({
    "9p.hostile.link-of-no-file": [
      [asked(reply({}), reply({ 4: 7, 5: 5 })), "pass"],
      [asked(reply({ 4: 7, 5: 5 }), reply({ 4: 8, 5: 5 })), "fail type of the answer"],
      [asked(reply({}), reply({ 4: 7, 5: 6 })), "fail tag"],
      [asked(reply({}), reply({ 4: 7, 5: 5, 6: 1 })), "fail tag"],
    ],
    "9p.unknown-version": [[asked(reply({ 4: 101 })), "pass"], [asked(reply({ 4: 7 })), "pass"], [
      asked(reply({ 4: 8 })),
      "fail answer",
    ]],
    "9p.tag": [
      [asked(reply({ 0: 21, 5: 0xff, 6: 0xff }, 21)), "pass"],
      [asked(reply({ 0: 21, 5: 0xff, 6: 0xff }, 22)), "fail used length"],
      [asked(reply({ 0: 21, 5: 0xff }, 21)), "fail tag"],
    ],
    "gpu.fence": [
      [asked(reply(fence)), "pass"],
      [asked(reply({ ...fence, 4: 3 })), "pass"],
      [asked(reply({ ...fence, 4: 2 })), "fail flags"],
      [asked(reply({ ...fence, 15: 1 })), "fail fence_id"],
    ],
    "gpu.scanouts": [[count(8, 0), "fail num_scanouts"], [count(8, 1), "pass"], [
      count(8, 16),
      "pass",
    ], [
      count(8, 17),
      "fail num_scanouts",
    ]],
    "gpu.blob-alignment": [[count(16, 0), "fail blob_alignment"], [count(16, 1), "pass"], [
      count(16, 4096),
      "pass",
    ], [count(16, 4097), "fail blob_alignment"]],
    "gpu.events-clear": [[count(9, 0), "pass"], [count(0, 1), "fail events_read"], [
      count(4, 1),
      "fail events_clear",
    ]],
    "gpu.resource": [
      [gpu(0x1100, 0x1100, 0x1200), "pass"],
      [gpu(0x1100, 0x1100, 0x12ff), "pass"],
      [gpu(0x1100, 0x1100, 0x11ff), "fail unref again"],
      [gpu(0x1100, 0x1100, 0x1300), "fail unref again"],
      [gpu(0x1200, 0x1100, 0x1200), "fail create"],
      [gpu(0x1100, 0x1200, 0x1200), "fail unref"],
    ],
    "gpu.reset-forgets": [
      [gpu(0x1100, 0x1203), "pass"],
      [gpu(0x1100, 0x1100), "fail unref after a reset"],
      [gpu(0x1203, 0x1203), "fail create"],
    ],
    // Six bytes of 255 and one of 6 add up to 1536.
    "gpu.edid": [
      [asked(reply({ ...edid, 40: 6 })), "pass"],
      [asked(reply({ ...edid, 159: 6 })), "pass"],
      [asked(reply({ ...edid, 40: 7 })), "fail sum of the block"],
      [asked(reply({ ...edid, 160: 6 })), "fail sum of the block"],
      [asked(reply({ ...edid, 39: 1 })), "fail its first bytes"],
      [asked(reply({ ...edid, 0: 0 })), "fail answer"],
    ],
    "gpu.hostile.unref-unknown": [[gpu(0x1203), "pass"], [gpu(0x1100), "fail answer"]],
    "input.name": [[inputs(() => 0), "fail size"], [inputs(() => 1), "pass"], [
      inputs(() => 128),
      "pass",
    ], [inputs(() => 129), "fail size"]],
    "input.some-events": [
      [inputs((type) => type === 31 ? 1 : 0), "pass"],
      [inputs((type) => type === 32 ? 1 : 0), "fail types with codes"],
    ],
    "input.hostile.select-0-0": [[inputs(() => 0), "pass"], [inputs(() => 1), "fail size"]],
    "vsock.cid": [[cid(2), "fail guest_cid"], [cid(3), "pass"], [cid(0xfffffffe), "pass"], [
      cid(0xffffffff),
      "fail guest_cid",
    ], [cid(3, 1), "fail its upper half"]],
    "vsock.refused": [[packet(3), "pass"], [packet(4), "fail op"], [
      packet(3, 1235),
      "fail dst_port",
    ], [
      packet(3, 1234, false),
      none,
    ]],
    "vsock.unknown-type": [[packet(3), "pass"], [packet(1), "fail op"]],
    "vsock.not-connected": [[packet(3), "pass"], [packet(5), "fail op"]],
  });
});

Deno.test("checks: a crypto device at the ends of what its configuration and answers may say", async () => {
  const of = (numbers: Readonly<Record<number, number>>, size = 8): Script => ({
    device: { ...config(numbers), sizeMax: () => size },
  });
  const control = { device: config({ 4: 1 }) };
  const sessions = (...list: readonly (readonly [status: number, id: number])[]): Script => ({
    ...control,
    ...asked(...list.map(([status, id]) => reply({ 0: id, 8: status }))),
  });
  const status = (...values: readonly number[]): Script => ({
    ...control,
    ...asked(...values.map((value) => reply({ 0: value, 8: value, 1055: value }))),
  });
  await verdicts({
    "crypto.queues": [
      [of({ 4: 1 }), "pass"],
      [of({ 4: 65535 }), "pass"],
      [of({ 4: 0 }), "fail max_dataqueues"],
      [of({ 4: 65536 }), "fail max_dataqueues"],
      [of({ 4: 1 }, 0), "fail size of the control queue"],
      [of({ 4: 1 }, 1), "pass"],
    ],
    "crypto.status": [[of({ 0: 1 }), "pass"], [of({ 0: 0 }), "pass"], [
      of({ 0: 2 }),
      "fail other bits",
    ]],
    "crypto.services": [
      [of({ 8: 0 }), "fail services"],
      [of({ 8: 0x3f }), "pass"],
      [of({ 8: 0x40 }), "fail services"],
      [of({ 8: 0x41 }), "fail services"],
    ],
    "crypto.algorithms.hash": [
      [of({ 8: 2, 20: 1 }), "pass"],
      [of({ 8: 2 }), "fail algorithms"],
      [of({ 8: 1, 20: 1 }), "skip no service hash"],
    ],
    "crypto.undefined.akcipher": [
      [of({ 44: 7 }), "pass"],
      [of({ 44: 8 }), "fail undefined bits"],
    ],
    "crypto.sizes": [
      [of({ 48: 1 }), "pass"],
      [of({ 52: 1 }), "pass"],
      [of({}), "fail max_size"],
      [of({ 48: 1, 8: 1 }), "fail max_cipher_key_len"],
      [of({ 48: 1, 8: 1, 36: 1 }), "pass"],
      [of({ 48: 1, 8: 2 }), "pass"],
    ],
    "crypto.mac-key": [
      [of({ 8: 4, 40: 1 }), "pass"],
      [of({ 8: 4 }), "fail max_auth_key_len"],
      [of({ 8: 2, 40: 1 }), "skip no service MAC"],
    ],
    "crypto.unique-ids": [
      [sessions([0, 1], [0, 2], [0, 3]), "pass"],
      [sessions([0, 1], [0, 2], [0, 1]), "fail different ids"],
      [sessions([0, 1], [1, 2], [0, 3]), "fail statuses"],
    ],
    "crypto.destroy": [[status(0), "pass"], [status(0, 1), "fail status"]],
    "crypto.unknown-algorithm": [[status(3), "pass"], [status(1), "pass"], [
      status(0),
      "fail status",
    ]],
    "crypto.hostile.destroy-unknown": [[status(1), "pass"], [status(0), "fail status"]],
    "crypto.hostile.unknown-session": [[status(4), "pass"], [status(1), "pass"], [
      status(0),
      "fail status",
    ]],
  });
});

/** A function of PCI. */
interface Fn extends Script {
  readonly identity?: Readonly<Record<"vendor" | "device" | "revision" | "subsystem", number>>;
}

const fn = (pci: Fn, more: Script = {}): Script => ({
  device: { id: 2 },
  offered: () => new Set<number>(),
  legacy: false,
  ...more,
  pci: {
    ...pci,
    identity: () => ({
      vendor: 0x1af4,
      device: 0x1042,
      revision: 1,
      subsystem: 0x40,
      ...pci.identity,
    }),
  },
});
const identity = (changed: object, more: Script = {}): Script =>
  fn({ identity: changed as NonNullable<Fn["identity"]> }, more);

Deno.test("checks: the identity of a function of PCI", async () => {
  const old = { device: 0x1001 };
  const notOld = "skip the function is not transitional";
  const isOld = "skip the function is transitional";
  const bars = (space: string, index = 0): Script =>
    fn({ identity: old as NonNullable<Fn["identity"]>, bars: [{ index, space }] });
  await verdicts({
    "pci.vendor": [[identity({}), "pass"], [identity({ vendor: 0x1af5 }), "fail vendor id"]],
    "pci.device": [
      [identity({}), "pass"],
      [identity(old), "pass"],
      [identity({ device: 0x1002 }), "fail device id"],
      [identity({ device: 0x1043 }), "fail device id"],
    ],
    "pci.modern-range": [
      [identity({ device: 0x1040 }), "pass"],
      [identity({ device: 0x107f }), "pass"],
      [identity({ device: 0x1080 }), "fail device id"],
      [identity({ device: 0x103f }), isOld],
    ],
    "pci.modern-revision": [
      [identity({}), "pass"],
      [identity({ revision: 0 }), "fail revision"],
      [identity({ ...old, revision: 0 }), isOld],
    ],
    "pci.modern-subsystem": [
      [identity({}), "pass"],
      [identity({ subsystem: 0x3f }), "fail subsystem device id"],
      [identity({ ...old, subsystem: 2 }), isOld],
    ],
    "pci.transitional-revision": [
      [identity({ ...old, revision: 0 }), "pass"],
      [identity(old), "fail revision"],
      [identity({ revision: 0 }), notOld],
    ],
    "pci.transitional-subsystem": [
      [identity({ ...old, subsystem: 2 }), "pass"],
      [identity(old), "fail subsystem device id"],
      [identity({ subsystem: 2 }), notOld],
    ],
    "pci.transitional-range": [
      [identity({ device: 0x1000 }), "pass"],
      [identity({ device: 0x103f }, { legacy: true }), "pass"],
      [identity({ device: 0x1040 }, { legacy: true }), "fail device id"],
      [identity({ device: 0xfff }), "fail device id"],
      [identity({}), notOld],
    ],
    "pci.transitional-io-bar": [[bars("io"), "pass"], [bars("memory"), "fail space of BAR 0"], [
      bars("io", 1),
      "fail space of BAR 0",
    ], [identity({}), notOld]],
  });
});

Deno.test("checks: the capabilities of a function of PCI", async () => {
  const one = (
    found: object,
    bars: readonly object[] = [{ index: 4, size: 64 }],
    words: Readonly<Record<number, number>> = {},
  ): Script =>
    fn({
      capabilities: [{
        at: 0x40,
        bar: 4,
        id: 0,
        offset: 0,
        size: 0,
        length: 24,
        type: 1,
        ...found,
      }],
      capability: (type: number) => type === (found as { type?: number }).type ? found : undefined,
      bars,
      space: { read: (at: number) => words[at] ?? 0 },
    });
  const length = (type: number, value: number): Script => one({ type, length: value });
  const notify = (notification: object, wide = false, more: Script = {}): Script =>
    fn(
      { ...more, notification: () => notification },
      { offered: () => new Set(wide ? [38] : []) },
    );
  const room = (size: number, offs: readonly number[], wide = false): Script => {
    return notify({ size, multiplier: 4 }, wide, {
      get: ((next) => (name: string) => name === "num_queues" ? offs.length : next())(
        turns(...offs),
      ),
    });
  };
  const end = "fail end of type 1";
  const cap = (type: number): string => `fail cap_len of type ${type}`;
  const shared = { type: 8, at: 0x40, id: 1, offset: 16, size: 48 };
  await verdicts({
    "pci.capability.common": [[one({ type: 1 }), "pass"], [one({ type: 2 }), "fail capability 1"]],
    "pci.capability.length": [
      ...[[1, 16], [2, 20], [5, 20], [8, 24], [9, 8]].flatMap(([type, least]): Row[] => [
        [length(type!, least!), "pass"],
        [length(type!, least! - 1), cap(type!)],
      ]),
    ],
    "pci.capability.inside-bar": [
      [one({ offset: 16, size: 48 }), "pass"],
      [one({ offset: 17, size: 48 }), end],
      [one({ offset: 0, size: 1, bar: 3 }), end],
      ...[5, 8, 9].map((type): Row => [one({ type, size: 99 }), "pass"]),
    ],
    "pci.capability.common-aligned": [[one({ type: 1, offset: 8 }), "pass"], [
      one({ type: 1, offset: 6 }),
      "fail offset modulo 4",
    ]],
    "pci.capability.device-aligned": [
      [one({ type: 4, offset: 8 }), "pass"],
      [one({ type: 4, offset: 6 }), "fail offset modulo 4"],
      [one({ type: 1, offset: 6 }), "skip the device has no configuration"],
    ],
    "pci.capability.notify-aligned": [
      [notify({ offset: 2 }), "pass"],
      [notify({ offset: 3 }), "fail offset"],
      [notify({ offset: 2 }, true), "fail offset"],
      [notify({ offset: 4 }, true), "pass"],
    ],
    "pci.capability.notify-multiplier": [
      [notify({ multiplier: 0 }), "pass"],
      [notify({ multiplier: 1 }), "fail notify_off_multiplier"],
      [notify({ multiplier: 2 }), "pass"],
      [notify({ multiplier: 6 }), "fail notify_off_multiplier"],
      [notify({ multiplier: 2 }, true), "fail notify_off_multiplier"],
      [notify({ multiplier: 4 }, true), "pass"],
    ],
    "pci.capability.notify-room": [
      [room(14, [0, 3]), "pass"],
      [room(13, [0, 3]), "fail end of queue 1's notification"],
      [room(16, [3, 0], true), "pass"],
      [room(15, [3, 0], true), "fail end of queue 0's notification"],
    ],
    "pci.capability.shared-memory": [
      [one(shared), "pass"],
      [one({ ...shared, size: 49 }), "fail end of the region"],
      [one(shared, undefined, { 0x50: 1 }), "fail end of the region"],
      [one(shared, undefined, { 0x54: 1 }), "fail end of the region"],
      [one({ ...shared, bar: 3 }), "fail end of the region"],
      [one({ type: 1 }), "skip the device has no shared memory"],
      [
        fn({
          capabilities: [shared, shared],
          bars: [],
          space: {},
        }),
        "fail ids",
      ],
    ],
  });
});

Deno.test("checks: the common configuration, ISR and MSI-X of a function of PCI", async () => {
  const known = { known: { queue: 1, queues: [0, 1] } };
  const windows = (select: number, ...words: readonly number[]): Script =>
    fn({ get: () => select }, { device: { features: turns(...words) } });
  const foreign = (offer: number, seen: number): Script =>
    fn({ get: () => seen }, { device: { features: () => offer } });
  const queues = (count: number, size: number): Script =>
    fn({ get: () => count }, { ...known, device: { sizeMax: () => size } });
  const sizes = (...values: readonly number[]): Script =>
    fn({}, { ...known, device: { sizeMax: turns(...values) } });
  const isr = (...causes: readonly number[]): Script =>
    fn({}, {
      ...known,
      take: () => ({}),
      until: (done: () => boolean) => done() || done(),
      device: { causes: turns(...causes) },
    });
  const status = (...values: readonly number[]): Script =>
    fn({ pciStatus: turns(...values) }, {
      ...known,
      take: () => ({}),
      until: (done: () => boolean) => done(),
    });
  const nothing = (pci: number, causes: number): Script =>
    fn({ pciStatus: () => pci }, { device: { causes: () => causes } });
  const table = (size: number, where: number, room: number, msix = 0x80): Script =>
    fn({
      msix,
      space: { read: (at: number) => at === 0x82 ? size : at === 0x84 ? where : 0 },
      bars: [{ index: 1, size: room }],
    });
  const vectors = (size: number, answer: (name: string, value: number) => number): Script => {
    const registers = new Map<string, number>();
    const written: number[] = [];
    return fn({
      msix: 0x80,
      space: {
        read: () => size,
        write: (at: number, width: number, value: number) => {
          assertEquals([at, width, value], [0x82, 2, written.length === 0 ? 0xc000 : 0]);
          written.push(value);
        },
      },
      set: (name: string, value: number) => void registers.set(name, answer(name, value)),
      get: (name: string) => registers.get(name),
    });
  };
  const noVector = (size: number) => (_: string, value: number): number =>
    value < size ? value : 0xffff;
  await verdicts({
    "pci.common.feature-windows": [
      [windows(0, 1, 2, 3, 4, 4, 3, 2, 1), "pass"],
      [windows(0, 1, 2, 3, 4, 1, 2, 3, 4), "fail words"],
      [windows(1, 1, 2, 3, 4, 4, 3, 2, 1), "fail device_feature_select"],
    ],
    "pci.common.driver-feature-valid": [
      [foreign(0x80000001, 0x80000001), "pass"],
      [foreign(1, 0x80000001), "fail foreign bits of window 0"],
    ],
    "pci.common.queues": [[queues(2, 1), "pass"], [queues(1, 1), "fail num_queues"], [
      queues(2, 0),
      "fail queue_size of queue 1",
    ]],
    "pci.common.size-kept": [
      [sizes(8, 4, 8), "pass"],
      [sizes(2, 1, 2), "pass"],
      [sizes(1), "skip the queue has one descriptor"],
      [sizes(8), "fail queue_size"],
      [sizes(8, 4, 4), "fail queue_size after a reset"],
    ],
    "pci.common.notifies-elsewhere": [[fn({}, known), "pass"], [
      fn({}, { known: { queue: 0, queues: [0] } }),
      "skip the device has one queue",
    ]],
    "pci.isr.queue": [
      [isr(1, 0), "pass"],
      [isr(0, 1, 0), "pass"],
      [isr(3, 0), "fail ISR"],
      [isr(0, 0), "fail ISR"],
      [isr(1, 1), "fail ISR once it was read"],
      [{ ...isr(1, 0), take: () => undefined }, "fail answer"],
    ],
    "pci.isr.status-register": [
      [status(0x18, 0x10), "pass"],
      [status(0x10), "fail Interrupt Status"],
      [status(8), "fail Interrupt Status once the ISR was read"],
    ],
    "pci.isr.nothing": [[nothing(0x10, 0), "pass"], [nothing(0x18, 0), "fail Interrupt Status"], [
      nothing(0, 1),
      "fail ISR after DRIVER_OK",
    ]],
    "pci.msix.size": [
      [table(1, 0x101, 0x120), "pass"],
      [table(1, 0x101, 0x11f), "fail end of the table"],
      [table(0, 1, 0x100), "fail vectors"],
      [table(0xffff, 1, 0x8000), "pass"],
      [table(1, 2, 0x100), "fail end of the table"],
      [table(1, 1, 0x100, 0), "skip the function has no MSI-X"],
    ],
    "pci.msix.any-vector": [
      [vectors(0x8003, noVector(4)), "pass"],
      [vectors(3, noVector(3)), "fail config_msix_vector"],
      [
        vectors(3, (name, value) => name === "queue_msix_vector" ? 0xffff : value),
        "fail queue_msix_vector",
      ],
    ],
    "pci.msix.unmapped": [
      [vectors(3, noVector(4)), "pass"],
      [vectors(3, () => 0), "fail config_msix_vector"],
    ],
    "pci.msix.hostile.no-such-vector": [
      [vectors(3, noVector(4)), "pass"],
      [vectors(3, noVector(5)), "fail config_msix_vector"],
    ],
    "pci.msix.reset": [
      [vectors(3, () => 0xffff), "pass"],
      [vectors(3, (_, value) => value), "fail config_msix_vector"],
    ],
  });
});

Deno.test("checks: queues by their registers, and reset ones", async () => {
  const sizes = (...values: readonly number[]): Script => ({
    queueCount: () => values.length,
    device: { sizeMax: turns(...values, 0) },
  });
  const none = (...values: readonly number[]): Script => {
    const selected: number[] = [];
    const device = { select: (queue: number) => selected.push(queue), sizeMax: turns(...values) };
    return { queueCount: () => 2, device };
  };
  const known = {
    known: { queue: 1, queues: [0, 1], readable: [], writable: [], receives: undefined },
  };
  const enabled = (...values: readonly number[]): Script => ({
    ...known,
    device: { enabled: turns(...values) },
  });
  const reset = (values: readonly number[], more: Script = {}, device: Script = {}): Script => ({
    ...known,
    until: (done: () => boolean) => done(),
    ...more,
    device: { queueReset: turns(...values), ...device },
  });
  const ring = (used: number): Script => ({
    ring: () => ({ add: () => 0, usedCount: () => used }),
  });
  const one = { known: { queue: 0, queues: [0] } };
  await verdicts({
    "queue.max-size": [
      [sizes(1, 32768), "pass"],
      [sizes(), "fail queues"],
      [sizes(8, 65536), "fail largest size of queue 1"],
      [sizes(0, 8), "fail largest size of queue 0"],
      [sizes(24), "fail largest size of queue 0"],
    ],
    "queue.none": [[none(0), "pass"], [none(0, 0, 0, 0, 1), "fail largest size of queue 65535"], [
      none(1),
      "fail largest size of queue 66",
    ]],
    "queue.starts": [[enabled(0, 1), "pass"], [enabled(1), "fail before"], [
      enabled(0),
      "fail after",
    ]],
    "queue.reset-stops-all": [[enabled(0), "pass"], [enabled(0, 1), "fail queue 1"]],
    "queue.unused-not-started": [
      [known, "pass"],
      [
        { known: { queue: 1, receives: true } },
        "skip what is sent comes back, and must be received",
      ],
    ],
    "queue-reset.clear": [[reset([0]), "pass"], [reset([1]), "fail after a device reset"], [
      reset([0, 1]),
      "fail after the queue started",
    ]],
    "queue-reset.completes": [
      [reset([0], {}, { enabled: () => 0 }), "pass"],
      [reset([0], {}, { enabled: () => 1 }), "fail queue runs"],
      [reset([1], {}, { enabled: () => 0 }), "fail reset register"],
    ],
    "queue-reset.stops": [
      [reset([0], ring(0), { causes: turns(1, 2) }), "pass"],
      [reset([0], ring(1), { causes: () => 0 }), "fail buffers used"],
      [reset([0], ring(0), { causes: () => 3 }), "fail causes of interrupts"],
    ],
    "queue-reset.again": [
      [reset([0], { setUp: () => ({ usedCount: () => 1 }) }, { enabled: () => 1 }), "pass"],
      [
        reset([0], { setUp: () => ({ usedCount: () => 4 }) }, { enabled: () => 1 }),
        "fail buffers used in the new ring",
      ],
      [
        reset([0], { setUp: () => ({ usedCount: () => 1 }) }, { enabled: () => 0 }),
        "fail queue runs",
      ],
    ],
    "queue-reset.others-go-on": [[reset([0]), "pass"], [one, "skip the device has one queue"]],
    "queue.hostile.no-such-started": [[enabled(0), "pass"], [
      enabled(1),
      "fail a queue that is none runs",
    ]],
    "queue.hostile.notify-storm": [[{ ...known, ...ring(0), device: {} }, "pass"], [
      { ...known, ...ring(1), device: {} },
      "fail buffers used",
    ]],
    "queue.hostile.read-only-buffers": [
      [known, "skip the request has no device-writable part"],
    ],
    "queue.hostile.all-writable": [
      [known, "skip the request has no device-readable part"],
    ],
  });
});

Deno.test("checks: the zones of a disk, and the flags of a packed ring's used descriptor", async () => {
  const zoned = (
    numbers: Readonly<Record<number, number>>,
    accepted: readonly number[] = [],
  ): Script => ({
    device: config({ 92: 1, ...numbers }),
    offered: () => new Set([17]),
    accepted: new Set(accepted),
  });
  /** A disk of a model whose status reads so once FEATURES_OK was written without ZONED. */
  const refusing = (model: number, status: number): Script => ({
    ...zoned({}),
    plain: () => new Set([17, 32]),
    accept: (bits: Set<number>) => assertEquals([...bits], [32]),
    device: { ...config({ 92: model }), status: () => status },
  });
  const none = "skip the disk keeps its zones to itself";
  const both = [1, 2];
  await verdicts({
    "blk.zoned.refused-without": [
      [refusing(1, 3), "pass"],
      [refusing(1, 11), "fail FEATURES_OK"],
      [refusing(2, 3), "skip the disk is not host-managed"],
    ],
    "blk.zoned.limits": [
      [zoned({ 76: 2, 80: 2 }), "pass"],
      [zoned({ 76: 3, 80: 2 }), "fail max_open_zones"],
      [zoned({ 76: 3, 80: 0 }), "skip any number of zones may be active"],
      [zoned({ 92: 0 }), none],
    ],
    "blk.zoned.append-limit": [
      [zoned({ 84: 8, 72: 8 }), "pass"],
      [zoned({ 84: 9, 72: 8 }), "fail max_append_sectors"],
      [zoned({ 84: 8, 72: 8, 12: 4, 8: 1024 }, both), "pass"],
      [zoned({ 84: 8, 72: 8, 12: 4, 8: 1023 }, both), "fail bytes of an append"],
      // With either limit alone there is none.
      [zoned({ 84: 8, 72: 8 }, [1]), "pass"],
      [zoned({ 84: 8, 72: 8 }, [2]), "pass"],
      [zoned({ 92: 0 }), none],
    ],
  });
  const packed = (flags: number, writable = [1]): Script => ({
    known: { writable, queue: 0 },
    packed: () => ({ parts: { desc: 4096 } }),
    arena: { get16: (at: number) => at === 4110 ? flags : 0 },
  });
  await verdicts({
    "packed.write-flag": [
      [packed(2), "pass"],
      [packed(0x8082), "pass"],
      [packed(0x8081), "fail WRITE of the used descriptor"],
      [packed(2, []), "skip the request has no device-writable part"],
    ],
  });
});

Deno.test("checks: those that make the known request say so, and are not made on types without one", async () => {
  const wrong: string[] = [];
  for (const check of CHECKS) {
    let uses = false;
    const use = (): never => {
      uses = true;
      throw new CheckSkip("no request is known");
    };
    const context = {
      get known(): never {
        return use();
      },
      ...Object.fromEntries(
        ["segments", "cleanRequest", "exactRequest"].map((name) => [name, use]),
      ),
      ...{ equal: () => {}, expect: () => {}, skip: () => {} },
    };
    // Only as far as it comes without answers.
    const made = async (): Promise<void> => await check.run(scriptedOver(context) as CheckContext);
    await made().catch(() => {});
    if (uses && check.request !== true && !check.scope?.devices) wrong.push(check.id);
  }
  assertEquals(wrong, []);
});

/** An object whose members that are left out do nothing, and whose getters stay. */
function scriptedOver(script: object): unknown {
  return new Proxy(script, {
    get(target, name) {
      if (name in target) return Reflect.get(target, name);
      return typeof name === "symbol" || name === "then" ? undefined : anything;
    },
  });
}

/** Something that may be called, read, and counted as 0. */
const anything: unknown = new Proxy(() => 0, {
  get: (_, name) =>
    name === Symbol.toPrimitive
      ? () => 0
      : typeof name === "symbol" || name === "then"
      ? undefined
      : anything,
  apply: () => anything,
});

Deno.test("checks: a bit that was not offered is not in driver_feature once FEATURES_OK stays", async () => {
  const kept = (status: number, word: number, bus = "pci"): Script => ({
    offered: () => new Set(),
    plain: (bits: Iterable<number> = []) => new Set(bits),
    device: { bus, status: () => status },
    pci: { get: () => word },
  });
  await verdicts({
    "features.hostile.foreign.sr-iov": [
      [kept(0xb, 0), "pass"],
      // Bit 37 is the sixth of its word.
      [kept(0xb, 1 << 5), "fail bit 37 of driver_feature after FEATURES_OK"],
      [kept(0xb, ~(1 << 5)), "pass"],
      [kept(0x3, 1 << 5), "pass"],
      [kept(0xb, 1 << 5, "mmio"), "pass"],
    ],
    "features.hostile.foreign.bit-64": [[kept(0xb, ~0), "pass"]],
  });
});
