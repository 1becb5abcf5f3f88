// Devices that are broken as a whole: how many checks of each kind see it, and how many may not be made at all.
import { assertEquals } from "@std/assert";
import {
  BalloonDevice,
  BlkDevice,
  ConsoleDevice,
  CryptoDevice,
  type DeviceModel,
  GpuDevice,
  Hub,
  INPUT_PRESETS,
  InputDevice,
  loopbackPort,
  type MachineDevice,
  MemoryDisk,
  MemoryTree,
  NetDevice,
  P9Device,
  RngDevice,
  ScsiDevice,
  VsockDevice,
} from "@vireo/emu";
import { CHECKS } from "../../firmware/check/checks/table.ts";
import { runChecks } from "../../firmware/check/run_checks.ts";
import { zonedDisk } from "./bench.ts";
import { mutantBench, type Mutation } from "./mutant_machine.ts";

/** A disk of a MiB: whole, or one none of whose requests succeeds. */
function disk(fails: boolean): DeviceModel {
  const memory = new MemoryDisk(1 << 20);
  const fail = (): never => {
    throw new Error("The disk is broken");
  };
  const each = fails ? fail : undefined;
  return new BlkDevice({
    disk: {
      size: memory.size,
      readOnly: false,
      read: each ?? memory.read.bind(memory),
      write: each ?? memory.write.bind(memory),
      flush: each ?? memory.flush.bind(memory),
      zero: each ?? memory.zero.bind(memory),
      resize() {},
      [Symbol.dispose]: () => memory[Symbol.dispose](),
    },
  });
}

/** A device that takes buffers and never returns one. */
function silent(model: DeviceModel): DeviceModel {
  model.notify = () => {};
  return model;
}

type Counts = readonly [pass: number, fail: number, skip: number, written: number];

interface Row {
  readonly name: string;
  readonly model: () => DeviceModel;
  readonly bus?: "mmio" | "pci";
  readonly options?: Omit<MachineDevice, "model">;
  /** Milliseconds in which a device may answer; it answers at once, or never. */
  readonly deadline?: number;
  /** How many checks pass, fail, and are not made, and how many register writes they are. */
  readonly counts: Counts;
  /** How the device lies. */
  readonly lie?: Mutation;
}

const packed = { ring: { packed: true } };
const sound: readonly Row[] = [
  { name: "a disk", model: () => disk(false), counts: [294, 0, 88, 11862] },
  {
    name: "a disk with packed rings",
    model: () => disk(false),
    options: packed,
    counts: [337, 0, 45, 13289],
  },
  { name: "a disk on PCI", model: () => disk(false), bus: "pci", counts: [295, 0, 94, 11649] },
  {
    name: "a network device",
    model: () => new NetDevice({ backend: new Hub().port(), mac: "52:54:00:00:00:01" }),
    counts: [319, 0, 85, 16341],
  },
  {
    name: "a console",
    model: () => new ConsoleDevice({ ports: [{ id: 0, backend: loopbackPort() }] }),
    counts: [235, 0, 66, 12967],
  },
  {
    name: "an entropy device",
    model: () => new RngDevice({ random: (into) => crypto.getRandomValues(into) }),
    counts: [237, 0, 56, 9414],
  },
  { name: "a balloon", model: () => new BalloonDevice(), counts: [248, 0, 54, 13179] },
  {
    name: "a SCSI host",
    model: () =>
      new ScsiDevice({ units: [{ target: 0, kind: "disk", disk: new MemoryDisk(1 << 20) }] }),
    counts: [263, 0, 51, 17310],
  },
  {
    name: "a folder",
    model: () => new P9Device({ tree: new MemoryTree(), tag: "x" }),
    counts: [250, 0, 53, 10025],
  },
  { name: "a display", model: () => new GpuDevice(), counts: [264, 0, 58, 14050] },
  {
    name: "a keyboard",
    model: () => new InputDevice(INPUT_PRESETS.keyboard),
    counts: [252, 0, 54, 13435],
  },
  {
    name: "a socket device",
    model: () => new VsockDevice({ host: { connect: () => undefined } }),
    counts: [248, 0, 54, 16369],
  },
  { name: "a crypto device", model: () => new CryptoDevice(), counts: [284, 0, 51, 14036] },
  {
    name: "a read-only disk",
    model: () =>
      new BlkDevice({ disk: new MemoryDisk(1 << 20, { readOnly: true }), readOnly: true }),
    counts: [289, 0, 93, 11684],
  },
  {
    name: "a disk with four queues",
    model: () => new BlkDevice({ disk: new MemoryDisk(1 << 20), queues: 4 }),
    counts: [296, 0, 86, 11928],
  },
  { name: "a host-managed disk", model: () => zonedDisk(), counts: [313, 0, 69, 12496] },
  { name: "a host-aware disk", model: () => zonedDisk("host-aware"), counts: [299, 0, 83, 11964] },
  {
    name: "a disk of version 1",
    model: () => disk(false),
    options: { version: 1 },
    counts: [203, 0, 12, 4741],
  },
  {
    name: "a disk that sleeps",
    model: () => disk(false),
    options: { ring: { suspend: true } },
    counts: [297, 0, 85, 11961],
  },
  {
    name: "a network device with pairs of queues and hashes",
    model: () =>
      new NetDevice({
        backend: new Hub().port(),
        mac: "52:54:00:00:00:01",
        queuePairs: 2,
        mtu: 1500,
        hashReport: true,
      }),
    counts: [348, 0, 56, 17622],
  },
  {
    name: "a console with ports and an emergency write",
    model: () =>
      new ConsoleDevice({
        ports: [{ id: 0, backend: loopbackPort() }, { id: 1, backend: loopbackPort() }],
        emergency: () => {},
      }),
    counts: [243, 0, 58, 13526],
  },
  {
    name: "a display with blobs",
    model: () => new GpuDevice({ blob: true, blobAlignment: 65536 }),
    counts: [267, 0, 55, 14141],
  },
];

