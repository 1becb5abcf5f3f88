/**
 * How the processes of a measurement talk: a line `WORK COUNT` asks for so many operations, and the answer
 * is a line with the nanoseconds of each, or -1 for work that the process cannot do.
 *
 * @module
 */
/** Does an operation so many times. */
export type Work = (count: number) => void | Promise<void>;

/** The lines of a stream, without their ends. */
async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

/** Looks at the heap of one measurement of allocations. */
const LOOKS = 200;
/** Most measurements until two in succession agree. */
const MOST_ROUNDS = 8;

/**
 * Bytes of heap that an operation allocates: the median over many short runs, too short for a collection
 * to hide them, minus the cost of the measurement itself.
 *
 * @param count Operations between two looks.
 */
async function bytesOf(work: Work, count: number): Promise<number> {
  const grown = async (operations: number): Promise<number> => {
    const growth: number[] = [];
    for (let i = 0; i < LOOKS; i++) {
      const before = Deno.memoryUsage().heapUsed;
      if (operations > 0) await work(operations);
      growth.push(Deno.memoryUsage().heapUsed - before);
    }
    return growth.sort((a, b) => a - b)[LOOKS >> 1]!;
  };
  // Code that V8 has optimized allocates less, and V8 optimizes while the program runs, sometimes in the middle of a
  // measurement. So two measurements in succession must agree.
  await work(60_000);
  let last = Infinity;
  for (let i = 0;; i++) {
    // Both include the cost of a run without operations.
    const once = await grown(count);
    const bytes = Math.max(0, (await grown(2 * count) - once) / count);
    if (Math.abs(bytes - last) <= bytes / 50 + 1) return bytes;
    if (i === MOST_ROUNDS) throw new Error(`Cannot measure: ${last} bytes, then ${bytes}`);
    last = bytes;
  }
}

/** Timers that an operation sets. */
async function timersOf(work: Work, count: number): Promise<number> {
  await work(count);
  const set = globalThis.setTimeout;
  let timers = 0;
  const counted = (...args: Parameters<typeof set>): ReturnType<typeof set> => {
    timers++;
    return set(...args);
  };
  Object.assign(globalThis, { setTimeout: counted });
  await work(count);
  Object.assign(globalThis, { setTimeout: set });
  return timers / count;
}

const MEASURES: Readonly<Record<string, (work: Work, count: number) => Promise<number>>> = {
  async time(work, count) {
    const begin = performance.now();
    await work(count);
    return (performance.now() - begin) * 1e6 / count;
  },
  bytes: bytesOf,
  timers: timersOf,
};

/** Answers standard input until it ends; `bytes:WORK` and `timers:WORK` ask for those instead of time. */
export async function answerLines(works: Readonly<Record<string, Work>>): Promise<void> {
  for await (const line of linesOf(Deno.stdin.readable)) {
    const [, kind = "time", name, count] = /^(?:(\w+):)?(\S+) (\d+)$/.exec(line) ?? [];
    const work = works[name!];
    console.log(work === undefined ? -1 : await MEASURES[kind]!(work, Number(count)));
  }
}

/** A process that answers lines. */
export class Peer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #write: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncGenerator<string>;
  readonly #name: string;

  /** Starts it. @param command The program and its arguments. */
  constructor(name: string, [program, ...args]: readonly [string, ...string[]], cwd?: string) {
    this.#name = name;
    this.#child = new Deno.Command(program, {
      args,
      ...(cwd === undefined ? {} : { cwd }),
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#write = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout);
  }

  /**
   * Nanoseconds of an operation.
   *
   * @throws {Error} If the process ended or has no such work.
   */
  async ask(work: string, count: number): Promise<number> {
    await this.#write.write(new TextEncoder().encode(`${work} ${count}\n`));
    const { value } = await this.#lines.next();
    const each = Number(value);
    if (value === undefined || !(each >= 0)) {
      throw new Error(`Cannot measure ${work} of ${this.#name}: it answered ${value ?? "nothing"}`);
    }
    return each;
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#write.close();
    await this.#lines.return(undefined);
    await this.#child.status;
  }
}
