/**
 * Programs of a hostile driver, as plain data: made from a seed, run on a device model, and made shorter.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { MockSegment } from "@vireo/emu/testing";
import { VERSION_1_ROWS, VERSION_2_ROWS } from "../../../emu/transport/mmio.ts";
import type { PciAccess } from "./pci_slot.ts";
import { xorshift } from "../../noise.ts";
import { Rig } from "./rig.ts";
import { type FuzzField, type FuzzForm, type FuzzSubject, SUBJECTS } from "./subjects.ts";

/** Guest memory of a machine in bytes. */
const MEMORY = 4 << 20;
const BASE = 0x4000_0000;
/** Most acts of a program, and bytes of a configuration that are read and written. */
const MAX_ACTS = 60;
const CONFIG_BYTES = 64;
/** Turns of the event loop that a sound device needs at most to serve a request. */
const PATIENCE = 400;

/** Something that the driver, or the host, does. */
type Act =
  | {
    readonly do: "request";
    readonly queue: number;
    readonly bytes: readonly number[];
    readonly room: number;
    /** Where the readable part is cut in two; 0 leaves it whole. */
    readonly cut: number;
    readonly times: number;
  }
  | {
    readonly do: "chain";
    readonly queue: number;
    readonly head: number;
    /** Address less that of guest memory, length and flags of each descriptor. */
    readonly elements: readonly (readonly [at: number, length: number, flags: number])[];
  }
  | { readonly do: "ram"; readonly at: number; readonly value: number }
  | { readonly do: "register"; readonly offset: number; readonly value: number }
  | { readonly do: "read"; readonly offset: number; readonly width: number }
  | {
    readonly do: "config";
    readonly offset: number;
    readonly width: number;
    readonly value: number;
  }
  | { readonly do: "init"; readonly without: readonly number[] }
  | { readonly do: "pci" } & PciAccess
  | { readonly do: "host"; readonly what: number }
  | { readonly do: "turn" };

/** A program of a hostile driver. */
export interface Program {
  /** Name of the device model. */
  readonly model: string;
  /** The ring and the interface. */
  readonly ring: "legacy" | "split" | "packed" | "pci" | "pci-packed" | "pci-legacy";
  /** Acts, in order. */
  readonly acts: readonly Act[];
}

/** Result of a run. */
interface Outcome {
  /** Why it failed; undefined if it did not. */
  readonly failure: string | undefined;
  /** Milliseconds of the act that took longest, and its number. */
  readonly longest: number;
  readonly slowest: number;
  /** Most steps and bytes of a turn. */
  readonly steps: number;
  /** Most bytes of a turn. */
  readonly bytes: number;
}

/** Models that have a legacy interface on PCI (virtio 1.4 §4.1.2). */
const TRANSITIONAL = ["net", "blk", "console", "scsi", "balloon", "rng", "9p"];

type Random = () => number;

const subjectOf = (name: string): FuzzSubject => {
  const found = SUBJECTS.find((subject) => subject.name === name);
  if (found === undefined) throw new RangeError(`Cannot find the model ${name}`);
  return found;
};

const pick = <T>(random: Random, all: readonly T[]): T => all[random() % all.length]!;

/** A number of any size. */
const any = (random: Random): number => random() >>> random() % 32;

function bytesOfField([width, ...values]: FuzzField, random: Random): number[] {
  const value = random() % 24 === 0 ? any(random) : pick(random, values);
  return Array.from({ length: width }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff);
}

function request({ queue, fields, more = 0, room = 0 }: FuzzForm, random: Random): Act {
  const bytes = fields.flatMap((field) => bytesOfField(field, random));
  const tail = random() % 3 === 0 ? random() % (more + 1) : more;
  for (let i = 0; i < tail; i++) bytes.push(random() % 4 === 0 ? random() & 0xff : 0);
  // Now and then cut off, or with another room.
  if (random() % 12 === 0) bytes.length = random() % (bytes.length + 1);
  return {
    do: "request",
    queue,
    bytes,
    room: random() % 12 === 0 ? random() % 2000 : room,
    cut: random() % 3 === 0 && bytes.length > 1 ? 1 + random() % (bytes.length - 1) : 0,
    times: random() % 8 === 0 ? 1 + random() % 16 : 1,
  };
}

