/**
 * The device models as the fuzzer knows them: how to make one, its requests, and the acts of its host.
 *
 * @module
 */
import {
  BalloonDevice,
  BlkDevice,
  CaifDevice,
  ConsoleDevice,
  CryptoDevice,
  GpuDevice,
  InputDevice,
  loopbackPort,
  MemoryDisk,
  MemoryTree,
  NetDevice,
  nullPort,
  P9Device,
  RngDevice,
  RpmsgDevice,
  RprocSerialDevice,
  ScsiDevice,
  VsockDevice,
} from "@vireo/emu";
import type { DeviceModel } from "@vireo/emu";

/** A field of a request: its width in bytes, and values that mean something; others are made up now and then. */
export type FuzzField = readonly [width: 1 | 2 | 4 | 8, ...values: number[]];

/** The form of a request. */
export interface FuzzForm {
  /** The queue that it is for. */
  readonly queue: number;
  /** Its fields. */
  readonly fields: readonly FuzzField[];
  /** Most bytes that follow them. */
  readonly more?: number;
  /** Bytes that the device may write, usually. */
  readonly room?: number;
}

/** A device model as the fuzzer has it. */
export interface FuzzSubject {
  /** Name of the model. */
  readonly name: string;
  /** Makes one. */
  readonly make: () => DeviceModel;
  /** Forms of its requests. */
  readonly forms: readonly FuzzForm[];
  /** Which of them, with its first values, a sound device must serve by itself. */
  readonly alive: number;
  /** Whether it has split rings only. */
  readonly splitOnly?: boolean;
  /** Acts that its host may do at any time. */
  readonly host?: readonly ((model: never) => void)[];
}

const MEMORY = 0x4000_0000;
/** Addresses in guest memory that buffers lie at. */
const ADDRESS: FuzzField = [8, MEMORY + 0x200000, MEMORY + 0x201000, MEMORY + 0x3ff000, 0];
const SMALL: FuzzField = [4, 0, 1, 2, 3, 7, 8, 16, 64, 255, 4096];
const ZERO: FuzzField = [8, 0];
const LUN: readonly FuzzField[] = [[1, 1], [1, 0, 3, 9], [1, 0x40, 0], [1, 0, 5], [4, 0]];

/** A backend that takes all frames. */
const wire = { accepts: 0, connect() {}, send() {}, flush() {} };

function p9(type: number, ...fields: FuzzField[]): FuzzForm {
  return {
    queue: 0,
    fields: [[4, 7, 23, 40, 64], [1, type], [2, 1], ...fields],
    more: 40,
    room: 8192,
  };
}

const gpu = (type: number, ...fields: FuzzField[]): FuzzForm => ({
  queue: type >= 0x300 ? 1 : 0,
  fields: [[4, type], [4, 0, 1], ZERO, ZERO, ...fields],
  more: 64,
  room: 1100,
});
const ID: FuzzField = [4, 0, 1, 2, 3];
const SIDE: FuzzField = [4, 0, 1, 16, 64, 640, 16384];
const RECTANGLE: readonly FuzzField[] = [SIDE, SIDE, SIDE, SIDE];

/** A field of one byte for each of some, which most programs leave as they are. */
const exactly = (bytes: readonly number[]): FuzzField[] =>
  bytes.map((byte): FuzzField => [1, byte]);

const ZONE_SECTORS = 64;
/** A request of a zoned disk (virtio 1.4 §5.2.6): a zone's first sector, one within, and one behind the end. */
const zone = (types: readonly number[], more: number, room: number): FuzzForm => ({
  queue: 0,
  fields: [[4, ...types], [4, 0], [8, ZONE_SECTORS, 2 * ZONE_SECTORS, ZONE_SECTORS + 1, 1 << 20]],
  more,
  room,
});

/** RSS or a hash (virtio 1.4 §5.1.9.5.7): types, what is between, and the key. */
const steering = (command: number, ...between: FuzzField[]): FuzzForm => ({
  queue: 4,
  fields: [
    ...[[1, 4], [1, command], [4, 0x3f, 0x1ff, 0]] as FuzzField[],
    ...between,
    ...[[1, 40, 41, 0], [8, 0x6d5a56da]] as FuzzField[],
  ],
  more: 32,
  room: 1,
});

