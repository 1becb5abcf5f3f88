import type { StreamPort } from "@vireo/emu";
import { bootGuest, findGuestBoard, type GuestOutput } from "../guest/mod.ts";
import type { GuestCall } from "../commands/command.ts";
import { bundleSource, publishedModules } from "../image/mod.ts";
import { openInput, openSink, type Sink } from "../terminal/files.ts";
import { HostPorts } from "../target/host_ports.ts";
import {
  CALL_VARIABLE,
  GUEST_VARIABLE,
  SHELL_PORT,
  SHELL_TERMINAL,
  SOURCES_VARIABLE,
  STACKS_VARIABLE,
} from "../terminal/environment.ts";
import { showsAllFrames } from "../terminal/frames.ts";
import type { BoardOptions } from "../target/options.ts";
import { explainKvm, KVM_BOOT_DEADLINE, requireKvm } from "../target/kvm.ts";
import { INTERRUPTED } from "../terminal/interrupts.ts";
import { note } from "../terminal/output.ts";
import { requireQemu } from "../target/qemu_program.ts";
import { toFileUrl } from "../terminal/paths.ts";
import { ServedDevices } from "../serve/served_devices.ts";
import { deviceInterfaces, isOnPci, qemuArguments } from "../target/qemu_arguments.ts";
import { BootProgress } from "./boot_progress.ts";
import { GuestInterrupts } from "./interrupts.ts";
import { connectShell } from "../commands/guest_shell.ts";
import { watchPauses } from "../target/paused.ts";
import { parseTarget } from "../target/target.ts";

