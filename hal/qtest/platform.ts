import { hex } from "../bits.ts";
import type { Dma } from "../dma.ts";
import { VireoError } from "../errors.ts";
import type { PciNode } from "../pci.ts";
import type { DeviceNode, MemoryWindow, MmioLease, MmioNode, Platform } from "../platform.ts";
import { QtestChannel } from "./_channel.ts";
import { InterruptLines } from "./_interrupts.ts";
import { Machine } from "./_machine.ts";
import { Patience } from "./_patience.ts";
import { PciHost } from "./_pci.ts";
import { SharedRam } from "../unix/shared_ram.ts";
import { QtestMmio } from "./_windows.ts";
import type { QtestBoard } from "./board.ts";
import { type DeviceInterfaces, interfaceArgs } from "./interfaces.ts";
import { Qmp } from "./qmp.ts";

/** Options of a QEMU that is started. */
export interface QtestOptions extends DeviceInterfaces {
  /** The machine. */
  readonly board: QtestBoard;
  /** A `-device` argument each, for example `virtio-rng-device`, or `virtio-rng-pci` on PCI boards. */
  readonly devices?: readonly string[];
  /** Another QEMU than the board's. */
  readonly qemu?: string;
  /** Arguments for QEMU before the devices, for example `["-drive", "if=none,id=d,file=disk.img"]`. */
  readonly extraArgs?: readonly string[];
  /** Bytes of RAM, a multiple of 1 MiB; by default the board's. */
  readonly memory?: number;
  /** Gives up the start with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the start fails; 10000 by default. */
  readonly deadline?: number;
  /** Milliseconds until a register access fails because QEMU hangs; 5000 by default. */
  readonly accessDeadline?: number;
  /**
   * Milliseconds of QEMU's own processor time until a register access fails because a device loops; no limit but
   * {@linkcode QtestOptions.accessDeadline} by default.
   */
  readonly busyDeadline?: number;
}

/**
 * A board whose devices are QEMU's and whose processor is parked: QEMU's qtest protocol makes the
 * register accesses, and the board's memory is mapped into this process.
 *
 * QEMU ends with the platform's disposal or with this process, whatever ends the process.
 *
 * @example
 * ```ts
 * import { type QtestBoard, QtestPlatform } from "@vireo/hal/qtest";
 *
 * // Asks the QEMU of a board whether its processor runs; it is parked.
 * export async function status(board: QtestBoard): Promise<unknown> {
 *   await using platform = await QtestPlatform.start({ board });
 *   return await platform.qmp.execute("query-status");
 * }
 * ```
 */
export class QtestPlatform implements Platform {
  /** The target string: `qtest:` and the board's name. */
  readonly name: string;
  /** The machine's description. */
  readonly board: QtestBoard;
  /** QEMU's monitor. */
  readonly qmp: Qmp;
  readonly #machine: Machine;
  readonly #channel: QtestChannel;
  readonly #lines: InterruptLines;
  readonly #ram: SharedRam;
  /** The virtio-mmio slots, by ascending address; none on a board that has its devices on PCI. */
  readonly slots: readonly MmioNode[];
  #pci: PciHost | undefined;
  readonly #ended: Promise<void>;
  #disposed: Promise<void> | undefined;

