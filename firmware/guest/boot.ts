import { Waiter, type WaitOptions } from "@vireo/drivers/wait";
import { requireProgram } from "@vireo/hal/host";
import { type DeviceInterfaces, interfaceArgs } from "@vireo/hal/qtest";
import {
  type Bundle,
  bundleEntries,
  CODE_FLAGS,
  cpio,
  type CpioEntry,
  GUEST_DENO_DIR,
  type GuestImage,
  guestImage,
  type ImageOptions,
  IMPORT_MAP,
  moduleCaches,
  takesCode,
  writePieces,
} from "../image/mod.ts";
import { execBytes } from "../image/exec.ts";
import type { GuestRun } from "./init.ts";
import { findGuestBoard, type GuestBoard } from "./guest_board.ts";
import { GuestLine, type GuestMonitor, type GuestOutput } from "./_line.ts";
import { startQemu } from "./_qemu.ts";

/** The machine to boot, and its run. */
export interface BootOptions extends DeviceInterfaces {
  /** The board: `x86_64-microvm` or `aarch64-virt`. */
  readonly board: string;
  /** The bundled program, as {@linkcode bundle} makes it. */
  readonly program: Bundle;
  /** Its arguments. */
  readonly args?: readonly string[];
  /** Environment variables for it. */
  readonly env?: Readonly<Record<string, string>>;
  /** QEMU options for devices, for example `["-device", "virtio-rng-device"]`. */
  readonly devices?: readonly string[];
  /** More QEMU options. */
  readonly qemuArgs?: readonly string[];
  /** More words for the kernel command line. */
  readonly kernelArgs?: readonly string[];
  /** Another QEMU than the board's. */
  readonly qemu?: string | undefined;
  /** Another kernel than the image's. */
  readonly kernel?: string | undefined;
  /** Memory in MiB; 512 by default. */
  readonly memory?: number;
  /** Whether other processes can map the memory, as a vhost-user device must; false by default. */
  readonly sharedMemory?: boolean;
  /** Processors; 1 by default. */
  readonly smp?: number;
  /** `tcg` by default, or `kvm`. */
  readonly accel?: "tcg" | "kvm";
  /** Hugepages of 2 MiB for DMA; 32 by default. */
  readonly hugepages?: number;
  /** Whether the program's standard input and output are a terminal, and its size. */
  readonly terminal?: { readonly rows: number; readonly columns: number } | undefined;
  /** Standard input for the program; none by default. */
  readonly stdin?: ReadableStream<Uint8Array> | undefined;
  /**
   * Files of the host that the program writes and reads under these names: its output goes to
   * {@linkcode GuestOutput.file}, its input comes from `stdin`.
   */
  readonly files?: { readonly output?: string | undefined; readonly input?: string | undefined };
  /** Interrupts the program when it resolves, as Ctrl-C does. */
  readonly interrupt?: Promise<void> | undefined;
  /** Connects QEMU's monitor, ready for commands, when the program first asks for it. */
  readonly monitor?: (() => Promise<GuestMonitor>) | undefined;
  /** Where the program's output goes; this process's own by default. */
  readonly output?: GuestOutput;
  /** Told of the kernel's console. */
  readonly onConsole?: (bytes: Uint8Array) => void;
  /** Told QEMU's process id when it has started. */
  readonly onStart?: (pid: number) => void;
  /** Called when Linux runs and its first process is connected. */
  readonly onConnected?: () => void;
  /** Ends the guest at once. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for the whole run; none by default. */
  readonly deadline?: number | undefined;
  /** Milliseconds until the program has started; 60 000 by default. */
  readonly bootDeadline?: number;
  /** More modules of the kernel for this run, as `GuestBoard.modules`; they are not loaded. */
  readonly modules?: readonly string[];
  /** More files for the initramfs of this run. */
  readonly extra?: readonly CpioEntry[];
  /** How to make the image. */
  readonly image?: ImageOptions;
}

/** How a guest ended. */
interface BootResult {
  /** The program's exit code. */
  readonly exitCode: number;
  /** Milliseconds from QEMU's start until PID 1 was connected. */
  readonly bootMs: number;
  /** Milliseconds from QEMU's start to the end. */
  readonly totalMs: number;
}

