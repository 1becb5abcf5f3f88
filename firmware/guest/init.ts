/**
 * PID 1 of the guest: mounts, connects standard input and output to the host, runs the program with
 * its arguments, and powers off with its exit code. The image builder bundles this file.
 *
 * @module
 */
import { onUncaught } from "../terminal/uncaught.ts";

/** Contents of `/vireo/run.json`, which the host writes for one run. */
export interface GuestRun {
  /** Arguments for the program. */
  readonly args: readonly string[];
  /** Environment variables. */
  readonly env: Readonly<Record<string, string>>;
  /** Path of the serial line to the host. */
  readonly line: string;
  /** Whether standard input and output are a terminal. */
  readonly terminal: boolean;
  /** Whether the line itself is the terminal, because no Vireo is at its other end. */
  readonly plain?: boolean;
  /** Hugepages of 2 MiB to reserve for DMA. */
  readonly hugepages: number;
  /** Path under which the program writes a file of the host. */
  readonly output?: string | undefined;
  /** Path under which the program reads its standard input. */
  readonly input?: string | undefined;
}

/**
 * Default export of a program's bundle; one without runs by being imported.
 *
 * @returns The exit code, 0 if there is none.
 */
type GuestProgram = (args: readonly string[]) => unknown;

/** Exit code of a program that dies of an error. */
const FAILED = 1;

const { symbols: guest } = Deno.dlopen("/vireo/libguest.so", {
  vireo_guest_mount: { parameters: [], result: "i32" },
  vireo_guest_connect: { parameters: ["buffer", "u32"], result: "i32" },
  vireo_guest_plain: { parameters: ["buffer"], result: "i32" },
  vireo_guest_output: { parameters: ["buffer"], result: "i32" },
  vireo_guest_finish: { parameters: ["i32"], result: "void" },
});

function check(what: string, result: number): void {
  if (result < 0) throw new Error(`Cannot ${what} in the guest: errno ${-result}`);
}

function finish(code: number): never {
  guest.vireo_guest_finish(code);
  throw new Error("unreachable");
}

function report(error: unknown): void {
  const text = error instanceof Error ? Deno.inspect(error) : String(error);
  const bytes = new TextEncoder().encode(`Uncaught ${text}\n`);
  for (let done = 0; done < bytes.length;) done += Deno.stderr.writeSync(bytes.subarray(done));
}

function cText(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

/** Makes the directory of a path, and takes away what is there. */
async function makeRoom(path: string): Promise<void> {
  await Deno.mkdir(path.replace(/[^/]*$/, "") || ".", { recursive: true });
  await Deno.remove(path).catch(() => {});
}

/**
 * When the guest reached what, in milliseconds of this process's clock: bench/boot.ts asks. `performance.mark` takes as
 * long as two modules.
 */
const times: Record<string, number> = {};
Object.defineProperty(globalThis, Symbol.for("vireo:times"), { value: times });

function reached(what: string): void {
  times[what] = performance.now();
}

async function start(): Promise<number> {
  reached("init");
  check("mount file systems", guest.vireo_guest_mount());
  const run: GuestRun = JSON.parse(Deno.readTextFileSync("/vireo/run.json"));
  const path = cText(run.line);
  if (run.output !== undefined) {
    await makeRoom(run.output);
    check("make the host's file", guest.vireo_guest_output(cText(run.output)));
  }
  if (run.input !== undefined) {
    await makeRoom(run.input);
    await Deno.symlink("/proc/self/fd/0", run.input);
  }
  check(
    "open the line to the host",
    run.plain === true
      ? guest.vireo_guest_plain(path)
      : guest.vireo_guest_connect(path, run.terminal ? 1 : 0),
  );
  for (const [name, value] of Object.entries(run.env)) Deno.env.set(name, value);
  Deno.writeTextFileSync("/proc/sys/vm/nr_hugepages", String(run.hugepages));
  reached("connected");
  const program: { default?: unknown } = await import(`file:///vireo/${"program"}.js`);
  reached("loaded");
  if (typeof program.default !== "function") return Deno.exitCode;
  const code: unknown = await (program.default as GuestProgram)(run.args);
  return typeof code === "number" ? code : Deno.exitCode;
}

// An exit of PID 1 is a kernel panic, so that every way out of the program ends here.
Object.defineProperty(Deno, "exit", { value: (code?: number) => finish(code ?? Deno.exitCode) });
addEventListener("unload", () => finish(Deno.exitCode));
onUncaught((error) => {
  report(error);
  finish(FAILED);
});
try {
  finish(await start());
} catch (error) {
  report(error);
  finish(FAILED);
}