  private constructor(machine: Machine, board: QtestBoard, patience: Patience) {
    this.name = `qtest:${board.name}`;
    this.board = board;
    this.#machine = machine;
    machine.libc.setSocketDeadline(machine.socket, patience.slice);
    this.#channel = new QtestChannel(machine.libc, machine.socket, {
      interrupt: (line, level) => this.#lines.set(line, level),
      stderr: () => machine.stderr(),
      broken: (error) => {
        this.#lines.fail(error);
        void this.qmp.failAfterLast(error);
      },
      lasts: (slices) => patience.lasts(slices),
    });
    this.#lines = new InterruptLines(machine.libc, machine.socket, this.#channel);
    this.#ram = new SharedRam(board.ram, machine.ram.buffer);
    this.qmp = new Qmp(machine.process.stdin, machine.process.stdout);
    this.slots = slotNodes(board, this.#channel, this.#lines);
    this.#ended = machine.process.status.then(({ code, signal }) => {
      const reason = this.qmp.shutdownReason;
      const why = reason === undefined ? "" : ` after SHUTDOWN (${reason})`;
      this.#channel.fail(`QEMU ended with ${signal ?? `code ${code}`}${why}`);
    });
  }

  /**
   * Starts QEMU and connects to it.
   *
   * @throws {VireoError} `HOST_ERROR` with QEMU's standard error if it does not start; `TIMEOUT` If it
   * takes too long.
   * @throws {RangeError} If the memory is too small or not a multiple of 1 MiB.
   */
  static async start(options: QtestOptions): Promise<QtestPlatform> {
    const { board, signal, deadline = 10_000 } = options;
    signal?.throwIfAborted();
    const memory = options.memory ?? board.ram.defaultSize;
    const least = board.ram.reservedLow + board.ram.reservedHigh + 0x10_0000;
    if (memory % 0x10_0000 !== 0 || !(memory >= least) || !Number.isSafeInteger(memory)) {
      throw new RangeError(
        `Cannot give the board ${memory} bytes of memory: expected a multiple of 1 MiB, at least ${least}`,
      );
    }
    const machine = Machine.start({
      board,
      qemu: options.qemu ?? board.qemu,
      memory,
      args: interfaceArgs(options, [
        ...(options.extraArgs ?? []),
        ...(options.devices ?? []).flatMap((device) => ["-device", device]),
      ]),
    });
    const { accessDeadline = 5000, busyDeadline = Infinity } = options;
    const patience = new Patience(accessDeadline, busyDeadline, () => machine.busy());
    const platform = new QtestPlatform(machine, board, patience);
    try {
      await platform.qmp.start({ signal, deadline });
      await platform.#interceptInterrupts({ signal, deadline });
      if (board.pci !== undefined) {
        platform.#pci = new PciHost(board.pci, platform.#channel, platform.#lines);
      }
      return platform;
    } catch (error) {
      await platform[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Memory that the machine's devices can reach. */
  get dma(): Dma {
    return this.#ram;
  }

  /** Bytes that {@linkcode QtestPlatform.dma} can still hand out. */
  get freeBytes(): number {
    return this.#ram.freeBytes;
  }

  /** QEMU's process id. */
  get pid(): number {
    return this.#machine.process.pid;
  }

  /** The PCI functions, by address; none on a board without PCI. */
  get functions(): readonly PciNode[] {
    return this.#pci?.nodes ?? [];
  }

  /** Implements {@linkcode Platform.nodes}: all slots, by ascending address, or all PCI functions. */
  nodes(): readonly DeviceNode[] {
    return [...this.slots, ...this.functions];
  }

  /** Implements {@linkcode Platform.openMemory}, for ranges of the board's RAM. */
  openMemory(address: number, length: number): MemoryWindow {
    const bytes = this.#ram.window(address, length);
    if (bytes !== undefined) return { bytes, [Symbol.dispose]() {} };
    throw new VireoError(
      "BAD_ACCESS",
      "Cannot open memory: the range must be RAM of this machine",
      {
        device: this.name,
        seen: `${hex(address)} to ${hex(address + length - 1)}`,
      },
    );
  }

  /**
   * Implements {@linkcode Platform.rescan}: after `device_add`, `device_del` or `system_reset` of
   * {@linkcode QtestPlatform.qmp}. QEMU's virtio-mmio slots take no devices while it runs.
   */
  rescan(): void {
    this.#pci?.rescan();
  }

  /**
   * Implements {@linkcode Platform.diagnose}: that QEMU paused, or what it said last of a virtio device
   * on its standard error; a warning is about its arguments.
   */
  diagnose(): VireoError | undefined {
    const said = this.#machine.stderr().trim().split("\n")
      .findLast((line) => /virtio|vring|descriptor/i.test(line) && !line.includes(": warning: "));
    return this.qmp.diagnose() ??
      (said === undefined ? undefined : new VireoError("VIOLATION", `QEMU says '${said}'`));
  }

  /**
   * Sends a command of the qtest protocol, for example `clock_step 1000000`.
   *
   * @returns QEMU's answer after `OK`.
   * @throws {VireoError} `HOST_ERROR` If QEMU refuses it; the board cannot be used any more.
   */
  command(text: string): string {
    return this.#channel.command(text);
  }

  /** Ends QEMU and frees everything; every view of the board's memory becomes empty. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposed ??= this.#dispose();
  }

  async #dispose(): Promise<void> {
    this.#channel.fail("The board was disposed");
    await this.#machine.stop();
    await this.#ended;
    await this.qmp.close();
    await this.#lines.dispose();
    this.#machine.release();
  }

  async #interceptInterrupts(
    options: { signal: AbortSignal | undefined; deadline: number },
  ): Promise<void> {
    const { type, parent: path = "/machine/unattached" } = this.board.interrupts;
    const children = await this.qmp.execute("qom-list", { path }, options) as readonly {
      readonly name: string;
      readonly type: string;
    }[];
    const controller = children.find((child) => child.type === `child<${type}>`);
    if (controller === undefined) {
      throw new VireoError("HOST_ERROR", "Cannot find the interrupt controller", {
        device: this.name,
        expected: `a device of type ${type} in ${path}`,
      });
    }
    this.#channel.command(`irq_intercept_in ${path}/${controller.name}`);
  }
}

function slotNodes(
  { slots, interrupts }: QtestBoard,
  channel: QtestChannel,
  lines: InterruptLines,
): readonly MmioNode[] {
  if (slots === undefined) return [];
  return Array.from({ length: slots.count }, (_, slot): MmioNode => {
    const base = slots.base + slot * slots.size;
    const name = `virtio-mmio@${base.toString(16)}`;
    return {
      kind: "mmio",
      name,
      base,
      size: slots.size,
      irq: slots.firstIrq + slot,
      open: (): MmioLease => ({
        mmio: new QtestMmio(name, base, slots.size, channel),
        interrupt: lines.line(interrupts.firstInput + slot),
        [Symbol.dispose]() {},
      }),
    };
  });
}
