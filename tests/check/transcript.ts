// deno-lint-ignore-file no-console -- a program
/**
 * Lists what each check does to the devices of the emulator: the registers that it reads, each value and byte that it writes,
 * and what it looks at, in the order in which they come first; and how many writes and looks there are in all.
 * `deno run -A tests/check/transcript.ts >tests/check/transcript.txt` writes the table again; `--check ID` prints all that a
 * check does, to compare it with what it did before a change.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { CHECKS } from "../../firmware/check/checks/table.ts";
import { CheckContext } from "../../firmware/check/context.ts";
import { show } from "../../firmware/check/failure.ts";
import { Log, type LogEntry } from "../../firmware/check/raw/log.ts";
import { runChecks } from "../../firmware/check/run_checks.ts";
import { emulatorBench, richBench } from "./bench.ts";

/** Machines with all that checks are about. */
const BENCHES = {
  mmio: () => emulatorBench({}),
  several: richBench,
  legacy: () => emulatorBench({ legacy: true }),
  packed: () => emulatorBench({ packed: true, inOrder: true, notificationData: true }),
  pci: () => emulatorBench({ transport: "pci" }),
  "pci-legacy": () => emulatorBench({ transport: "pci", legacy: true }),
} as const;

/** Devices that stand for all others where what a check does depends on the transport or the ring: disk and entropy. */
const FEW: ReadonlySet<number> = new Set([2, 4]);
/** The device whose random bytes decide what follows, where a check has it write them into its own ring. */
const ENTROPY = 4;

/** Hands on each entry: the log itself keeps the first ones only. */
class Listener extends Log {
  readonly #told: (entry: LogEntry) => void;

  constructor(told: (entry: LogEntry) => void) {
    super();
    this.#told = told;
  }

  override add(entry: LogEntry): void {
    this.#told(entry);
    super.add(entry);
  }
}

/** An entry as a line. Values that were read are the device's, and reads may be repeated: they stand for themselves. */
function words(entry: LogEntry): string {
  switch (entry.op) {
    case "read":
      return `read${8 * entry.width} ${entry.window} ${entry.offset}`;
    case "write": {
      const { window, offset, width, value, place } = entry;
      return `write${8 * width} ${window} ${offset} ${
        place === undefined ? value : `${place.part} of ${place.at}`
      }`;
    }
    case "call":
      return `call ${entry.code}`;
    case "bytes":
      return `put ${entry.at} ${entry.bytes.toHex()}`;
    case "pointer":
      return `point ${entry.at} ${entry.to}`;
    case "note":
      return `note ${entry.text}`;
  }
}

/** Actions of a check on all machines. */
interface Actions {
  /** The different ones, in the order in which they came first. */
  readonly different: Set<string>;
  /** Number of all that are no reads: a value may be read again until it is there. */
  writes: number;
  /** Number of looks whether something is as it must be. */
  looks: number;
}

/** Lists the actions of each check. */
async function transcripts(only?: string): Promise<Map<string, Actions>> {
  const all = new Map<string, Actions>();
  const none = (): Actions => ({ different: new Set(), writes: 0, looks: 0 });
  let into = none();
  let place = "";
  const { equal, expect } = CheckContext.prototype;
  const looked = (what: string, expected: unknown): void => {
    into.looks++;
    into.different.add(`${place} look at ${what}: ${show(expected)}`);
  };
  CheckContext.prototype.equal = function (what, seen, expected): void {
    looked(what, expected);
    equal.call(this, what, seen, expected);
  };
  CheckContext.prototype.expect = function (what, holds, seen, expected): void {
    looked(what, expected);
    expect.call(this, what, holds, seen, expected);
  };
  for (const [name, open] of Object.entries(BENCHES)) {
    let id = 0;
    await runChecks({
      checks: CHECKS.filter((check) => only === undefined || check.id === only),
      open,
      devices: (device) => {
        id = device.id;
        return name === "mmio" || name === "several" || FEW.has(id);
      },
      pace: { deadline: 10_000, quiet: 0 },
      log: new Listener((entry) => {
        into.different.add(`${place} ${words(entry)}`);
        if (entry.op !== "read") into.writes++;
      }),
      onStart: (check, device) => {
        place = `${name} ${device}`;
        if (id === ENTROPY && /(?<!^request)\.hostile\./.test(check)) return;
        into = all.get(check) ?? none();
        all.set(check, into);
      },
      onResult: () => into = none(),
    });
  }
  Object.assign(CheckContext.prototype, { equal, expect });
  return all;
}

/** The table: each check, how many different actions it has, how many writes and looks in all, and a digest of the actions. */
export async function table(): Promise<string[]> {
  const lines: string[] = [];
  for (const [check, { different, writes, looks }] of await transcripts()) {
    const bytes = new TextEncoder().encode([...different].join("\n"));
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    lines.push(`${check}: ${different.size} ${writes} ${looks} ${digest.toHex().slice(0, 12)}`);
  }
  return lines.sort();
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { check: { type: "string" } } });
  const lines = values.check === undefined
    ? await table()
    : [...(await transcripts(values.check)).get(values.check)?.different ?? []];
  console.log(lines.join("\n"));
}
