/**
 * Programs of a lying device, as plain data: made from a seed, run under a driver that is in use, and made shorter.
 *
 * A program lies in lengths, bytes, configuration, registers and rings, keeps and delays answers, interrupts out of
 * the blue and fails; meanwhile the driver is used, asked, aborted, suspended and bound again. Whatever happens: every
 * error is typed, every wait ends, memory comes back and belongs to one side at a time, and once the device is honest
 * again and reset the driver works.
 *
 * @module
 */
import type { Chain } from "@vireo/emu";
import { InterruptCause, VireoError } from "@vireo/hal";
import type { SplitVirtqueue } from "../../../drivers/virtqueue/split.ts";
import type { BounceMistake } from "../../../drivers/testing/dma.ts";
import { lying, seeded } from "../liar.ts";
import { SUBJECTS as MODELS } from "../models/subjects.ts";
import { NEWER_SUBJECTS } from "../newer_subjects.ts";
import { Rig } from "../rig.ts";
import { turn } from "../../turn.ts";
import { type Ask, type Subject, SUBJECTS, WrongAnswer } from "../subjects.ts";

/** Guest memory of a machine in bytes. */
const MEMORY = 24 << 20;
const MAX_ACTS = 24;
/** Milliseconds that each step of a use may take while the device lies, and once it is honest. */
const SHORT = { deadline: 12 };
const LONG = { deadline: 10_000 };
/** Milliseconds after which something that had a deadline hangs. */
const HANGS = 20_000;

/** Something that the device does, or the driver's user. */
type Act =
  | { readonly do: "use" | "turn" | "hold" | "release" | "fault" | "rebind" | "suspend" }
  | { readonly do: "ask"; readonly what: number; readonly end: "deadline" | "abort" | "later" }
  | { readonly do: "length"; readonly value: number; readonly times: number }
  | {
    readonly do: "bytes";
    readonly at: number;
    readonly bytes: readonly number[];
    readonly times: number;
  }
  | { readonly do: "keep"; readonly times: number }
  | {
    readonly do: "config";
    readonly at: number;
    readonly bytes: readonly number[];
    readonly tell: boolean;
  }
  | {
    readonly do: "register";
    readonly at: number;
    readonly value: number;
    readonly mode: "is" | "xor";
    readonly times: number;
  }
  | { readonly do: "interrupt"; readonly cause: number; readonly queue: number }
  | {
    /** Writes the ring: a used entry of a split one, or 16 bytes of a packed one. */
    readonly do: "used";
    readonly queue: number;
    readonly ahead: number;
    readonly id: number;
    readonly length: number;
    readonly flags: number;
  }
  | {
    readonly do: "ring";
    readonly queue: number;
    readonly device: boolean;
    readonly at: number;
    readonly value: number;
  }
  | { readonly do: "host"; readonly what: number };

/** A program of a lying device. */
export interface DriverProgram {
  /** Name of the driver. */
  readonly driver: string;
  /** The ring and the bus. */
  readonly on: "mmio" | "mmio-packed" | "mmio-legacy" | "pci" | "pci-packed" | "pci-legacy";
  /** Whether the driver may use what makes rings hard to lie in. */
  readonly plain: boolean;
  /** Acts, in order. */
  readonly acts: readonly Act[];
}

/** Result of a run. */
interface DriverOutcome {
  /** Why it failed; undefined if it did not. */
  readonly failure: string | undefined;
  /** Milliseconds of the longest act. */
  readonly longest: number;
}

type Random = () => number;

const pick = <T>(random: Random, all: readonly T[]): T => all[random() % all.length]!;
/** A number of any size. */
const any = (random: Random): number => random() >>> random() % 32;
/** One that is likely to be a bound. */
const edge = (random: Random): number =>
  random() % 3 === 0 ? any(random) : pick(random, [
    0,
    1,
    2,
    4,
    15,
    16,
    17,
    255,
    256,
    512,
    4096,
    0x7fff,
    0x8000,
    0xffff,
    2 ** 31,
    2 ** 32 - 1,
  ]);

/** The offsets of registers that drivers read: of a slot, and of PCI's structures and the legacy file. */
const MMIO_REGISTERS = [
  0x00,
  0x04,
  0x08,
  0x10,
  0x34,
  0x38,
  0x44,
  0x60,
  0x70,
  0xb0,
  0xb4,
  0xb8,
  0xbc,
  0xc0,
  0xfc,
];
const PCI_SPAN = 0x48;