function chain(queues: number, random: Random): Act {
  const elements = Array.from({ length: 1 + random() % 6 }, () =>
    [
      random() % 5 === 0 ? any(random) : random() % MEMORY,
      random() % 3 === 0 ? any(random) : random() % 256,
      random() % 8,
    ] as const);
  return { do: "chain", queue: random() % queues, head: random() % 16, elements };
}

/** Makes the program of a number. */
export function generate(seed: number, models: readonly string[]): Program {
  const random = xorshift(Math.imul(seed + 1, 0x9e3779b1));
  for (let i = 0; i < 4; i++) random();
  const subject = subjectOf(pick(random, models));
  const wanted = pick(
    random,
    ["legacy", "split", "split", "packed", "pci", "pci-packed", "pci-legacy"] as const,
  );
  const ring = wanted === "pci-legacy" && !TRANSITIONAL.includes(subject.name) ? "pci" : wanted;
  const rows = ring.endsWith("legacy") ? VERSION_1_ROWS : VERSION_2_ROWS;
  const queues = 1 + Math.max(...subject.forms.map(({ queue }) => queue));
  const act = (): Act => {
    const dice = random() % 40;
    if (dice < 26) return request(pick(random, subject.forms), random);
    if (dice < 28) return chain(queues, random);
    if (dice === 28) return { do: "ram", at: random() % MEMORY & ~3, value: any(random) };
    if (dice === 29) {
      return { do: "register", offset: pick(random, rows).offset, value: any(random) };
    }
    if (dice === 30 && ring.startsWith("pci")) {
      // The common configuration, MSI-X and the configuration space are where most registers are.
      const to = pick(random, [0, 1, 4, 6, 6]);
      const offset = random() % 4 === 0 ? random() % 0x4000 : random() % 0x60;
      return { do: "pci", to, offset, width: pick(random, [1, 2, 4] as const), value: any(random) };
    }
    if (dice === 30) {
      return { do: "read", offset: random() % 0x200, width: pick(random, [1, 2, 4]) };
    }
    if (dice < 33) {
      const width = pick(random, [1, 2, 4]);
      return { do: "config", offset: random() % CONFIG_BYTES, width, value: any(random) };
    }
    if (dice === 33) {
      return { do: "init", without: random() % 2 === 0 ? [] : [random() % 64, random() % 64] };
    }
    if (dice < 37) return { do: "host", what: random() % 8 };
    return { do: "turn" };
  };
  return { model: subject.name, ring, acts: Array.from({ length: 1 + random() % MAX_ACTS }, act) };
}

