import { parseArgs } from "node:util";

/** Where the files of a room are that are broken. */
const ROOMS: Readonly<Record<string, RegExp>> = {
  drivers: /^drivers\/(?!testing\/|trace\/|record\/)/,
  emu: /^emu\/devices\//,
  rings: /^emu\/(?:ring\/|transport\/|[^/]+$)/,
  hal: /^hal\/(?!devmem\/|virtio\/)/,
  firmware: /^(?:firmware\/(?:disk|trace|check)|drivers\/(?:trace|record))\//,
};

/** Files without anything to break, and those that are tests or for tests. */
const LEFT_OUT = /_test\.ts$|_bench\.ts$|_test_util\.ts$|\/mod\.ts$|\/core\.ts$/;

/** Whether a file is one that is broken with its room. */
export function isOfRoom(path: string, room: string): boolean {
  return ROOMS[room]!.test(path) && !LEFT_OUT.test(path);
}

/** Text of `--help`. */
export const USAGE: string =
  `Breaks one place of a source file at a time, and prints each change that no test sees.

Usage: deno run -A tests/mutate/main.ts [OPTION]...

  --room NAME      ${Object.keys(ROOMS).join(", ")}; may be repeated; all by default
  --file PATH      only this file; may be repeated
  --count N        changes of each room (40)
  --seconds N      begin no change after so many seconds (3600)
  --seed N         the same seed breaks the same places (1)
  --at PATH:LINE   each change of this line instead; may be repeated
  --near           the nearest tests alone: a quick look for places without a test
  --jobs N         changes at a time (${navigator.hardwareConcurrency}, the processors)
  --verbose        name the changes that are killed, too

It works on copies of the tracked files, in folders that it removes.

Example: deno run -A tests/mutate/main.ts --room drivers --file drivers/net/net.ts --count 10`;

/** The options, checked. */
export interface MutateOptions {
  readonly room: string[];
  readonly file: string[];
  readonly at: string[];
  readonly count: number;
  readonly seconds: number;
  readonly seed: number;
  readonly jobs: number;
  readonly near: boolean;
  readonly verbose: boolean;
}

/** The options of a command line, {@linkcode USAGE} if it asks for help, or the line that says what is wrong. */
export function optionsOf(args: string[], sources: readonly string[]): MutateOptions | string {
  try {
    const { values } = parseArgs({
      args,
      options: {
        room: { type: "string", multiple: true, default: Object.keys(ROOMS) },
        file: { type: "string", multiple: true, default: [] },
        at: { type: "string", multiple: true, default: [] },
        count: { type: "string", default: "40" },
        seconds: { type: "string", default: "3600" },
        seed: { type: "string", default: "1" },
        jobs: { type: "string", default: String(navigator.hardwareConcurrency) },
        near: { type: "boolean", default: false },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help) return USAGE;
    const room = values.room.find((name) => !Object.hasOwn(ROOMS, name));
    if (room !== undefined) {
      return `Cannot break room ${room}: expected ${Object.keys(ROOMS).join(", ")}`;
    }
    for (const at of values.at) {
      if (!/:\d+$/.test(at)) return `Cannot break ${at}: expected PATH:LINE`;
    }
    for (const path of [...values.file, ...values.at.map((at) => at.replace(/:\d+$/, ""))]) {
      if (sources.includes(path) && values.room.some((room) => isOfRoom(path, room))) continue;
      return `Cannot break file ${path}: expected a source file of ${values.room.join(", ")}`;
    }
    const number = (name: "count" | "seconds" | "seed" | "jobs"): number => {
      const value = Number(values[name]);
      if (Number.isInteger(value) && value >= 1) return value;
      throw new RangeError(
        `Cannot use --${name} ${values[name]}: expected an integer of 1 or more`,
      );
    };
    return {
      ...values,
      count: number("count"),
      seconds: number("seconds"),
      seed: number("seed"),
      jobs: number("jobs"),
    };
  } catch (error) {
    return (error as Error).message;
  }
}