/** Models whose host does nothing that a use could not be in spite of. */
const HOSTS = ["balloon", "blk", "input", "caif"];

/** Drivers of devices that have a legacy interface on PCI (virtio 1.4 §4.1.2), and those without any. */
const TRANSITIONAL = [
  ...["net", "net-steering", "blk", "blk-zoned", "console"],
  ...["scsi", "scsi-forms", "balloon", "rng", "p9", "p9-nodes"],
];
const NO_LEGACY = ["gpu", "input", "crypto", "crypto-chains", "caif"];
/** Every subject; tests add to the list. */
const subjects = (): readonly Subject[] => [...SUBJECTS, ...NEWER_SUBJECTS];

/** All drivers that there are programs for. */
export const DRIVERS: readonly string[] = subjects().map(({ name }) => name);

/** Makes the program of a number. */
export function generate(seed: number, drivers: readonly string[]): DriverProgram {
  const random = seeded(Math.imul(seed + 1, 0x9e3779b1));
  for (let i = 0; i < 4; i++) random();
  const driver = pick(random, drivers);
  const wanted = pick(
    random,
    ["mmio", "mmio", "mmio-packed", "mmio-legacy", "pci", "pci-packed", "pci-legacy"] as const,
  );
  const on = wanted === "pci-legacy" && !TRANSITIONAL.includes(driver)
    ? "pci"
    : wanted === "mmio-legacy" && NO_LEGACY.includes(driver)
    ? "mmio"
    : wanted;
  const bytes = (): number[] =>
    Array.from(
      { length: 1 + random() % 12 },
      () => random() % 3 === 0 ? random() & 0xff : pick(random, [0, 0xff, 1, 0x7f]),
    );
  const times = (): number => random() % 3 === 0 ? 1 + random() % 40 : 1;
  const act = (): Act => {
    const dice = random() % 40;
    if (dice < 7) return { do: "use" };
    if (dice < 12) {
      return { do: "ask", what: random() % 8, end: pick(random, ["deadline", "abort", "later"]) };
    }
    if (dice < 15) return { do: "length", value: edge(random), times: times() };
    if (dice < 19) {
      return {
        do: "bytes",
        at: random() % 3 === 0 ? edge(random) % 8192 : random() % 64,
        bytes: bytes(),
        times: times(),
      };
    }
    if (dice === 19) return { do: "keep", times: times() };
    if (dice < 23) {
      return { do: "config", at: random() % 64, bytes: bytes(), tell: random() % 2 === 0 };
    }
    if (dice < 27) {
      const at = on.startsWith("mmio") ? pick(random, MMIO_REGISTERS) : random() % PCI_SPAN;
      return {
        do: "register",
        at,
        value: edge(random),
        mode: pick(random, ["is", "xor"]),
        times: times(),
      };
    }
    if (dice === 27) return { do: "interrupt", cause: random() % 4, queue: random() % 4 };
    if (dice < 31) {
      return {
        do: "used",
        queue: random() % 4,
        ahead: random() % 4 === 0 ? any(random) & 0xffff : 1 + random() % 2,
        id: random() % 3 === 0 ? any(random) : random() % 16,
        length: edge(random),
        flags: random() & 0xffff,
      };
    }
    if (dice === 31) {
      return {
        do: "ring",
        queue: random() % 4,
        device: random() % 3 > 0,
        at: random() % 600,
        value: edge(random) & 0xffff,
      };
    }
    if (dice === 32) return { do: "hold" };
    if (dice === 33) return { do: "release" };
    if (dice === 34) return { do: "fault" };
    if (dice === 35) return { do: "rebind" };
    if (dice === 36) return { do: "suspend" };
    if (dice === 37) return { do: "host", what: random() % 4 };
    return { do: "turn" };
  };
  const plain = random() % 3 === 0;
  return { driver, on, plain, acts: Array.from({ length: 2 + random() % MAX_ACTS }, act) };
}

/** A failure that is the device's fault, or what the user asked for. */
function isTyped(error: unknown): boolean {
  if (error instanceof SuppressedError) return isTyped(error.error) && isTyped(error.suppressed);
  if (error instanceof AggregateError) return error.errors.every(isTyped);
  return error instanceof VireoError || error instanceof WrongAnswer || error === ENOUGH;
}

