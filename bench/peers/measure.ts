/**
 * How two sides are measured beside each other: by turns in one run, and only ratios of turns that follow
 * one another count, because a machine's speed changes.
 *
 * @module
 */
import type { Command } from "./build.ts";
import { Peer } from "./lines.ts";

/** Nanoseconds that one turn should take. */
const TURN = 60e6;
/** Operations of a turn are a multiple of every batch. */
const GRAIN = 128;
/** Turns that only warm up, at least and at most: code that is not compiled yet shortens the turns that follow. */
const WARM_UP = 3;
const MOST_WARM_UP = 15;

/** Measures so many operations of a work. */
export type Side = (work: string, count: number) => Promise<number>;

/** The median, and how far the middle half of the values spreads. */
export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** Measurements of two sides. */
export interface Comparison {
  /** Nanoseconds of an operation. */
  readonly ours: Spread;
  /** Nanoseconds of an operation. */
  readonly theirs: Spread;
  /** Ours over theirs. */
  readonly ratio: Spread;
}

/** The median and the quartiles. */
function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.round((sorted.length - 1) * part)]!;
  return { median: at(0.5), low: at(0.25), high: at(0.75) };
}

/** Nanoseconds of a process, from its start to its end. */
async function elapsed([program, ...args]: Command): Promise<number> {
  const begin = performance.now();
  const { success, stderr } = await new Deno.Command(program, { args }).output();
  if (!success) throw new Error(`Cannot run ${program}: ${new TextDecoder().decode(stderr)}`);
  return (performance.now() - begin) * 1e6;
}

/** A side of ringtest: the whole process is timed, and its start is nothing beside its turns. */
export function ringtest(command: Command): Side {
  return async (_, count) => await elapsed([...command, "--run-cycles", `${count}`]) / count;
}

/** A side whose operation is a process. */
export function processes(command: Command): Side {
  return async (_, count) => {
    let all = 0;
    for (let i = 0; i < count; i++) all += await elapsed(command);
    return all / count;
  };
}

/**
 * Measures a work on both sides by turns.
 *
 * @param grain What the number of operations of a turn is a multiple of.
 */
export async function compare(
  work: string,
  ours: Side,
  theirs: Side,
  rounds: number,
  grain: number = GRAIN,
): Promise<Comparison> {
  const counts = [grain, grain];
  const sides = [ours, theirs];
  const found: [number[], number[]] = [[], []];
  let warm = false;
  for (let turn = 0; turn < MOST_WARM_UP && !(warm && turn >= WARM_UP); turn++) {
    warm = true;
    for (const [i, side] of sides.entries()) {
      const each = await side(work, counts[i]!);
      // The number grows as long as the turns are short: the first ones say little of the later ones.
      if (each * counts[i]! > TURN / 2) continue;
      warm = false;
      const more = Math.min(TURN / each, counts[i]! * 1000);
      counts[i] = Math.max(1, Math.ceil(more / grain)) * grain;
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const [i, side] of sides.entries()) found[i]!.push(await side(work, counts[i]!));
  }
  const ratios = found[0].map((value, i) => value / found[1][i]!);
  return { ours: spreadOf(found[0]), theirs: spreadOf(found[1]), ratio: spreadOf(ratios) };
}

/** Runs a body with a process that answers lines. */
export async function withPeer<T>(
  name: string,
  command: Command,
  body: (side: Side) => Promise<T>,
  cwd?: string,
): Promise<T> {
  await using peer = new Peer(name, command, cwd);
  return await body((work, count) => peer.ask(work, count));
}
