import {
  BlkFeature,
  type DeviceNode,
  FeatureSet,
  type MmioLease,
  MmioRegister,
  PCI_MODERN_DEVICE_BASE,
  PCI_TRANSITIONAL_DEVICE,
  PCI_VENDOR_VIRTIO,
  type PciLease,
  VireoError,
} from "@vireo/hal";
import { type QtestBoard, QtestPlatform } from "@vireo/hal/qtest";
import { Hub } from "../../emu/backends/hub.ts";
import { MemoryDisk } from "../../emu/backends/memory_disk.ts";
import { nullPort } from "../../emu/backends/stream_port.ts";
import type { DeviceModel } from "../../emu/device.ts";
import { BlkDevice } from "../../emu/devices/blk/mod.ts";
import { ConsoleDevice } from "../../emu/devices/console/mod.ts";
import { NetDevice } from "../../emu/devices/net/mod.ts";
import { RngDevice } from "../../emu/devices/rng/mod.ts";
import { EmulatedMachine } from "../../emu/machine.ts";
import { GuestMemory } from "../../emu/memory.ts";
import { allowedBy, type AllowedDifference, type Difference } from "./differences.ts";
import { DEVICE_IDS, type DeviceName, DISK_SECTORS, SCRATCH_SECTORS } from "./generate.ts";
import { mmioSide, PciSide } from "./sides.ts";
import { ARENA, ARENA_SIZE, Runner, type Side, type Step, type Variant } from "./program.ts";

const MAC = "52:54:00:12:34:56";
const SECTOR = 512;
/** As long as a serial may be: QEMU writes no more bytes of it than it has. */
const SERIAL = "vireo-differential-0";
/** Where QEMU's RAM is, and the emulator's with it. */
const RAM = { base: 0x4000_0000, size: 128 << 20 };
/** Milliseconds that QEMU has to get as far as the emulator: its disk may be slow for seconds. */
const PATIENCE = 8000;
/** The same for a difference that is in the table. */
const SHORT_PATIENCE = 20;
/** Turns of QEMU's event loop that follow each other at once; then one each millisecond, which leaves it the processor. */
const QUICK_TURNS = 16;
/** Milliseconds of its processor's time without an answer after which QEMU hangs, as it does at some bad chains. */
const HANGS = 300;

/** A variant in a word or two. */
export function variantName({ version, bus, packed }: Variant): string {
  const pci = version === 1 ? "legacy PCI" : "PCI";
  return `${bus === "pci" ? pci : `version ${version}`}${packed ? ", packed" : ""}`;
}

/** How a program ended: the same on both, or the first difference. */
interface Outcome {
  /** Steps that ran. */
  readonly steps: number;
  /** The first difference; nothing was compared after it. */
  readonly difference: Difference | undefined;
}

/** One device twice: on the emulator, and on a QEMU board without a guest. */
export class Pair implements AsyncDisposable {
  readonly device: DeviceName;
  readonly variant: Variant;
  /** Bits that only the emulator offers. */
  readonly onlyEmulator: readonly number[];
  /** Bits that only QEMU offers. */
  readonly onlyQemu: readonly number[];
  /** How often differences were seen that end no comparison. */
  readonly harmless: Map<AllowedDifference, number> = new Map();
  readonly #emulator: Runner;
  readonly #qemu: Runner;
  readonly #disks: Disks | undefined;
  readonly #turns: Turns;
  readonly #cleanup: AsyncDisposableStack;
  #lost = false;

  private constructor(
    device: DeviceName,
    variant: Variant,
    sides: readonly [Side, Side],
    disks: Disks | undefined,
    cleanup: AsyncDisposableStack,
  ) {
    this.device = device;
    this.variant = variant;
    this.#disks = disks;
    this.#turns = cleanup.use(new Turns());
    this.#cleanup = cleanup;
    const { version, packed } = variant;
    const words = version === 1 ? [0] : [0, 1];
    const [emulator, qemu] = sides.map((side) =>
      FeatureSet.fromWords(...words.map((word) => {
        side.write(MmioRegister.DeviceFeaturesSel, 4, word);
        return side.read(MmioRegister.DeviceFeatures, 4);
      }))
    ) as [FeatureSet, FeatureSet];
    this.onlyEmulator = [...emulator.minus(qemu)];
    this.onlyQemu = [...qemu.minus(emulator)];
    const both = emulator.and(qemu);
    const mask = [both.word(0), both.word(1)] as const;
    this.#emulator = new Runner(sides[0], version === 1, mask, packed);
    this.#qemu = new Runner(sides[1], version === 1, mask, packed);
  }

