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
import { mutantBench } from "./mutant_machine.ts";

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

interface Row {
  readonly name: string;
  readonly model: () => DeviceModel;
  readonly bus?: "mmio" | "pci";
  readonly options?: Omit<MachineDevice, "model">;
  /** Milliseconds in which a device may answer; it answers at once, or never. */
  readonly deadline?: number;
  /** How many checks pass, fail, and are not made. */
  readonly counts: readonly [pass: number, fail: number, skip: number];
}

const packed = { ring: { packed: true } };
const sound: readonly Row[] = [
  { name: "a disk", model: () => disk(false), counts: [294, 0, 88] },
  {
    name: "a disk with packed rings",
    model: () => disk(false),
    options: packed,
    counts: [337, 0, 45],
  },
  { name: "a disk on PCI", model: () => disk(false), bus: "pci", counts: [295, 0, 94] },
  {
    name: "a network device",
    model: () => new NetDevice({ backend: new Hub().port(), mac: "52:54:00:00:00:01" }),
    counts: [319, 0, 85],
  },
  {
    name: "a console",
    model: () => new ConsoleDevice({ ports: [{ id: 0, backend: loopbackPort() }] }),
    counts: [235, 0, 66],
  },
  {
    name: "an entropy device",
    model: () => new RngDevice({ random: (into) => crypto.getRandomValues(into) }),
    counts: [237, 0, 56],
  },
  { name: "a balloon", model: () => new BalloonDevice(), counts: [248, 0, 54] },
  {
    name: "a SCSI host",
    model: () =>
      new ScsiDevice({ units: [{ target: 0, kind: "disk", disk: new MemoryDisk(1 << 20) }] }),
    counts: [263, 0, 51],
  },
  {
    name: "a folder",
    model: () => new P9Device({ tree: new MemoryTree(), tag: "x" }),
    counts: [250, 0, 53],
  },
  { name: "a display", model: () => new GpuDevice(), counts: [264, 0, 58] },
  {
    name: "a keyboard",
    model: () => new InputDevice(INPUT_PRESETS.keyboard),
    counts: [252, 0, 54],
  },
  {
    name: "a socket device",
    model: () => new VsockDevice({ host: { connect: () => undefined } }),
    counts: [248, 0, 54],
  },
  { name: "a crypto device", model: () => new CryptoDevice(), counts: [284, 0, 51] },
];

const broken: readonly Row[] = [
  { name: "a disk that fails", model: () => disk(true), counts: [56, 238, 88] },
  {
    name: "a disk with packed rings that fails",
    model: () => disk(true),
    options: packed,
    counts: [60, 277, 45],
  },
  { name: "a disk on PCI that fails", model: () => disk(true), bus: "pci", counts: [76, 219, 94] },
  { name: "a silent disk", model: () => silent(disk(false)), deadline: 3, counts: [48, 246, 88] },
];

for (
  const { name, model, bus = "mmio", options, deadline = 2000, counts } of [...sound, ...broken]
) {
  Deno.test(`check: ${name} passes, fails and skips so many checks`, async () => {
    const results = await runChecks({
      checks: CHECKS,
      open: () => Promise.resolve(mutantBench(model(), {}, bus, options)),
      pace: { deadline, quiet: 0 },
    });
    const count = (...verdicts: string[]): number =>
      results.filter(({ verdict }) => verdicts.includes(verdict)).length;
    assertEquals([count("pass"), count("fail", "deviates"), count("skip")], counts);
  });
}