/** A device that says so may still write, and no memory of its queues is used again. */
const STUCK = ["RESET_TIMEOUT", "QUEUE_IN_USE", "DEVICE_REMOVED"];
/** Why an ask is aborted. */
const ENOUGH = new Error("enough");

/** The device's answers to come, in which it lies. */
class Mouth {
  readonly #lengths: number[] = [];
  readonly #bytes: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  readonly #config = new Map<number, number>();
  #registers: {
    readonly at: number;
    readonly value: number;
    readonly xor: boolean;
    times: number;
  }[] = [];
  #keep = 0;

  /** Takes an act that is a lie. */
  learn(act: Act): void {
    if (act.do === "length") { for (let i = 0; i < act.times; i++) this.#lengths.push(act.value); }
    if (act.do === "bytes") {
      const bytes = Uint8Array.from(act.bytes);
      for (let i = 0; i < act.times; i++) this.#bytes.push({ at: act.at, bytes });
    }
    if (act.do === "keep") this.#keep += act.times;
    if (act.do === "config") act.bytes.forEach((byte, i) => this.#config.set(act.at + i, byte));
    if (act.do === "register") {
      const { at, value, mode, times } = act;
      this.#registers.push({ at, value, xor: mode === "xor", times });
    }
  }

  /** Is honest from now on. */
  repent(): void {
    this.#lengths.length = this.#bytes.length = this.#keep = 0;
    this.#registers = [];
    this.#config.clear();
  }

  readonly lie = {
    name: "a program",
    push: (chain: Chain, _written: number): number | undefined => {
      const over = this.#bytes.shift();
      if (over !== undefined && over.at < chain.writableLength) {
        chain.seekWrite(over.at);
        chain.write(over.bytes.subarray(0, chain.writableLength - over.at));
      }
      return this.#lengths.shift();
    },
    keeps: (): boolean => this.#keep > 0 && this.#keep-- > 0,
    config: (honest: number, offset: number, width: number): number => {
      let value = honest;
      for (let i = 0; i < width; i++) {
        const byte = this.#config.get(offset + i);
        if (byte !== undefined) value = (value & ~(0xff << 8 * i)) | (byte << 8 * i);
      }
      return value;
    },
    register: (honest: number, offset: number): number => {
      const found = this.#registers.find(({ at, times }) => at === offset && times > 0);
      if (found === undefined) return honest;
      found.times--;
      return found.xor ? honest ^ found.value : found.value;
    },
  };
}

/** One run of a program. */
class Run {
  readonly mouth: Mouth = new Mouth();
  readonly rig: Rig<never>;
  readonly #subject: Subject;
  /** Asks that nobody waits for yet. */
  readonly #asked: Promise<void>[] = [];
  readonly #aborts: AbortController[] = [];
  readonly #untyped: unknown[] = [];
  /** Whether the device would not let go of its queues, whose memory then stays taken. */
  #stuck = false;
  /** Whether the device wrote rings, after which its own writes are where it believes it may write. */
  #wroteRings = false;
  #asks: Readonly<Record<string, Ask>> | undefined;

  private constructor(subject: Subject, mouth: Mouth, rig: Rig<never>) {
    this.#subject = subject;
    this.mouth = mouth;
    this.rig = rig;
  }

  static async open({ driver, on, plain }: DriverProgram): Promise<Run> {
    const subject = subjects().find(({ name }) => name === driver);
    if (subject === undefined) throw new RangeError(`Cannot find the driver ${driver}`);
    const mouth = new Mouth();
    const rig = await Rig.open(subject.driver, lying(subject.model(), mouth.lie, 1), {
      lies: true,
      lie: mouth.lie,
      memory: MEMORY,
      bus: on.startsWith("pci") ? "pci" : "mmio",
      version: on.endsWith("legacy") ? 1 : 2,
      ring: { packed: on.endsWith("packed"), indirect: !plain, eventIdx: !plain },
    });
    return new Run(subject, mouth, rig as unknown as Rig<never>);
  }

  /** Whether the driver is bound. */
  get #bound(): boolean {
    return this.rig.device?.instance !== undefined;
  }

  /** Waits for something with a deadline, whose error must be typed. */
  async #typed(what: string, run: () => Promise<unknown>): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const hangs = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${what} hangs`)), HANGS);
    });
    try {
      await Promise.race([run(), hangs]);
    } catch (error) {
      this.#note(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #note(error: unknown): void {
    if (!isTyped(error)) this.#untyped.push(error);
    const all = error instanceof AggregateError ? error.errors : [error];
    this.#stuck ||= all.some((one) => one instanceof VireoError && STUCK.includes(one.code));
  }

  async perform(act: Act): Promise<void> {
    const { rig } = this;
    const { device } = rig;
    this.mouth.learn(act);
    switch (act.do) {
      case "turn":
        return await turn();
      case "use":
        if (!this.#bound) return;
        return await this.#typed("a use", () => this.#subject.use(rig.instance, SHORT, rig));
      case "ask":
        return await this.#ask(act.what, act.end);
      case "hold":
        return rig.hold();
      case "release":
        return rig.release();
      case "fault":
        return rig.machine.device(0).fault("as the program wants");
      case "interrupt": {
        const hosted = rig.machine.device(0);
        if ((act.cause & 1) !== 0) hosted.raise(InterruptCause.QUEUE, act.queue);
        if ((act.cause & 2) !== 0) hosted.raise(InterruptCause.CONFIG);
        return;
      }
      case "config":
        if (act.tell) rig.machine.device(0).configChanged();
        return;
      case "rebind":
        this.#asks = undefined;
        await this.#typed("an unbind", () => rig.bus.unbind(device));
        return await this.#typed("a bind", () => rig.bus.bind(device));
      case "suspend":
        if (!this.#bound) return;
        await this.#typed("a freeze", () => rig.bus.freeze(device));
        return await this.#typed("a restore", () => rig.bus.restore(device));
      case "used":
      case "ring":
        return this.#write(act);
      case "host": {
        const { name } = this.#subject;
        const host = HOSTS.includes(name)
          ? MODELS.find((model) => model.name === name)?.host ?? []
          : [];
        host[act.what % Math.max(1, host.length)]?.(rig.model as never);
        return;
      }
      default:
        return;
    }
  }

  async #ask(what: number, end: string): Promise<void> {
    const { rig } = this;
    if (!this.#bound) return;
    try {
      this.#asks ??= await this.#subject.asks(rig.instance, SHORT, rig);
    } catch (error) {
      return this.#note(error);
    }
    const asks = Object.entries(this.#asks);
    if (asks.length === 0) return;
    const abort = rig.signals.controller();
    this.#aborts.push(abort);
    const deadline = end === "deadline" ? SHORT.deadline : 2000;
    const [name, ask] = asks[what % asks.length]!;
    // What is closed must not be used again.
    if (/^(?:close|unref)$/.test(name)) this.#asks = undefined;
    this.#asked.push(this.#typed("an ask", () => ask({ signal: abort.signal, deadline })));
    await turn();
    if (end === "abort") abort.abort(ENOUGH);
  }

  /** Writes where the device may write, and to the table where it must not. */
  #write(act: Act & { readonly do: "used" | "ring" }): void {
    const { rig } = this;
    const ring = rig.device.queues[act.queue] as SplitVirtqueue | undefined;
    const addresses = ring?.addresses;
    if (addresses === undefined) return;
    const { size, desc, device } = addresses;
    const packed = rig.device.features.has(34);
    this.#wroteRings = true;
    const view = (at: number, length: number): DataView => {
      const { buffer, byteOffset } = rig.dma.deviceBytes(at, length);
      return new DataView(buffer, byteOffset, length);
    };
    if (act.do === "ring") {
      const bytes = act.device ? (packed ? 4 : 6 + 8 * size) : 16 * size;
      view(act.device ? device : desc, bytes).setUint16(act.at % (bytes - 1) & ~1, act.value, true);
    } else if (packed) {
      const at = view(desc, 16 * size);
      const slot = act.ahead % size;
      at.setUint32(16 * slot + 8, act.length, true);
      at.setUint16(16 * slot + 12, act.id, true);
      at.setUint16(16 * slot + 14, act.flags, true);
    } else {
      const used = view(device, 6 + 8 * size);
      const index = used.getUint16(2, true);
      used.setUint32(4 + 8 * (index % size), act.id, true);
      used.setUint32(8 + 8 * (index % size), act.length, true);
      used.setUint16(2, index + act.ahead, true);
    }
    rig.machine.device(0).raise(InterruptCause.QUEUE, act.queue);
  }

  /** Ends all asks, makes the device honest, and demands that the driver works again. */
  async end(): Promise<void> {
    const { rig, mouth } = this;
    const { device } = rig;
    for (const abort of this.#aborts) abort.abort(ENOUGH);
    await Promise.all(this.#asked);
    mouth.repent();
    rig.release();
    await this.#typed("an unbind", () => rig.bus.unbind(device));
    this.#fail();
    try {
      await rig.bus.bind(device);
    } catch (error) {
      if ((error as VireoError).code !== "OUT_OF_MEMORY") throw error;
    }
    if (!this.#bound && (device.error as VireoError | undefined)?.code === "OUT_OF_MEMORY") return;
    if (!this.#bound) throw device.error ?? new Error("the driver does not bind");
    try {
      await this.#subject.use(rig.instance, LONG, rig);
    } catch (error) {
      // What the host was told by a program may make an answer another one, and memory that was freed is not
      // handed out again, so a balloon may have had all of it.
      if (error instanceof WrongAnswer) return;
      if (!(error instanceof VireoError && error.code === "OUT_OF_MEMORY")) throw error;
    }
  }

  /** Throws the first error that is not typed. */
  #fail(): void {
    const [error] = [...this.#untyped, ...this.rig.errors.filter((error) => !isTyped(error))];
    if (error !== undefined) throw new Error(`not a typed error: ${Deno.inspect(error)}`);
  }

  /** Whether all memory must be back. */
  get freed(): boolean {
    return !(this.#stuck ||
      this.rig.errors.some((error) => STUCK.includes((error as VireoError).code)));
  }

  /** Mistakes that are the driver's, whatever the device did. */
  isMistake({ what }: BounceMistake): boolean {
    return !this.#wroteRings || /^(?:unshared|shared|freed)/.test(what);
  }
}

/** Runs a program; what it must not come to is told, not thrown. */
export async function run(program: DriverProgram): Promise<DriverOutcome> {
  let longest = 0;
  let failure: string | undefined;
  let it: Run | undefined;
  try {
    it = await Run.open(program);
    for (const act of program.acts) {
      const start = performance.now();
      await it.perform(act);
      longest = Math.max(longest, performance.now() - start);
    }
    await it.end();
  } catch (error) {
    failure = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
  if (it !== undefined) {
    try {
      it.rig.mistaken = (mistake) => it!.isMistake(mistake);
      it.rig.mayKeep = !it.freed;
      await it.rig[Symbol.asyncDispose]();
    } catch (error) {
      failure ??= `at the end: ${error instanceof Error ? error.message : error}`;
    }
  }
  return { failure, longest };
}

/** Makes a failing program shorter, as long as it fails. @returns The shortest that was found. */
export async function shrink(program: DriverProgram, tries = 200): Promise<DriverProgram> {
  let best = program;
  const fails = async (candidate: DriverProgram): Promise<boolean> => {
    if (tries-- <= 0 || (await run(candidate)).failure === undefined) return false;
    best = candidate;
    return true;
  };
  for (let size = Math.max(1, best.acts.length >> 1); size >= 1; size >>= 1) {
    for (let at = 0; at + size <= best.acts.length;) {
      const acts = [...best.acts.slice(0, at), ...best.acts.slice(at + size)];
      if (!await fails({ ...best, acts })) at += size;
    }
  }
  if (best.on !== "mmio") await fails({ ...best, on: "mmio" });
  if (!best.plain) await fails({ ...best, plain: true });
  for (let i = 0; i < best.acts.length; i++) {
    const act = best.acts[i]!;
    const simpler = (change: object): DriverProgram => ({
      ...best,
      acts: best.acts.map((other, j) => j === i ? { ...other, ...change } as Act : other),
    });
    if ("times" in act && act.times > 1) await fails(simpler({ times: 1 }));
    if ("bytes" in act && act.bytes.length > 1) {
      await fails(simpler({ bytes: act.bytes.slice(0, 1) }));
    }
  }
  return best;
}
