import { VireoError } from "../errors.ts";
import { requireProgram } from "../host.ts";
import { Libc, type Mapping } from "../unix/libc.ts";
import type { QtestBoard } from "./board.ts";

/** How much of QEMU's standard error goes into an error message. */
const STDERR_TAIL = 4096;

/**
 * Starts QEMU so that it dies with this process, whatever ends this process, and so that what it
 * says is at hand at once when it ends: standard error goes to a file in memory.
 */
const LAUNCH = 'exec 2>"$0"; if command -v setpriv >/dev/null; ' +
  'then exec setpriv --pdeathsig KILL "$@"; else exec "$@"; fi';

/** What {@linkcode Machine.start} needs to know. */
export interface MachineOptions {
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
 * A QEMU process and what it shares with this one: its memory and the qtest socket. None of it has
 * a name in a file system, so nothing can stay behind.
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
   * Starts QEMU; it may still fail after this returned.
   *
   * @throws {VireoError} `HOST_ERROR` If the host has not what it takes.
   */
  static start(options: MachineOptions): Machine {
    const qemu = requireProgram(options.qemu, options.board.qemu);
    const libc = new Libc();
    // Closed again in reverse order when a step fails, or `passed` alone when all went well.
    const opened: number[] = [];
    const passed: number[] = [];
    let ram: Mapping | undefined;
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
      // From here to the start nothing is awaited, so no other child of this isolate inherits these
      // descriptors. One that another worker starts just now may: then QEMU's end is noticed by its
      // exit status, or by the deadline of an access, instead of the end of the connection.
      const process = new Deno.Command("/bin/sh", {
        args: [
          "-c",
          LAUNCH,
          `/proc/self/fd/${pass(stderrFile)}`,
          qemu,
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
        ],
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
      }).spawn();
      for (const fd of opened) if (fd !== socket && fd !== stderrFile) libc.close(fd);
      opened.length = 0;
      return new Machine(libc, socket, ram, process, stderrFile);
    } catch (error) {
      if (ram !== undefined) libc.unmap(ram);
      for (const fd of opened) libc.close(fd);
      passed.splice(0).forEach((fd) => libc.close(fd));
      libc.dispose();
      if (error instanceof VireoError) throw error;
      throw new VireoError("HOST_ERROR", "Cannot start QEMU", {
        seen: error instanceof Error ? error.message : String(error),
        cause: error,
      });
    } finally {
      // Ours would keep the connection open after QEMU's end.
      passed.forEach((fd) => libc.close(fd));
    }
  }

  /** The end of what QEMU said on its standard error so far. */
  stderr(): string {
    const bytes = new Uint8Array(STDERR_TAIL);
    const length = this.libc.readAt(this.#stderrFile, bytes, 0);
    return new TextDecoder().decode(bytes.subarray(0, length));
  }

  /** Ends QEMU if it still runs, and waits until it did. */
  async stop(): Promise<void> {
    try {
      this.process.kill("SIGKILL");
    } catch {
      // It ended by itself.
    }
    await this.process.status;
  }

  /** Frees everything that was shared; after {@linkcode Machine.stop}. */
  release(): void {
    this.libc.unmap(this.ram);
    this.libc.close(this.socket);
    this.libc.close(this.#stderrFile);
    this.libc.dispose();
  }
}
