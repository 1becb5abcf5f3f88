import { VireoError } from "@vireo/hal";
import { inGuest } from "./environment.ts";
import { writeAll } from "./output.ts";
import { UsageError } from "./usage.ts";

/** Where a command's bytes go: a file of the user's, or standard output. */
export interface Sink extends Disposable {
  /** The file's path; undefined for standard output. */
  readonly path: string | undefined;
  /**
   * Writes all bytes.
   *
   * @throws {VireoError} `HOST_ERROR` If the host refuses, for example because the disk is full.
   */
  write(bytes: Uint8Array): Promise<void>;
}

/**
 * Opens what `--output` or another option names, emptied, or standard output.
 *
 * @throws {VireoError} `HOST_ERROR` If the file cannot be written.
 */
export async function openSink(path: string | undefined, option = "--output"): Promise<Sink> {
  if (path === undefined) return { path, write: writeAll, [Symbol.dispose]: () => {} };
  const refused = (cause: unknown): never => {
    throw hostError(`${option}: Cannot write ${path}`, cause);
  };
  const file = await Deno.open(path, { write: true, create: true, truncate: true }).catch(refused);
  return {
    path,
    async write(bytes) {
      for (let at = 0; at < bytes.length;) {
        at += await file.write(bytes.subarray(at)).catch(refused);
      }
    },
    [Symbol.dispose]: () => file.close(),
  };
}

/** Writes a whole file, or standard output. @throws As {@linkcode openSink}. */
export async function writeOutput(path: string | undefined, bytes: Uint8Array): Promise<void> {
  using sink = await openSink(path);
  await sink.write(bytes);
}

/**
 * Opens what `--input` names.
 *
 * @throws {VireoError} `HOST_ERROR` If it cannot be read, or is a folder.
 */
export async function openInput(path: string, option = "--input"): Promise<Deno.FsFile> {
  const what = `${option}: Cannot read ${path}`;
  const file = await Deno.open(path).catch((cause) => {
    throw hostError(what, cause);
  });
  if (!(await file.stat()).isDirectory) return file;
  file.close();
  throw hostError(what, new Error("Is a directory"));
}

/**
 * Refuses to write bytes other than text to a terminal, which takes some of them for orders.
 *
 * @throws {UsageError} If standard output is a terminal and no file is named.
 */
export function keepOffTerminal(command: string, output?: string | undefined): void {
  // The host has looked before it booted a guest.
  if (output !== undefined || inGuest() || !Deno.stdout.isTerminal()) return;
  throw new UsageError(`${command}: standard output is a terminal; give -o FILE or a pipe`);
}

/**
 * Refuses to write JSON among the bytes that a command copies to standard output.
 *
 * @param what What the bytes are.
 * @throws {UsageError} If JSON is wanted and no file is named.
 */
export function keepJsonApart(
  { json, output }: { readonly json?: boolean | undefined; readonly output?: string | undefined },
  what: "bytes" | "frames",
): void {
  if (!json || output !== undefined) return;
  throw new UsageError(`--json: needs -o FILE, standard output has the ${what}`);
}

/** The error of a host that refuses: what, and why in its words. */
export function hostError(what: string, cause: unknown): VireoError {
  return new VireoError("HOST_ERROR", `${what}: ${hostWords(cause)}`);
}

/** Whether an error is the host's refusal of a call, and not a mistake of a program. */
export function isHostError(error: unknown): error is Error {
  // Deno's own errors have the number, those of Node's modules the call.
  return error instanceof Error && (/\(os error \d+\)/.test(error.message) || "syscall" in error);
}

/** The host's words for an error, without the number and the call that Deno adds. */
function hostWords(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/ \(os error \d+\)(: \w+ '.*')?$/s, "");
}