/** MiB of memory unless told otherwise. */
const DEFAULT_MEMORY = 512;

/** Milliseconds that QEMU has to go after the program's end, before it is killed. */
const POWER_OFF_MS = 2000;

/**
 * Boots a guest, runs a program in it and powers it off.
 *
 * @throws {VireoError} `HOST_ERROR` If QEMU cannot be started or ends before the guest has, `GUEST_FAULT`
 * If the guest crashes, `TIMEOUT` If a deadline passes. The signal's reason if it is aborted.
 */
export async function bootGuest(options: BootOptions): Promise<BootResult> {
  const board = findGuestBoard(options.board);
  options.signal?.throwIfAborted();
  requireProgram(options.qemu ?? board.qemu, board.qemu);
  const image = await guestImage(board.arch, { signal: options.signal, ...options.image });
  await using cleanup = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "vireo-guest-" });
  cleanup.defer(() => removeDirectory(dir));
  const initramfs = `${dir}/initramfs.cpio`;
  await addRun(
    image,
    initramfs,
    guestRun(board, options),
    options.program,
    [
      ...await kernelModules([...board.modules ?? [], ...options.modules ?? []], image),
      ...options.extra ?? [],
    ],
  );

  const started = performance.now();
  const qemu = cleanup.use(startQemu({
    program: options.qemu ?? board.qemu,
    known: board.qemu,
    args: qemuCommandLine(board, image, options, initramfs).slice(1),
  }));
  options.onStart?.(qemu.pid);
  const line = new GuestLine(qemu, options.output, options.onConsole);
  const end = line.run(options);
  // The line's own end must not be an unhandled rejection if something else ends the race.
  end.catch(() => {});
  // QEMU has read it all by now; so nothing stays even if this process is killed.
  line.connected.then(() => {
    options.onConnected?.();
    return removeDirectory(dir);
  }).catch(() => {});
  using limits = limit(options, line.connected);
  const exitCode = await Promise.race([end, limits.failed]);
  await qemu.ended(POWER_OFF_MS);
  return { exitCode, bootMs: line.connectedAt - started, totalMs: performance.now() - started };
}

/**
 * The command line that boots an image, for people who want to start QEMU themselves.
 *
 * @param initramfs The initramfs with a program in it.
 */
export function qemuCommandLine(
  board: GuestBoard,
  image: Pick<GuestImage, "kernel">,
  options: Omit<BootOptions, "board" | "program"> & Partial<Pick<BootOptions, "program">>,
  initramfs: string,
): string[] {
  const { accel = "tcg", memory = DEFAULT_MEMORY, sharedMemory } = options;
  const kernelArgs = [
    `console=${board.line}`,
    "quiet",
    "loglevel=1",
    "panic=-1",
    // Half a second of tests of ciphers, and zeroing what is overwritten at once: 0.4 s under TCG.
    "cryptomgr.notests",
    "init_on_alloc=0",
    "rdinit=/bin/deno",
    ...board.kernelArgs(accel),
    "HOME=/root",
    "PATH=/bin",
    `DENO_DIR=${GUEST_DENO_DIR}`,
    "DENO_NO_UPDATE_CHECK=1",
    "NO_COLOR=1",
    ...takesCode(board.arch) ? [`DENO_V8_FLAGS=${CODE_FLAGS}`] : [],
    ...options.kernelArgs ?? [],
    // The arguments from here on are for PID 1.
    ...["--", "run", "-A", "--no-config", "--no-lock", "--no-remote", "--quiet"],
    // Where nothing is in the cache, filling it takes longer than a run.
    ...takesCode(board.arch) ? [] : ["--no-code-cache"],
    ...options.program?.has(IMPORT_MAP) === true ? [`--import-map=/vireo/${IMPORT_MAP}`] : [],
    "/vireo/init.js",
  ];
  return [
    board.qemu,
    ...[
      "-machine",
      `${board.machine},accel=${accel}${sharedMemory ? ",memory-backend=vireo-ram" : ""}`,
      "-cpu",
      accel === "kvm" ? "host" : board.cpu,
    ],
    ...sharedMemory
      ? ["-object", `memory-backend-memfd,id=vireo-ram,size=${memory}M,share=on`]
      : [],
    ...["-m", String(memory), "-smp", String(options.smp ?? 1)],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"],
    ...["-kernel", options.kernel ?? image.kernel, "-initrd", initramfs],
    ...["-append", kernelArgs.join(" ")],
    ...interfaceArgs(options, [...options.devices ?? [], ...options.qemuArgs ?? []]),
  ];
}

