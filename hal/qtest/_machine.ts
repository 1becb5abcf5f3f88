import { VireoError } from "../errors.ts";
import { requireProgram, tiedCommand } from "../host.ts";
import { Libc, type Mapping } from "../unix/libc.ts";
import { processorTime } from "./_patience.ts";
import type { QtestBoard } from "./board.ts";

/** The most bytes of QEMU's standard error that go into an error message. */
const STDERR_TAIL = 4096;

/** Has QEMU's standard error go to a file in memory, which can be read at once when QEMU ends. */
const LAUNCH = 'exec 2>"$0"; exec "$@"';

/** Options of {@linkcode Machine.start}. */
interface MachineOptions {
  /** The machine. */
  readonly board: QtestBoard;
  /** The program. */
  readonly qemu: string;
  /** Bytes of RAM. */
  readonly memory: number;
  /** Everything after the arguments that every machine gets. */
  readonly args: readonly string[];
}

/**
 * A QEMU process, and the memory and qtest socket that it shares with this one. Neither has a name in a
 * file system, so nothing can stay behind.
 */
export class Machine {
  readonly libc: Libc;
  /** This side of the qtest connection. */
  readonly socket: number;
  /** The machine's memory. */
  readonly ram: Mapping;
  /** The process; its standard input and output are the monitor. */
  readonly process: Deno.ChildProcess;
  readonly #stderrFile: number;

  private constructor(
    libc: Libc,
    socket: number,
    ram: Mapping,
    process: Deno.ChildProcess,
    stderrFile: number,
  ) {
    this.libc = libc;
    this.socket = socket;
    this.ram = ram;
    this.process = process;
    this.#stderrFile = stderrFile;
  }

  /**
   * Starts QEMU, which may still fail after this returns.
   *
   * @throws {VireoError} `HOST_ERROR` If QEMU cannot be started.
   */
  static start(options: MachineOptions): Machine {
    const qemu = requireProgram(options.qemu, options.board.qemu);
    const libc = new Libc();
    // After a failure all of these are closed, after a success only `passed` and what QEMU has copies of.
    const opened: number[] = [];
    const passed: number[] = [];
    let ram: Mapping | undefined;
    let machine: Machine | undefined;
    const keep = (fd: number): number => {
      opened.push(fd);
      return fd;
    };
    const pass = (fd: number): number => {
      passed.push(libc.inheritable(fd));
      return passed.at(-1)!;
    };
    try {
      const { board, memory } = options;
      const ramFile = keep(libc.memoryFile("vireo-ram", memory));
      ram = libc.map(ramFile, memory);
      const stderrFile = keep(libc.memoryFile("vireo-stderr", 0));
      const [socket, theirs] = libc.socketPair();
      keep(socket);
      keep(theirs);
      const firmware: string[] = [];
      if (board.firmware !== undefined) {
        const file = keep(libc.memoryFile("vireo-firmware", board.firmware.length));
        libc.writeAt(file, new Uint8Array(board.firmware), 0);
        firmware.push("-bios", `/proc/self/fd/${pass(file)}`);
      }
      // Nothing is awaited from here to the start, so no other child of this isolate inherits these
      // descriptors. A child that another worker starts at this moment may; then QEMU's exit status or
      // the deadline of an access reveals QEMU's end, instead of the end of the connection.
      const [tied, all] = tiedCommand(qemu, [
        "-M",
        `${board.machine},memory-backend=vireo-ram`,
        "-object",
        `memory-backend-file,id=vireo-ram,size=${memory},share=on,` +
        `mem-path=/proc/self/fd/${pass(ramFile)}`,
        "-m",
        `size=${memory / 1024}k`,
        "-accel",
        "tcg",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-chardev",
        `socket,id=qtest,fd=${pass(theirs)}`,
        "-qtest",
        "chardev:qtest",
        "-qtest-log",
        "none",
        "-chardev",
        "stdio,id=vireo-qmp,signal=off",
        "-mon",
        "chardev=vireo-qmp,mode=control",
        ...firmware,
        ...board.args,
        ...options.args,
      ]);
      const process = new Deno.Command("/bin/sh", {
        args: ["-c", LAUNCH, `/proc/self/fd/${pass(stderrFile)}`, tied, ...all],
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
      }).spawn();
      for (const fd of opened) if (fd !== socket && fd !== stderrFile) libc.close(fd);
      opened.length = 0;
      machine = new Machine(libc, socket, ram, process, stderrFile);
      return machine;
    } catch (error) {
      if (ram !== undefined) libc.unmap(ram);
      for (const fd of opened) libc.close(fd);
      if (error instanceof VireoError) throw error;
      throw new VireoError("HOST_ERROR", "Cannot start QEMU", {
        seen: error instanceof Error ? error.message : String(error),
        cause: error,
      });
    } finally {
      // These copies would keep the connection open after QEMU's end.
      passed.forEach((fd) => libc.close(fd));
      if (machine === undefined) libc.dispose();
    }
  }

  /** Returns the whole lines, up to 4 KiB, that QEMU has written to its standard error last. */
  stderr(): string {
    const bytes = new Uint8Array(STDERR_TAIL);
    const start = Math.max(0, this.libc.fileSize(this.#stderrFile) - STDERR_TAIL);
    const length = this.libc.readAt(this.#stderrFile, bytes, start);
    const text = new TextDecoder().decode(bytes.subarray(0, length));
    return start === 0 ? text : text.slice(text.indexOf("\n") + 1);
  }

  /** The processor time that QEMU has spent, in milliseconds; 0 when it has ended. */
  busy(): number {
    try {
      return processorTime(Deno.readTextFileSync(`/proc/${this.process.pid}/stat`));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return 0;
      throw error;
    }
  }

  /** Kills QEMU if it still runs, and waits for its end. */
  async stop(): Promise<void> {
    try {
      this.process.kill("SIGKILL");
    } catch {
      // It ended by itself.
    }
    await this.process.status;
  }

  /** Frees the shared memory and descriptors; called after {@linkcode Machine.stop}. */
  release(): void {
    this.libc.unmap(this.ram);
    this.libc.close(this.socket);
    this.libc.close(this.#stderrFile);
    this.libc.dispose();
  }
}
