/**
 * Programs of the host: where they are, and which Debian package contains them.
 *
 * @example
 * ```ts
 * import { debianPackage, findProgram } from "@vireo/hal/host";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(debianPackage("tar"), "tar");
 * assertEquals(findProgram("no-such-program"), undefined);
 * ```
 *
 * @module
 */
import { VireoError } from "./errors.ts";

/** The Debian package of each program that Vireo runs and that a host may lack. */
const PACKAGES: Readonly<Record<string, string>> = {
  "qemu-system-x86_64": "qemu-system-x86",
  "qemu-system-aarch64": "qemu-system-arm",
  "apt-cache": "apt",
  "apt-get": "apt",
  "dpkg-deb": "dpkg",
  "gcc": "gcc",
  "x86_64-linux-gnu-gcc": "gcc-x86-64-linux-gnu",
  "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
  "npm": "npm",
  "tar": "tar",
  "xz": "xz-utils",
};
/** The first Debian with a package of its own for RISC-V's QEMU. */
const RISCV_RELEASE = 13;

/**
 * Names the Debian package that contains a program.
 *
 * @param program The program's name.
 * @param osRelease The text of `/etc/os-release`; this host's by default.
 * @returns The package's name; for an unknown program, the program's own name.
 *
 * @example
 * ```ts
 * import { debianPackage } from "@vireo/hal/host";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(debianPackage("xz"), "xz-utils");
 * ```
 */
export function debianPackage(program: string, osRelease: string = hostRelease()): string {
  if (program !== "qemu-system-riscv64") return PACKAGES[program] ?? program;
  const version = /^VERSION_ID="?(\d+)/m.exec(osRelease)?.[1];
  const old = /^ID="?debian"?$/m.test(osRelease) && version !== undefined;
  return old && Number(version) < RISCV_RELEASE ? "qemu-system-misc" : "qemu-system-riscv";
}

/**
 * Makes the error for a program that cannot be run; it names the Debian package to install.
 *
 * @param program The program, as the caller named it.
 * @param why What is wrong, as a sentence without a full stop.
 * @param known The Debian program that it stands in for; the program itself by default.
 *
 * @example
 * ```ts
 * import { programError } from "@vireo/hal/host";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(
 *   programError("tshark", "it is not installed").message,
 *   "Cannot run tshark: it is not installed; tshark is in Debian's package tshark",
 * );
 * ```
 */
export function programError(
  program: string,
  why: string,
  known: string = program,
): VireoError {
  const advice = known.includes("/")
    ? ""
    : `; ${known} is in Debian's package ${debianPackage(known)}`;
  return new VireoError("HOST_ERROR", `Cannot run ${program || "''"}: ${why}${advice}`);
}

/**
 * Finds a program that must be there.
 *
 * @param program A name, which is looked up in the folders of PATH, or a path.
 * @param known The Debian program that it stands in for; the program itself by default.
 * @returns Its path.
 * @throws {VireoError} `HOST_ERROR` If this user can run no such program; the message names the Debian
 * package.
 *
 * @example
 * ```ts
 * import { requireProgram } from "@vireo/hal/host";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(requireProgram("/bin/sh"), "/bin/sh");
 * ```
 */
export function requireProgram(program: string, known: string = program): string {
  const path = findProgram(program);
  if (path !== undefined) return path;
  const why = program.includes("/") ? faultOf(program)! : "no folder of PATH has it";
  throw programError(program, why, known);
}

/**
 * Finds a program as a shell does.
 *
 * @param program A name, which is looked up in the folders of PATH, or a path.
 * @returns Its path, or undefined if this user can run no such program.
 *
 * @example
 * ```ts
 * import { findProgram } from "@vireo/hal/host";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([findProgram("/bin/sh"), findProgram("/bin")], ["/bin/sh", undefined]);
 * ```
 */
export function findProgram(program: string): string | undefined {
  const folders = (Deno.env.get("PATH") ?? "/usr/bin:/bin").split(":");
  const paths = program.includes("/")
    ? [program]
    : folders.map((dir) => `${dir || "."}/${program}`);
  return paths.find((path) => faultOf(path) === undefined);
}

/**
 * A command line whose process the kernel kills when this one dies, however it dies; by `setpriv` of util-linux, and
 * without it as it is.
 *
 * @param program A name or a path.
 * @param args Its arguments.
 * @returns The program to start, and its arguments.
 *
 * @example
 * ```ts
 * import { tiedCommand } from "@vireo/hal/host";
 * import { assertEquals } from "@std/assert";
 *
 * const [program, args] = tiedCommand("sleep", ["60"]);
 * const process = new Deno.Command(program, { args }).spawn();
 * process.kill();
 * assertEquals((await process.status).signal, "SIGTERM");
 * ```
 */
export function tiedCommand(program: string, args: readonly string[]): [string, string[]] {
  const supervisor = findProgram("setpriv");
  return supervisor === undefined
    ? [program, [...args]]
    : [supervisor, ["--pdeathsig", "KILL", "--", program, ...args]];
}

/**
 * Whether this user may run a file of this mode and owner. A group other than the user's own may be one of the user's
 * too. `access` would know, but Deno's `node:fs` takes as long to load as all of Vireo: 0.7 s in a guest.
 */
function mayRun(mode: number, owner: number | null, group: number | null): boolean {
  const user = Deno.uid();
  if (user === 0) return (mode & 0o111) !== 0;
  if (user === owner) return (mode & 0o100) !== 0;
  return (mode & (Deno.gid() === group ? 0o010 : 0o011)) !== 0;
}

/** Why a file cannot be run, or undefined if it can. */
function faultOf(path: string): string | undefined {
  try {
    const { isFile, isDirectory, mode, uid, gid } = Deno.statSync(path);
    if (!isFile) return isDirectory ? "it is a folder" : "it is not a file";
    return mayRun(mode ?? 0, uid, gid) ? undefined : "this user may not run it";
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    return missing ? "there is no such file" : "this user may not run it";
  }
}

function hostRelease(): string {
  try {
    return Deno.readTextFileSync("/etc/os-release");
  } catch {
    return ""; // not a Debian
  }
}