/** Settings of one run, for PID 1. */
export function guestRun(
  board: GuestBoard,
  options: Pick<BootOptions, "args" | "env" | "terminal" | "hugepages" | "files"> & {
    readonly plain?: boolean;
  },
): GuestRun {
  return {
    args: options.args ?? [],
    env: { VIREO_SHIM: "/vireo/libvireo.so", ...options.env },
    line: `/dev/${board.line}`,
    terminal: options.terminal !== undefined,
    plain: options.plain === true,
    hugepages: options.hugepages ?? 32,
    output: options.files?.output,
    input: options.files?.input,
  };
}

/**
 * Writes an initramfs with a program: the image's own, and an archive behind it.
 *
 * @param image The image.
 * @param path Where to write.
 * @param extra More files.
 * @returns What was put behind the image's own files.
 */
export async function addRun(
  image: GuestImage,
  path: string,
  run: GuestRun,
  program: Bundle,
  extra: readonly CpioEntry[] = [],
): Promise<readonly CpioEntry[]> {
  const text = new TextEncoder();
  await Deno.copyFile(image.initramfs, path);
  const added: CpioEntry[] = [
    { kind: "file", path: "vireo/run.json", data: text.encode(JSON.stringify(run)) },
    ...bundleEntries(program),
    ...await moduleCaches(program, image.manifest.arch),
    ...extra,
  ];
  await writePieces(path, cpio(added), { append: true });
  return added;
}

/** Those modules that the kernel's package has: others are built in, or only the image was kept of it. */
async function kernelModules(paths: readonly string[], image: GuestImage): Promise<CpioEntry[]> {
  const { kernel, manifest } = image;
  const name = manifest.packages[0]?.name ?? "";
  const release = name.replace(/^linux-image-/, "");
  const root = kernel.replace(/[^/]*$/, `unpacked/${name}`);
  const entries: CpioEntry[] = [];
  for (const path of paths) {
    const data = await kernelModule(root, `lib/modules/${release}/${path}`);
    if (data === undefined) continue;
    entries.push({ kind: "file", path: `vireo/${path.replace(/.*\//, "")}`, data });
  }
  return entries;
}

/**
 * A module's bytes, or undefined if the package is not there. Debian 13 packs modules with xz, and below
 * `/usr`.
 *
 * @throws {VireoError} `HOST_ERROR` If the module is packed and the host has no xz.
 */
async function kernelModule(root: string, path: string): Promise<Uint8Array | undefined> {
  for (const file of [`${root}/${path}`, `${root}/usr/${path}`]) {
    for (const packed of [false, true]) {
      try {
        if (!packed) return await Deno.readFile(file);
        await Deno.stat(`${file}.xz`);
        return await execBytes(["xz", "--decompress", "--stdout", `${file}.xz`]);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  }
  return undefined;
}

async function removeDirectory(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Milliseconds that a guest may take to boot, unless told otherwise. */
const BOOT_DEADLINE = 120_000;

/** Rejects when the run is aborted or takes too long; disposing takes the timers away. */
function limit(
  options: BootOptions,
  connected: Promise<void>,
): { readonly failed: Promise<never> } & Disposable {
  const { board, signal, deadline, bootDeadline = BOOT_DEADLINE } = options;
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => {});
  const begin = (what: string, limits: WaitOptions): Waiter<void> => {
    const waiter = new Waiter<void>({ what, details: () => ({ device: board }) }, limits).arm();
    waiter.promise.catch(reject);
    return waiter;
  };
  const boot = begin("the guest to boot", { deadline: bootDeadline });
  const run = begin("the guest to finish", { signal, deadline });
  connected.then(() => boot.resolve(), () => {});
  return {
    failed,
    [Symbol.dispose]: () => {
      boot.resolve();
      run.resolve();
    },
  };
}