/** The words of a chain's session (virtio 1.4 §5.9): order, mode, cipher, hash and lengths. */
const CHAIN_SESSION: readonly FuzzField[] = [
  ...[[4, 1, 2, 3], [4, 2, 1, 3], [4, 3, 1], [4, 16, 99], [4, 1, 2], [4, 0]] as FuzzField[],
  ...[[4, 4, 2], [4, 32, 12, 99], [4, 20, 0, 99], [4, 0], [4, 0, 5], [4, 0]] as FuzzField[],
];
/** The words of a chain's request: lengths of IV, source and result, what is ciphered and hashed, and the digest. */
const CHAIN_REQUEST: readonly FuzzField[] = [
  ...[[4, 16, 0], [4, 96, 64], [4, 96, 100], [4, 32, 0], [4, 48, 96, 7]] as FuzzField[],
  ...[[4, 16, 0], [4, 75, 96], [4, 0, 5], [4, 32, 12], [4, 0]] as FuzzField[],
];
/** P-192's first private key of RFC 6979 §A.2.3, as an `ECPrivateKey`. */
const EC_KEY: readonly number[] = [
  ...[0x30, 0x1d, 0x02, 0x01, 0x01, 0x04, 0x18],
  ...[0x6f, 0xab, 0x03, 0x49, 0x34, 0xe4, 0xc0, 0xfc, 0x9a, 0xe6, 0x7f, 0x5b],
  ...[0x56, 0x59, 0xa9, 0xd7, 0xd1, 0xfe, 0xfd, 0x18, 0x7e, 0xe0, 0x9f, 0xd4],
];

/** The words of an ECDSA key: algorithm, type, length, curve. */
const EC_WORDS: readonly FuzzField[] = [[4, 2], [4, 2, 1], [4, 31, 49], [4, 1, 2, 99], [4, 0]];

/** A CDB of a scsi request, whose first byte is the operation. */
const cdb = (
  length: 10 | 12 | 16,
  operations: readonly number[],
  flags: readonly number[],
): FuzzForm => {
  const wide = length === 16 ? 8 : 4;
  // The numbers of a CDB are big-endian: the last byte of each is what counts in a small one.
  const number = (width: number, ...values: number[]): FuzzField[] => [
    ...Array.from({ length: width - 1 }, (): FuzzField => [1, 0]),
    [1, ...values],
  ];
  const counted = length === 10 ? [...exactly([0]), ...number(2, 1, 8, 200)] : number(4, 1, 8, 200);
  const fields: FuzzField[] = [
    [1, ...operations],
    [1, ...flags],
    ...number(wide, 0, 1, 200),
    ...counted,
  ];
  return {
    queue: 2,
    fields: [
      ...LUN,
      ...[[8, 1, 2], [2, 0], [1, 0]] as FuzzField[],
      ...fields,
      ...Array.from({ length: 32 - fields.length }, (): FuzzField => [1, 0]),
    ],
    more: 4096,
    room: 108,
  };
};