  /** Whether QEMU hung or ended in a program: a new pair must go on. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Starts both machines. */
  static async start(device: DeviceName, variant: Variant, board: QtestBoard): Promise<Pair> {
    const { version, bus, packed } = variant;
    await using cleanup = new AsyncDisposableStack();
    const disks = device === "blk" ? cleanup.use(Disks.make()) : undefined;
    const options = qemuOptions(device, disks, variant);
    const platform = cleanup.use(
      await QtestPlatform.start({
        board,
        legacy: version === 1,
        packed,
        memory: RAM.size,
        busyDeadline: HANGS,
        ...options,
      }),
    );
    const side = (platform: EmulatedMachine | QtestPlatform): Side => {
      const memory = platform.openMemory(ARENA, ARENA_SIZE).bytes;
      const lease = cleanup.use(deviceNode(platform.nodes(), DEVICE_IDS[device]));
      if ("bars" in lease) return new PciSide(platform.name, memory, lease, version === 1);
      return mmioSide(platform.name, memory, lease.mmio);
    };
    const qemu = side(platform);
    const ours = model(device, disks);
    if (qemu.fixedSizes) takeSizes(ours, qemu);
    const machine = cleanup.use(EmulatedMachine.create({
      bus,
      devices: [{ model: ours, version }],
      ring: { packed },
      memory: new GuestMemory(RAM.size, RAM.base),
    }));
    return new Pair(device, variant, [side(machine), qemu], disks, cleanup.move());
  }

  /** Runs a program on both, step by step, until something differs. */
  async run(program: readonly Step[]): Promise<Outcome> {
    this.#disks?.putBack();
    this.#emulator.reset();
    this.#qemu.reset();
    for (const [i, step] of program.entries()) {
      const difference = await this.#try(program, i, step);
      if (difference !== undefined) return { steps: i + 1, difference };
    }
    return { steps: program.length, difference: undefined };
  }

  async #try(
    program: readonly Step[],
    index: number,
    step: Step,
  ): Promise<Difference | undefined> {
    try {
      return await this.#step(program, index, step);
    } catch (error) {
      if (!(error instanceof VireoError) || error.code !== "HOST_ERROR") throw error;
      this.#lost = true;
      const { device, variant } = this;
      const qemu = error.message;
      return { device, ...variant, program, index, step, name: "QEMU", emulator: "goes on", qemu };
    }
  }

  async #step(
    program: readonly Step[],
    index: number,
    step: Step,
  ): Promise<Difference | undefined> {
    const ours = this.#emulator.run(step);
    await this.#turns.next();
    const theirs = this.#qemu.run(step);
    ours.push(...this.#emulator.observe());
    const used = this.#emulator.used();
    const { device, variant } = this;
    const at = { device, ...variant, program, index, step };
    let difference: Difference | undefined;
    // Perhaps QEMU was only not done yet.
    for (const patience of [SHORT_PATIENCE, PATIENCE]) {
      await this.#settle(used, patience);
      difference = firstDifference(at, ours, [...theirs, ...this.#qemu.observe()], this.harmless);
      if (difference === undefined || allowedBy(difference) !== undefined) break;
    }
    this.#emulator.advance();
    this.#qemu.advance();
    return difference;
  }

  /** Gives QEMU's event loop turns until its used indices are the emulator's. */
  async #settle(used: ReadonlyMap<number, number>, patience: number): Promise<void> {
    const end = performance.now() + patience;
    const there = (): boolean => {
      const now = this.#qemu.used();
      return [...used].every(([queue, index]) => now.get(queue) === index);
    };
    for (let turn = 0; !there() && performance.now() < end; turn++) {
      this.#qemu.side.read(MmioRegister.Status, 4);
      if (turn < QUICK_TURNS) await this.#turns.next();
      else await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Ends both machines. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}

/** The first difference of two observations that ends a comparison; harmless ones are counted. */
function firstDifference(
  at: Omit<Difference, "name" | "emulator" | "qemu">,
  ours: readonly [string, string][],
  theirs: readonly [string, string][],
  harmless: Map<AllowedDifference, number>,
): Difference | undefined {
  for (let i = 0; i < Math.max(ours.length, theirs.length); i++) {
    const [name = "nothing", emulator = "nothing"] = ours[i] ?? [];
    const [theirName = "nothing", value = "nothing"] = theirs[i] ?? [];
    if (name === theirName && emulator === value) continue;
    const qemu = name === theirName ? value : `${theirName} ${value}`;
    const difference = { ...at, name, emulator, qemu };
    const entry = allowedBy(difference);
    if (entry?.continues !== true) return difference;
    harmless.set(entry, (harmless.get(entry) ?? 0) + 1);
  }
  return undefined;
}

/** Lets the streams of this process run: turns of the event loop that wait for no timer. */
class Turns implements Disposable {
  readonly #channel = new MessageChannel();
  #resolve: (() => void) | undefined;

  constructor() {
    this.#channel.port1.onmessage = () => this.#resolve?.();
  }

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#channel.port2.postMessage(0);
    });
  }

  [Symbol.dispose](): void {
    this.#channel.port1.close();
    this.#channel.port2.close();
  }
}