const broken: readonly Row[] = [
  { name: "a disk that fails", model: () => disk(true), counts: [56, 238, 88, 10942] },
  {
    name: "a disk with packed rings that fails",
    model: () => disk(true),
    options: packed,
    counts: [60, 277, 45, 12292],
  },
  {
    name: "a disk on PCI that fails",
    model: () => disk(true),
    bus: "pci",
    counts: [76, 219, 94, 11255],
  },
  {
    name: "a silent disk",
    model: () => silent(disk(false)),
    deadline: 3,
    counts: [48, 246, 88, 10320],
  },
];

/** Every field of the configuration reads another value. */
const config = (seen: (value: number) => number): Mutation => ({
  read: ({ name, width }, value) =>
    name.startsWith("config+") ? seen(value) % 2 ** (8 * width) : value,
});

/** What the device was given to write is all the same byte once it was notified. */
const answers = (byte: number): Mutation => ({
  write({ name }, _value, spy, forward) {
    forward();
    if (name !== "QueueNotify" || spy.size === 0) return;
    for (const at of spy.chain()) {
      const from = spy.buffer(at);
      const end = from + Math.min(spy.get32(at + 8), 4096);
      if ((spy.get16(at + 12) & 2) === 0 || from < 0 || end > spy.memory.length) continue;
      spy.memory.fill(byte, from, end);
    }
  },
});

const LIES: readonly (readonly [how: string, lie: Mutation])[] = [
  ["whose configuration reads 0", config(() => 0)],
  ["whose configuration reads one more", config((value) => value + 1)],
  ["whose answers are zeros", answers(0)],
  ["whose answers are ones", answers(0xff)],
];

/** Sound devices by name, and their counts with each of the lies; undefined where most checks wait for nothing. */
const LIARS: readonly (readonly [name: string, ...counts: readonly (Counts | undefined)[]])[] = [
  ["a disk with four queues", [290, 6, 86, 11888], [290, 6, 86, 11926], [265, 31, 86, 11358], [
    58,
    238,
    86,
    10438,
  ]],
  ["a host-managed disk", [24, 269, 89, 4264], [26, 270, 86, 4318], [268, 22, 92, 11661], [
    62,
    251,
    69,
    10737,
  ]],
  ["a network device with pairs of queues and hashes", [324, 24, 56, 17255], [329, 3, 72, 17150], [
    322,
    26,
    56,
    16948,
  ], [303, 45, 56, 16941]],
  ["a console with ports and an emergency write", [242, 1, 58, 13526], [242, 1, 58, 13526], [
    242,
    1,
    58,
    13526,
  ], [242, 1, 58, 13526]],
  ["a balloon", [247, 1, 54, 13178], [246, 2, 54, 13178], [248, 0, 54, 13179], [248, 0, 54, 13179]],
  ["a SCSI host", [261, 2, 51, 17309], [260, 3, 51, 17310], [260, 3, 51, 17310], [
    53,
    210,
    51,
    15602,
  ]],
  ["a folder", [250, 0, 53, 10025], [250, 0, 53, 10025], [46, 204, 53, 8976], [46, 204, 53, 8976]],
  ["a display with blobs", [265, 2, 55, 14141], [264, 3, 55, 14141], [264, 3, 55, 14113], [
    264,
    3,
    55,
    14113,
  ]],
  ["a keyboard", [250, 2, 54, 13435], [243, 9, 54, 13211], [251, 1, 54, 13435], [
    251,
    1,
    54,
    13435,
  ]],
  ["a socket device", [244, 4, 54, 16369], [243, 5, 54, 16369], [248, 0, 54, 16369], [
    248,
    0,
    54,
    16369,
  ]],
  ["a crypto device", undefined, [37, 3, 295, 6095], [70, 214, 51, 12695], [69, 211, 55, 12660]],
];

const lying: readonly Row[] = LIARS.flatMap(([name, ...counts]) => {
  const row = sound.find((row) => row.name === name)!;
  return LIES.flatMap(([how, lie], i): Row[] => {
    const seen = counts[i];
    return seen === undefined
      ? []
      : [{ ...row, name: `${name} ${how}`, lie, deadline: 100, counts: seen }];
  });
});

for (
  const { name, model, bus = "mmio", options, deadline = 2000, counts, lie } of [
    ...sound,
    ...broken,
    ...lying,
  ]
) {
  Deno.test(`check: ${name} passes, fails and skips so many checks, and is written to as often`, async () => {
    let written = 0;
    const counting: Mutation = {
      read: (access, value, spy) => lie?.read?.(access, value, spy) ?? value,
      write(access, value, spy, forward) {
        written++;
        if (lie?.write === undefined) forward();
        else lie.write(access, value, spy, forward);
      },
    };
    const results = await runChecks({
      checks: CHECKS,
      open: () => Promise.resolve(mutantBench(model(), counting, bus, options)),
      pace: { deadline, quiet: 0 },
    });
    const count = (...verdicts: string[]): number =>
      results.filter(({ verdict }) => verdicts.includes(verdict)).length;
    const seen = [count("pass"), count("fail", "deviates"), count("skip"), written];
    assertEquals(seen, [...counts]);
  });
}