/** The models. */
export const SUBJECTS: readonly FuzzSubject[] = [
  {
    name: "balloon",
    alive: 1,
    make: () => new BalloonDevice(),
    forms: [
      { queue: 0, fields: [[4, MEMORY / 4096 + 512, MEMORY / 4096 + 513, 1]], more: 64 },
      { queue: 1, fields: [[4, MEMORY / 4096 + 512, 1]], more: 64 },
      { queue: 2, fields: [[2, 0, 1, 4, 99], ZERO], more: 60 },
      { queue: 3, fields: [[4, 0, 1, 2, 3]] },
      { queue: 3, fields: [], room: 65536 },
      { queue: 4, fields: [], room: 65536 },
    ],
    host: [
      (model: BalloonDevice) => void (model.target += 3),
      (model: BalloonDevice) => model.startHinting(),
      (model: BalloonDevice) => model.finishHinting(),
      (model: BalloonDevice) => void model.refresh(),
    ],
  },
  {
    name: "blk",
    alive: 2,
    make: () => new BlkDevice({ disk: new MemoryDisk(1 << 20) }),
    forms: [
      { queue: 0, fields: [[4, 0], [4, 0], [8, 0, 1, 2047, 2048]], room: 513 },
      { queue: 0, fields: [[4, 1], [4, 0], [8, 0, 1, 2047, 2048]], more: 1024, room: 1 },
      { queue: 0, fields: [[4, 4, 8, 10, 99], [4, 0], ZERO], room: 21 },
      {
        queue: 0,
        fields: [[4, 11, 13, 14], [4, 0], ZERO, [8, 0, 8, 2047], [4, 1, 8, 32768], [4, 0, 1]],
        more: 32,
        room: 1,
      },
    ],
    host: [(model: BlkDevice) => model.resize(model.capacity === 2048 ? 1024 : 2048)],
  },
  {
    name: "blk-zoned",
    alive: 0,
    make: () =>
      new BlkDevice({
        disk: new MemoryDisk(40 * ZONE_SECTORS * 512),
        zoned: {
          ...{ zoneSectors: ZONE_SECTORS, zoneCapacity: 48, conventional: 1 },
          ...{ maxOpen: 3, maxActive: 5, maxAppendSectors: 16 },
        },
      }),
    forms: [
      { queue: 0, fields: [[4, 0], [4, 0], [8, 0, 1, 64, 2559]], room: 513 },
      zone([1], 1024, 1),
      zone([15], 1024, 9),
      zone([16], 0, 64 + 64 * 4 + 1),
      zone([18, 20, 22, 24, 26], 0, 1),
    ],
  },
  {
    name: "caif",
    splitOnly: true,
    alive: 0,
    make: () => new CaifDevice({ buffers: 4, onFrame: (frame) => frame[0] !== 7 }),
    forms: [{ queue: 0, fields: [ZERO, ZERO, ZERO, ZERO, [1, 0, 7]], more: 200 }],
    host: [
      (model: CaifDevice) => void model.send(new Uint8Array(40)),
      (model: CaifDevice) => model.resume(),
    ],
  },
  {
    name: "console",
    alive: 3,
    make: () =>
      new ConsoleDevice({
        ports: [{ backend: loopbackPort(), console: true }, { backend: loopbackPort(), name: "p" }],
        size: { cols: 80, rows: 25 },
      }),
    forms: [
      { queue: 0, fields: [], room: 64 },
      { queue: 1, fields: [[4, 65]], more: 200 },
      { queue: 2, fields: [], room: 64 },
      { queue: 3, fields: [[4, 0, 1, 2], [2, 0, 3, 6, 9], [2, 0, 1]] },
      { queue: 4, fields: [], room: 64 },
      { queue: 5, fields: [[4, 65]], more: 200 },
    ],
    host: [
      (model: ConsoleDevice) => model.resize(90, 30),
      (model: ConsoleDevice) => model.ports.get(1)?.closeHost(),
      (model: ConsoleDevice) => model.ports.get(1)?.openHost(),
    ],
  },
  {
    name: "crypto",
    alive: 1,
    make: () => new CryptoDevice({ maxSessions: 4 }),
    forms: [
      {
        queue: 1,
        fields: [
          [4, 2, 0x102, 0x202, 0x302, 0x404],
          [4, 1, 4],
          ZERO,
          [4, 1, 4],
          [4, 16, 32, 99],
          [4, 1, 2, 16],
          [4, 0, 16, 99],
          [4, 0, 1],
          ZERO,
          ZERO,
          ZERO,
          ZERO,
          [4, 1, 2],
          [4, 0],
        ],
        more: 64,
        room: 16,
      },
      { queue: 1, fields: [[4, 3, 0x103, 0x405], [4, 0], ZERO, [8, 1, 2, 3]], room: 1 },
      {
        queue: 0,
        fields: [
          [4, 0, 1, 0x100, 0x200, 0x300, 0x301, 0x400, 0x403],
          [4, 1, 4],
          [8, 1, 2, 3],
          [4, 0, 1],
          [4, 0],
          [4, 16, 12, 1],
          [4, 16, 0, 32],
          [4, 16, 32],
          [4, 0, 16],
          [4, 0, 16],
          [4, 0],
          ZERO,
          ZERO,
          [4, 1],
          [4, 0],
        ],
        more: 96,
        room: 80,
      },
      // A chain of a cipher and a hash or MAC: its session, and requests.
      {
        queue: 1,
        fields: [[4, 2], [4, 3], ZERO, ...CHAIN_SESSION, [4, 2], [4, 0]],
        more: 36,
        room: 16,
      },
      {
        queue: 0,
        fields: [[4, 0, 1], [4, 3], [8, 1, 2, 3], [4, 1], [4, 0], ...CHAIN_REQUEST, [4, 2], [4, 0]],
        more: 117,
        room: 129,
      },
      // ECDSA: a session, and signatures with and without one.
      {
        queue: 1,
        fields: [
          ...[[4, 0x404], [4, 2], ZERO, ...EC_WORDS] as FuzzField[],
          ...Array.from({ length: 9 }, (): FuzzField => [4, 0]),
          ...exactly(EC_KEY),
        ],
        room: 16,
      },
      {
        queue: 0,
        fields: [[4, 0x402, 0x403], [4, 2], [8, 1, 2, 3], [4, 1], [4, 0], [4, 24, 70], [4, 64, 24]],
        more: 94,
        room: 65,
      },
      {
        queue: 0,
        fields: [
          ...[[4, 0x402, 0x403], [4, 2], ZERO, [4, 0], [4, 0]] as FuzzField[],
          ...[...EC_WORDS, [4, 24], [4, 64], ...exactly(EC_KEY)] as FuzzField[],
        ],
        more: 24,
        room: 65,
      },
    ],
    host: [(model: CryptoDevice) => model.setReady(true)],
  },
  {
    name: "gpu",
    alive: 0,
    make: () =>
      new GpuDevice({
        memory: 4 << 20,
        blob: true,
        displays: [{ width: 640, height: 480 }, { width: 64, height: 64 }],
      }),
    forms: [
      gpu(0x100),
      gpu(0x10a, ID),
      gpu(0x101, ID, [4, 1, 2, 67, 99], SIDE, SIDE),
      gpu(0x102, ID, [4, 0]),
      gpu(0x103, ...RECTANGLE, ID, ID),
      gpu(0x104, ...RECTANGLE, ID, [4, 0]),
      gpu(0x105, ...RECTANGLE, ZERO, ID, [4, 0]),
      gpu(0x106, ID, [4, 0, 1, 2], ADDRESS, SMALL, [4, 0], ADDRESS, [4, 0, 65536], [4, 0]),
      gpu(0x107, ID, [4, 0]),
      gpu(0x10c, ID, [4, 1, 2], [4, 1], [4, 1], ZERO, [8, 64, 16384], ADDRESS, [4, 65536], [4, 0]),
      gpu(0x10d, ...RECTANGLE, ID, ID, SIDE, SIDE, [4, 1], [4, 0], [4, 64, 256], ZERO, ZERO, ZERO),
      gpu(0x300, ID, SMALL, SMALL, [4, 0], ID),
      gpu(0x301, ID, SMALL, SMALL, [4, 0], ID),
    ],
    host: [
      (model: GpuDevice) => model.resize(0, 320, 200),
      (model: GpuDevice) => void model.screen(1),
    ],
  },
  {
    name: "input",
    alive: 1,
    make: () => new InputDevice({ name: "keys", codes: { 1: [1, 2] } }),
    forms: [
      { queue: 0, fields: [], room: 8 },
      { queue: 1, fields: [[2, 17], [2, 0, 1], SMALL] },
    ],
    host: [(model: InputDevice) => model.tap(1)],
  },
  {
    name: "net",
    alive: 1,
    make: () => new NetDevice({ backend: wire as never }),
    forms: [
      { queue: 0, fields: [], room: 1600 },
      {
        queue: 1,
        fields: [[1, 0, 1], [1, 0, 1, 4], [2, 0, 54], [2, 0, 1, 1000], [2, 0, 34], [2, 0, 16], [
          2,
          0,
        ]],
        more: 400,
      },
      { queue: 2, fields: [[1, 0, 1, 2, 3, 4, 5], [1, 0, 1, 2], SMALL], more: 40, room: 1 },
      // Coalescing: VQ_GET, VQ_SET and the others, for queues that are there or not.
      {
        queue: 2,
        fields: [[1, 6], [1, 3, 2, 1, 0], [2, 0, 1, 2, 3], [2, 0], [4, 0, 1, 1000], [4, 0, 1]],
        room: 9,
      },
    ],
    host: [(model: NetDevice) => model.setLink(!model.linkUp)],
  },
  {
    name: "net-mq",
    alive: 1,
    make: () => new NetDevice({ backend: wire as never, queuePairs: 2, hashReport: true }),
    forms: [
      { queue: 0, fields: [], room: 1600 },
      { queue: 1, fields: [ZERO, ZERO, [4, 0]], more: 400 },
      { queue: 3, fields: [ZERO, ZERO, [4, 0]], more: 400 },
      { queue: 4, fields: [[1, 4], [1, 0], [2, 2, 1, 0, 3]], room: 1 },
      steering(1, [2, 1, 0, 2], [2, 0, 1, 2], [2, 0, 1, 9], [2, 1, 0, 9], [2, 2, 1, 0, 3]),
      steering(2, ZERO),
      { queue: 4, fields: [[1, 6], [1, 0, 1], [4, 0, 1, 1000], [4, 0, 1, 1000]], room: 1 },
    ],
    host: [(model: NetDevice) => model.setLink(!model.linkUp)],
  },
  {
    name: "9p",
    alive: 0,
    make: () =>
      new P9Device({
        tree: new MemoryTree({ "a/b": "text", "c": "d" }, { capacity: 1 << 20 }),
        messageSize: 8192,
      }),
    forms: [
      {
        queue: 0,
        fields: [[4, 21], [1, 100], [2, 1], [4, 8192], [2, 8], [8, 0x302e3030303250], [1, 0]],
        room: 64,
      },
      p9(100, [4, 4096, 8192], [2, 8], [4, 0x30325039], [4, 0x4c2e3030]),
      p9(104, ID, [4, 0xffffffff], [2, 0], [2, 0], [4, 0]),
      p9(110, ID, ID, [2, 0, 1, 2], [2, 1], [1, 97, 99], [2, 1], [1, 98]),
      p9(12, ID, [4, 0, 1, 2]),
      p9(14, ID, [2, 1], [1, 97, 101], [4, 0, 2], [4, 0o644], [4, 0]),
      p9(116, ID, [8, 0, 3], [4, 4, 4096]),
      p9(118, ID, [8, 0, 3, 2 ** 40], [4, 4, 17]),
      p9(40, ID, [8, 0, 1, 2], [4, 64, 4096]),
      p9(72, ID, [2, 1], [1, 97, 102], [4, 0o755], [4, 0]),
      p9(74, ID, [2, 1], [1, 97, 101], ID, [2, 1], [1, 98, 103]),
      p9(76, ID, [2, 1], [1, 97, 101], [4, 0, 0x200]),
      p9(24, ID, [8, 0x7ff]),
      p9(26, ID, [4, 0, 8, 0x1ff], [4, 0o600], ZERO, [8, 0, 100, 2 ** 40], ZERO, ZERO, ZERO, ZERO),
      p9(18, ID, [2, 1], [1, 97, 104], [4, 0o100644, 0o10644, 0o60644], [4, 8], [4, 1], [4, 0]),
      p9(70, ID, ID, [2, 1], [1, 97, 105]),
      p9(30, ID, ID, [2, 0, 1], [1, 97]),
      p9(32, ID, [2, 1], [1, 97], [8, 0, 4, 2 ** 40], [4, 0, 1, 2]),
      p9(52, ID, [1, 0, 1, 2], [4, 0, 1], [8, 0, 3], [8, 0, 5], [4, 1, 2], [2, 1], [1, 97]),
      p9(54, ID, [1, 0, 1], [8, 0, 3], [8, 0, 5], [4, 1, 2], [2, 1], [1, 97]),
      p9(120, ID),
      p9(122, ID),
    ],
  },
  {
    name: "rng",
    alive: 0,
    make: () => new RngDevice({ random: (into) => void into.fill(1) }),
    forms: [{ queue: 0, fields: [], room: 64 }],
  },
  {
    name: "rpmsg",
    alive: 1,
    make: () =>
      new RpmsgDevice({
        services: [{ name: "echo", address: 1024, handle: (_, bytes, reply) => reply(bytes) }],
      }),
    forms: [
      { queue: 0, fields: [], room: 512 },
      { queue: 1, fields: [[4, 77, 1], [4, 1024, 53, 9], [4, 0], [2, 0, 4, 40], [2, 0]], more: 64 },
    ],
  },
  {
    name: "rproc-serial",
    alive: 1,
    make: () => new RprocSerialDevice(nullPort()),
    forms: [
      { queue: 0, fields: [], room: 64 },
      { queue: 1, fields: [[4, 65]], more: 200 },
    ],
  },
  {
    name: "scsi",
    alive: 0,
    make: () =>
      new ScsiDevice({
        units: [
          { target: 0, disk: new MemoryDisk(1 << 20) },
          { target: 3, disk: new MemoryDisk(64 * 2048), kind: "cdrom" },
        ],
      }),
    forms: [
      {
        queue: 2,
        fields: [
          ...LUN,
          [8, 1, 2],
          [2, 0],
          [1, 0],
          [1, 0, 3, 0x12, 0x1a, 0x25, 0x28, 0x2a, 0x35, 0x42, 0x88, 0x8a, 0x9e, 0xa0],
          [1, 0, 1, 16],
          [1, 0, 0x80, 0xb0],
          [1, 0],
          [1, 0, 36, 255],
          [1, 0],
          [1, 0],
          [1, 0, 1],
          [1, 0, 1, 8, 24],
          [1, 0],
          ...Array.from({ length: 22 }, (): FuzzField => [1, 0]),
        ],
        more: 600,
        room: 700,
      },
      { queue: 0, fields: [[4, 0, 1], [4, 0, 1, 2, 4, 5, 6, 7], ...LUN, [8, 1, 2]], room: 5 },
      { queue: 1, fields: [], room: 16 },
      cdb(10, [0x41], [0, 8, 1]),
      cdb(16, [0x93], [0, 8, 1]),
      cdb(12, [0xa8, 0xaa], [0]),
      cdb(10, [0x5a], [0, 8]),
    ],
    host: [
      (model: ScsiDevice) => model.resize(3, 0, 32 * 2048),
      (model: ScsiDevice) => {
        model.unplug(0);
        model.plug({ target: 0, disk: new MemoryDisk(1 << 20) });
      },
    ],
  },
  {
    name: "vsock",
    alive: 1,
    make: () =>
      new VsockDevice({
        host: { connect: (port) => port === 7 ? loopbackPort() : undefined },
        maxConnections: 8,
      }),
    forms: [
      { queue: 0, fields: [], room: 4096 },
      {
        queue: 1,
        fields: [
          [8, 3],
          [8, 2],
          [4, 1, 2, 3, 4],
          [4, 7, 8],
          [4, 0, 1, 16],
          [2, 1, 2, 3],
          [2, 1, 2, 3, 4, 5, 6, 7, 9],
          [4, 0, 1, 2, 3],
          [4, 0, 1, 65536, 0xffffffff],
          [4, 0, 16, 0xffffffff],
        ],
        more: 32,
      },
      { queue: 2, fields: [], room: 4 },
    ],
    host: [(model: VsockDevice) => model.resetTransport()],
  },
];