/** Runs a program; what it must not come to is told, not thrown. */
export async function run(program: Program): Promise<Outcome> {
  const subject = subjectOf(program.model);
  const packed = program.ring.endsWith("packed") && !subject.splitOnly;
  const model = subject.make();
  const version = program.ring.endsWith("legacy") ? 1 : 2;
  await using it = new Rig(model, {
    bus: program.ring.startsWith("pci") ? "pci" : "mmio",
    memorySize: MEMORY,
    version,
    ring: { packed, inOrder: packed, ringReset: true },
  });
  let longest = 0;
  let slowest = 0;
  let failure: string | undefined;
  try {
    for (const [i, act] of program.acts.entries()) {
      if (act.do === "turn") await it.turn();
      const start = performance.now();
      perform(it, subject, act);
      const time = performance.now() - start;
      if (time > longest) [longest, slowest] = [time, i];
    }
    await it.turn();
    it.check();
    await serveOnce(it, subject);
    it.check();
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  const { mostSteps, mostBytes } = it.device.work.counters;
  return { failure, longest, slowest, steps: mostSteps, bytes: mostBytes };
}

function perform(it: Rig<ReturnType<FuzzSubject["make"]>>, subject: FuzzSubject, act: Act): void {
  const { driver } = it;
  const { slot } = driver;
  switch (act.do) {
    case "request": {
      const queue = driver.packed[act.queue] ?? driver.queues[act.queue];
      if (queue === undefined) return;
      const bytes = Uint8Array.from(act.bytes);
      const parts = act.cut === 0 ? [bytes] : [bytes.slice(0, act.cut), bytes.slice(act.cut)];
      const segments: MockSegment[] = parts.filter(({ length }) => length > 0)
        .map((read) => ({ read }));
      if (act.room > 0) segments.push({ write: act.room });
      if (segments.length === 0) return;
      try {
        for (let i = 0; i < act.times; i++) void queue.add(segments);
      } catch {
        // The driver's own ring or memory is full: what was added counts.
      }
      queue.kick();
      try {
        driver.interrupt();
      } catch {
        // The stand-in keeps account of its own chains only: one that was written by hand comes back too.
      }
      return;
    }
    case "chain": {
      const packed = driver.packed[act.queue];
      const queue = driver.queues[act.queue];
      act.elements.forEach(([at, length, flags], i) => {
        const place = (act.head + i) % 16;
        packed?.setDesc(
          place,
          BASE + at,
          length,
          place,
          flags | (packed.wrap === 1 ? 0x80 : 0x8000),
        );
        queue?.setDesc(place, BASE + at, length, flags, (place + 1) % 16);
      });
      queue?.makeAvailable(act.head);
      (packed ?? queue)?.kick();
      return;
    }
    case "ram":
      it.machine.memory.words32[act.at >>> 2] = act.value;
      return;
    case "register":
      return slot.write32(act.offset, act.value);
    case "read":
      if (act.width === 1) slot.read8(act.offset);
      else if (act.width === 2) slot.read16(act.offset);
      else slot.read32(act.offset);
      return;
    case "config":
      if (act.width === 1) slot.write8(0x100 + act.offset, act.value);
      else if (act.width === 2) slot.write16(0x100 + act.offset, act.value);
      else slot.write32(0x100 + act.offset, act.value);
      return;
    case "pci":
      return it.pci?.access(act);
    case "init":
      return it.init((offered) => offered.without(...act.without));
    case "host": {
      const { host = [] } = subject;
      if (host.length > 0) host[act.what % host.length]!(it.model as never);
      return;
    }
    default:
      return;
  }
}

/** Whatever a driver did: after a reset the device serves a request. */
export async function serveOnce(
  it: Rig<ReturnType<FuzzSubject["make"]>>,
  subject: FuzzSubject,
): Promise<void> {
  it.init();
  assert((it.driver.slot.read32(0x70) & 4) !== 0, "the device does not run after a reset");
  // What was noted before has nothing to do with this request.
  it.device.log.length = 0;
  const { queue, fields, more = 0, room = 0 } = subject.forms[subject.alive]!;
  const bytes = fields.flatMap(([width, value = 0]) =>
    Array.from({ length: width }, (_, i) => Math.floor(value / 2 ** (8 * i)) & 0xff)
  );
  const segments: MockSegment[] = [];
  const read = Uint8Array.from([...bytes, ...new Array<number>(more).fill(0)]);
  if (read.length > 0) segments.push({ read });
  if (room > 0) segments.push({ write: room });
  const ring = (it.driver.packed[queue] ?? it.driver.queues[queue])!;
  let served = false;
  void ring.add(segments).then(() => served = true);
  ring.kick();
  for (let i = 0; i < PATIENCE && !served; i++) {
    it.driver.interrupt();
    await it.turn();
  }
  assertEquals(it.log, [], "a sound request after a reset is held against the driver");
  assert(served, "a sound request after a reset is not served");
}

/** Makes a failing program shorter, as long as it fails. @returns The shortest that was found. */
export async function shrink(program: Program, tries = 400): Promise<Program> {
  let best = program;
  const fails = async (acts: readonly Act[]): Promise<boolean> => {
    if (tries-- <= 0) return false;
    const candidate = { ...best, acts };
    if ((await run(candidate)).failure === undefined) return false;
    best = candidate;
    return true;
  };
  // Acts first, in halves, quarters and so on.
  for (let size = best.acts.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at + size <= best.acts.length;) {
      const without = [...best.acts.slice(0, at), ...best.acts.slice(at + size)];
      if (!await fails(without)) at += size;
    }
  }
  // Then what requests carry.
  for (let i = 0; i < best.acts.length; i++) {
    const simpler = (act: Act, change: Partial<Act>): Act[] => {
      const acts = [...best.acts];
      acts[i] = { ...act, ...change } as Act;
      return acts;
    };
    for (;;) {
      const act = best.acts[i]!;
      if (act.do !== "request") break;
      const { bytes, times, cut } = act;
      const half = bytes.slice(0, bytes.length >> 1);
      const shorter = (times > 1 && await fails(simpler(act, { times: times >> 1 }))) ||
        (cut > 0 && await fails(simpler(act, { cut: 0 }))) ||
        (half.length < bytes.length && await fails(simpler(act, { bytes: half, cut: 0 })));
      if (!shorter) break;
    }
  }
  return best;
}

/** The models that there are programs for. */
export const MODELS: readonly string[] = SUBJECTS.map(({ name }) => name);