/** A command line to run in a guest. */
export interface GuestCommand {
  /** The board. */
  readonly board: BoardOptions;
  /** The command line, as it was given on the host. */
  readonly args: readonly string[];
  /** The same, parsed; the board is the one above. */
  readonly call: Omit<GuestCall, "board">;
  /** The user's script, if the command runs one. */
  readonly script?: string | undefined;
  /** The file on the host that the command writes. */
  readonly output?: string | undefined;
  /** The file on the host that the command reads. */
  readonly input?: string | undefined;
  /** Kind of the command's standard input. */
  readonly stdin: "none" | "pipe" | "terminal";
  /** Environment variables for the command. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Commands with a REPL, whose user may import what Vireo publishes. */
const REPLS: ReadonlySet<string> = new Set(["boot", "shell"]);

/**
 * Boots the board's guest, runs a command line in it, and powers it off.
 *
 * @returns The command's exit code.
 * @throws {VireoError} If the guest cannot be booted or does not end by itself.
 */
export async function runInGuest(command: GuestCommand): Promise<number> {
  const { board } = command;
  const { name } = parseTarget(board.target).board!;
  const { accel, memory, smp } = board;
  const guest = findGuestBoard(name);
  const kvm = accel === "kvm";
  if (kvm) await requireKvm(guest.arch);
  // Before the output file is emptied.
  await requireQemu(guest, board.qemu);
  if (board.kernel !== undefined) (await openInput(board.kernel, "--kernel")).close();
  await using cleanup = new AsyncDisposableStack();
  using output = command.output === undefined ? undefined : await openSink(command.output);
  // Closed by its stream.
  const input = command.input === undefined ? undefined : await openInput(command.input);
  const program = await bundleSource(guestEntry(command.script), {
    modules: REPLS.has(command.call.name) ? await publishedModules() : [],
  });
  const { console: consoleFlag }: { readonly console?: string } = command.call.flags;
  const onPort = consoleFlag === "virtio";
  const ports = cleanup.use(
    await HostPorts.listen({ more: onPort ? [SHELL_PORT] : [], monitor: true }),
  );
  const served = cleanup.use(await ServedDevices.start(board, isOnPci(board)));
  const { backends, devices } = qemuArguments(board, ports.ports, served);
  const terminal = command.stdin === "terminal";
  const size = terminal ? Deno.consoleSize() : undefined;
  let shell: Promise<void> | undefined;
  using interrupts = new GuestInterrupts();
  using progress = new BootProgress(name);
  const to = outputs(output, () => {
    progress.end();
    interrupts.ready();
  });
  const paused = new AbortController();
  const keyboard = (): ReadableStream<Uint8Array> =>
    terminal ? Deno.stdin.readable.pipeThrough(interrupts.keys()) : Deno.stdin.readable;
  if (terminal) Deno.stdin.setRaw(true);
  try {
    const { exitCode } = await bootGuest({
      board: name,
      program,
      args: command.args,
      env: {
        [GUEST_VARIABLE]: "1",
        [CALL_VARIABLE]: JSON.stringify({ ...command.call, board } satisfies GuestCall),
        [SOURCES_VARIABLE]: new URL("../../", import.meta.url).href,
        ...showsAllFrames() ? { [STACKS_VARIABLE]: "1" } : {},
        ...onPort && size !== undefined
          ? { [SHELL_TERMINAL]: JSON.stringify({ ...size, colors: !Deno.noColor }) }
          : {},
        // Names the terminal's abilities; without a terminal it does not matter.
        ...terminal ? { TERM: Deno.env.get("TERM") ?? "dumb" } : {},
        ...command.env,
      },
      devices: [
        ...ports.monitorArguments,
        ...backends,
        ...devices.flatMap((device) => ["-device", device]),
      ],
      ...deviceInterfaces(board),
      stdin: input?.readable ??
        (onPort || command.stdin === "none" ? undefined : keyboard()),
      terminal: onPort ? undefined : size,
      output: to,
      monitor: () => ports.monitor(),
      // QEMU's own end tells what went wrong if it never connects.
      onStart: () => {
        progress.begin();
        void ports.connect().then(discard).catch(() => {});
        // A guest whose machine is paused says nothing itself.
        void ports.watch().then((qmp) =>
          watchPauses(qmp, {
            failed: (error) => paused.abort(error),
            paused: ({ message }) => console.error(`vireo: ${message}`),
          })
        ).catch(() => {});
        if (onPort) {
          shell = ports.port(SHELL_PORT)
            .then((port) => connectShell(port, keyboard(), to.stdout)).catch(() => {});
        }
      },
      onConnected: () => progress.booted(),
      sharedMemory: board.served.length > 0,
      files: { output: command.output, input: command.input },
      signal: AbortSignal.any([interrupts.signal, paused.signal]),
      interrupt: interrupts.first,
      ...kvm ? { bootDeadline: KVM_BOOT_DEADLINE } : {},
      qemu: board.qemu,
      kernel: board.kernel,
      ...accel === undefined ? {} : { accel },
      ...memory === undefined ? {} : { memory },
      ...smp === undefined ? {} : { smp },
      image: { onProgress: note },
    });
    // Its connection has ended with QEMU, but may not have been read to the end.
    await shell;
    return exitCode;
  } catch (error) {
    if (interrupts.signal.aborted) return INTERRUPTED;
    throw kvm ? explainKvm(error) : error;
  } finally {
    if (terminal) Deno.stdin.setRaw(false);
  }
}

/** The text of the guest's program, with the user's script if there is one. */
export function guestEntry(script?: string): string {
  const main = JSON.stringify(new URL("./main.ts", import.meta.url).href);
  if (script === undefined) return `export { default, initShell } from ${main};\n`;
  return `import { guestMain } from ${main};
export default guestMain(() => import(${JSON.stringify(toFileUrl(script))}));\n`;
}

/** Reads what the guest sends to the port that has no one behind it. */
async function discard(port: StreamPort): Promise<void> {
  await port.readable.pipeTo(new WritableStream());
}

type Writer = { write(bytes: Uint8Array): Promise<number> };

/** @param wrote Called before each time that something is written. */
function outputs(file: Sink | undefined, wrote: () => void): GuestOutput {
  const to = (writer: Writer) => async (bytes: Uint8Array): Promise<void> => {
    wrote();
    for (let at = 0; at < bytes.length;) at += await writer.write(bytes.subarray(at));
  };
  return {
    stdout: to(Deno.stdout),
    stderr: to(Deno.stderr),
    ...(file === undefined ? {} : { file: (bytes: Uint8Array) => file.write(bytes) }),
  };
}