function deviceNode(nodes: readonly DeviceNode[], id: number): MmioLease | PciLease {
  for (const node of nodes) {
    if (node.kind === "pci") {
      const ids = [PCI_MODERN_DEVICE_BASE + id, PCI_TRANSITIONAL_DEVICE[id]];
      if (node.vendor === PCI_VENDOR_VIRTIO && ids.includes(node.device)) return node.open();
      continue;
    }
    if (node.kind !== "mmio") continue;
    const lease = node.open();
    if (lease.mmio.read32(MmioRegister.DeviceID) === id) return lease;
    lease[Symbol.dispose]();
  }
  throw new Error(`Cannot find a device with id ${id}`);
}

/** The same disk twice: in memory, and as an image file. */
class Disks implements Disposable {
  readonly path: string;
  readonly disk: MemoryDisk;
  readonly #contents: Uint8Array;
  readonly #file: Deno.FsFile;

  private constructor(path: string) {
    this.path = path;
    this.#contents = Uint8Array.from(
      { length: DISK_SECTORS * SECTOR },
      (_, i) => (i >>> 9) * 31 + i * 7 & 0xff,
    );
    Deno.writeFileSync(path, this.#contents);
    this.disk = new MemoryDisk(this.#contents.slice());
    this.#file = Deno.openSync(path, { write: true });
  }

  static make(): Disks {
    return new Disks(Deno.makeTempFileSync({ prefix: "vireo-diff-" }));
  }

  /** Puts back the sectors that programs write, at both ends of the disk. */
  putBack(): void {
    const size = SCRATCH_SECTORS * SECTOR;
    for (const start of [0, this.#contents.length - size]) {
      const scratch = this.#contents.subarray(start, start + size);
      this.disk.write(start, scratch, 0, size);
      this.#file.seekSync(start, Deno.SeekMode.Start);
      for (let at = 0; at < size;) at += this.#file.writeSync(scratch.subarray(at));
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
    this.disk[Symbol.dispose]();
    Deno.removeSync(this.path);
  }
}

/** Gives a model's queues the sizes of QEMU's, which differ between its versions. */
function takeSizes(model: DeviceModel, qemu: Side): void {
  const queues = model.queues.map((spec, i) => {
    qemu.write(MmioRegister.QueueSel, 4, i);
    return { ...spec, maxSize: qemu.read(MmioRegister.QueueSizeMax, 4) || spec.maxSize };
  });
  Object.defineProperty(model, "queues", { value: queues });
}

function model(device: DeviceName, disks: Disks | undefined): DeviceModel {
  switch (device) {
    case "rng":
      return new RngDevice({ random: (into) => into.fill(0) });
    case "blk":
      return new BlkDevice({
        disk: disks!.disk,
        serial: SERIAL,
        geometry: { cylinders: 2, heads: 16, sectors: 63 },
        topology: { physicalBlockExp: 0, alignmentOffset: 0, minIoSize: 0, optIoSize: 0 },
        segMax: 254,
        discard: { maxSectors: 0x3fffff, maxSegments: 1, alignment: 1 },
        writeZeroes: { maxSectors: 0x3fffff, maxSegments: 1 },
        withhold: [BlkFeature.SIZE_MAX, BlkFeature.SECURE_ERASE],
      });
    case "net":
      return new NetDevice({ backend: new Hub().port(), mac: MAC });
    case "console":
      return new ConsoleDevice({
        ports: [
          { id: 0, console: true, name: "zero", backend: nullPort() },
          // QEMU's null device never opens; only a text console is taken as open nevertheless.
          { id: 1, name: "one", backend: nullPort(), hostOpen: false },
        ],
        maxPorts: 31,
        queueSize: 128,
        emergency: () => {},
      });
  }
}

function qemuOptions(
  device: DeviceName,
  disks: Disks | undefined,
  { bus }: Variant,
): { devices: string[]; extraArgs: string[] } {
  const suffix = bus === "pci" ? "pci" : "device";
  switch (device) {
    case "rng":
      return { devices: [`virtio-rng-${suffix}`], extraArgs: [] };
    case "blk":
      return {
        devices: [`virtio-blk-${suffix},drive=disk,serial=${SERIAL}`],
        extraArgs: [
          "-blockdev",
          // A FLUSH is answered without the host's disk, which takes milliseconds.
          `raw,node-name=disk,cache.no-flush=on,file.driver=file,file.filename=${disks!.path}`,
        ],
      };
    case "net":
      return {
        devices: [`virtio-net-${suffix},netdev=wire,mac=${MAC}`],
        extraArgs: ["-netdev", "user,id=wire,restrict=on,ipv6=off"],
      };
    case "console":
      return {
        devices: [
          `virtio-serial-${suffix}${bus === "pci" ? ",ioeventfd=off" : ""}`,
          "virtconsole,chardev=c0,nr=0,name=zero",
          "virtserialport,chardev=c1,nr=1,name=one",
        ],
        extraArgs: [
          // Eventfds notify every queue at the start, and QEMU's console interrupts for nothing then.
          ...["-global", "virtio-mmio.ioeventfd=off"],
          ...["-chardev", "null,id=c0", "-chardev", "null,id=c1"],
        ],
      };
  }
}
