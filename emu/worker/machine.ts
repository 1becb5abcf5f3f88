/**
 * An emulated machine whose devices run in a thread of their own.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rngDriver } from "@vireo/drivers/rng";
 * import { WorkerMachine } from "@vireo/emu/worker";
 *
 * // The module's default function returns an entropy device.
 * export async function readEntropy(module: URL): Promise<Uint8Array> {
 *   await using machine = await WorkerMachine.create({ module });
 *   await using bus = new Bus();
 *   await bus.registerDriver(rngDriver);
 *   await bus.addPlatform(machine);
 *   return await bus.get(rngDriver)!.read(16);
 * }
 * ```
 *
 * @module
 */
import {
  type Dma,
  type Interrupt,
  type InterruptWait,
  type MemoryWindow,
  type Mmio,
  type MmioLease,
  type MmioNode,
  MmioRegister,
  mmioRegisterName,
  type Platform,
  VireoError,
} from "@vireo/hal";
import { EmuDma, GuestMemory } from "../memory.ts";
import type { RingOptions } from "../offer.ts";
import {
  CONTROL_BYTES,
  MAX_SLOTS,
  POSTED_COUNT,
  RequestState,
  Word,
  type WorkerAnswer,
  type WorkerNode,
  type WorkerStart,
} from "./_protocol.ts";

const DEFAULT_MEMORY = 64 * 1024 * 1024;
/** Polls for an answer before the thread sleeps; most answers come within a few microseconds. */
const SPINS = 2000;

/** Options of {@linkcode WorkerMachine}. */
export interface WorkerMachineOptions {
  /**
   * URL of a module whose default export makes the devices in the worker. It is a function that takes
   * `options` and returns models or `MachineDevice`s, or a promise of them.
   */
  readonly module: string | URL;
  /** Plain data for that function. */
  readonly options?: unknown;
  /** Guest RAM in bytes, a multiple of 4096; 64 MiB by default. */
  readonly memorySize?: number;
  /** Number of slots, at most 64. */
  readonly slots?: number;
  /** Abilities of the rings of all devices, unless a device says otherwise. */
  readonly ring?: RingOptions;
  /** Milliseconds that the worker may take to start or to answer an access; 5000 by default. */
  readonly deadline?: number;
  /** Ends the start with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * A machine whose devices run in a `Worker` over shared memory, so that two real threads use the rings.
 *
 * A register access returns after its answer, as on hardware. Only QueueNotify is posted, in order with the
 * other accesses, so that driver and device run at the same time.
 *
 * @example
 * ```ts
 * import { WorkerMachine } from "@vireo/emu/worker";
 *
 * // The module's default export is a function that returns the device models.
 * async function start(module: URL): Promise<number> {
 *   await using machine = await WorkerMachine.create({ module, deadline: 10_000 });
 *   return machine.nodes().length;
 * }
 * ```
 */
export class WorkerMachine implements Platform {
  /** The target string. */
  readonly name = "emu";
  /** Guest RAM. */
  readonly memory: GuestMemory;
  /** Allocates from guest RAM. */
  readonly dma: Dma;
  readonly #worker: Worker;
  readonly #control: Int32Array;
  readonly #deadline: number;
  readonly #answers = new AnswerBox();
  #nodes: readonly WorkerNode[] = [];
  #failure: string | undefined;

  private constructor(options: WorkerMachineOptions, control: SharedArrayBuffer) {
    const memory = new SharedArrayBuffer(options.memorySize ?? DEFAULT_MEMORY);
    this.memory = new GuestMemory(memory);
    this.dma = new EmuDma(this.memory);
    this.#control = new Int32Array(control);
    this.#deadline = options.deadline ?? 5000;
    this.#worker = new Worker(new URL("./host.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<WorkerAnswer>) => {
      if (data.kind === "failed") this.#fail(data.message);
      this.#answers.put(data);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message);
      this.#answers.put({ kind: "failed", message: event.message });
    };
    const start: WorkerStart = {
      module: String(options.module),
      options: options.options,
      control,
      memory,
      slots: options.slots,
      ring: options.ring,
    };
    this.#worker.postMessage(start);
  }

  /**
   * Starts the worker and makes its devices.
   *
   * @throws {VireoError} `HOST_ERROR` with the worker's error if it fails, `TIMEOUT` if it takes too long.
   * @throws {RangeError} If there are too many slots.
   */
  static async create(options: WorkerMachineOptions): Promise<WorkerMachine> {
    if ((options.slots ?? 0) > MAX_SLOTS) {
      throw new RangeError(`Cannot make ${options.slots} slots: expected at most ${MAX_SLOTS}`);
    }
    options.signal?.throwIfAborted();
    const machine = new WorkerMachine(options, new SharedArrayBuffer(CONTROL_BYTES));
    try {
      const answer = await machine.#answers.take(machine.#deadline, options.signal);
      if (answer.kind !== "ready") throw machine.#error();
      machine.#nodes = answer.nodes;
      return machine;
    } catch (error) {
      machine.#worker.terminate();
      throw error;
    }
  }

  /** All slots, by ascending address. */
  nodes(): readonly MmioNode[] {
    return this.#nodes.map((node, slot) => ({
      kind: "mmio",
      ...node,
      open: (): MmioLease => ({
        mmio: new WorkerMmio(
          node,
          (write, width, offset, value) => this.#access(slot, write, width, offset, value),
        ),
        interrupt: this.#interrupt(slot),
        [Symbol.dispose]() {},
      }),
    }));
  }

  /** Opens a range of guest RAM. The worker keeps the shared memory regions of its devices. */
  openMemory(address: number, length: number): MemoryWindow {
    if (!this.memory.contains(address, length)) {
      throw new VireoError("BAD_ACCESS", "Cannot open guest RAM of this machine", {
        device: this.name,
        seen: address,
        base: 16,
      });
    }
    const at = address - this.memory.base;
    return { bytes: this.memory.bytes.subarray(at, at + length), [Symbol.dispose]() {} };
  }

  /** Disposes the models in the worker and ends it; drivers must have been removed. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#failure === undefined) {
        this.#worker.postMessage("dispose");
        this.#ring();
        await this.#answers.take(this.#deadline, undefined);
      }
    } finally {
      this.#fail("The machine was disposed");
      this.#worker.terminate();
    }
  }

  #access(
    slot: number,
    write: boolean,
    width: 1 | 2 | 4,
    offset: number,
    value: number,
  ): number {
    if (this.#failure !== undefined) throw this.#error();
    const control = this.#control;
    if (write && width === 4 && offset === MmioRegister.QueueNotify && this.#post(slot, value)) {
      return 0;
    }
    control[Word.WRITE] = write ? 1 : 0;
    control[Word.SLOT] = slot;
    control[Word.WIDTH] = width;
    control[Word.OFFSET] = offset;
    control[Word.VALUE] = value;
    // Orders the request's words before its state.
    Atomics.store(control, Word.STATE, RequestState.REQUESTED);
    this.#ring();
    for (let i = 0; i < SPINS; i++) {
      if (Atomics.load(control, Word.STATE) === RequestState.DONE) return this.#answered();
    }
    const end = performance.now() + this.#deadline;
    while (Atomics.load(control, Word.STATE) !== RequestState.DONE) {
      const left = end - performance.now();
      if (left <= 0) {
        this.#fail(`No answer within ${this.#deadline} ms`);
        throw new VireoError(
          "TIMEOUT",
          `Timed out after ${this.#deadline} ms waiting for the devices' thread to answer`,
          {
            device: this.#nodes[slot]?.name,
            register: mmioRegisterName(offset),
          },
        );
      }
      Atomics.wait(control, Word.STATE, RequestState.REQUESTED, left);
    }
    return this.#answered();
  }

  #answered(): number {
    const control = this.#control;
    Atomics.store(control, Word.STATE, RequestState.IDLE);
    if (Atomics.load(control, Word.FAILED) !== 0) {
      this.#fail("The devices' thread failed");
      throw this.#error();
    }
    return control[Word.VALUE]! >>> 0;
  }

  /** Posts a notification; false if too many wait, and the caller must make a request instead. */
  #post(slot: number, value: number): boolean {
    const control = this.#control;
    const added = control[Word.POSTED_ADDED]!;
    if (((added - Atomics.load(control, Word.POSTED_TAKEN)) | 0) >= POSTED_COUNT) return false;
    const at = Word.POSTED + 2 * (added & (POSTED_COUNT - 1));
    control[at] = slot;
    control[at + 1] = value;
    // Orders the entry, and the ring in guest memory that it names, before the position.
    Atomics.store(control, Word.POSTED_ADDED, (added + 1) | 0);
    this.#ring();
    return true;
  }

  #ring(): void {
    Atomics.add(this.#control, Word.DOORBELL, 1);
    Atomics.notify(this.#control, Word.DOORBELL);
  }

  #interrupt(slot: number): Interrupt {
    const control = this.#control;
    return {
      polled: false,
      wait: async ({ signal }: InterruptWait): Promise<void> => {
        // A pending waitAsync cannot be cancelled, so this wakes it; waking the others does no harm.
        const wake = (): void => void Atomics.notify(control, Word.INTERRUPTS);
        signal.addEventListener("abort", wake);
        try {
          for (;;) {
            signal.throwIfAborted();
            if (this.#failure !== undefined) throw this.#error();
            const seen = Atomics.load(control, Word.INTERRUPTS);
            if (Atomics.load(control, Word.LEVELS + slot) !== 0) return;
            const wait = Atomics.waitAsync(control, Word.INTERRUPTS, seen);
            if (wait.async) await wait.value;
          }
        } finally {
          signal.removeEventListener("abort", wake);
        }
      },
    };
  }

  #fail(message: string): void {
    this.#failure ??= message;
    Atomics.add(this.#control, Word.INTERRUPTS, 1);
    Atomics.notify(this.#control, Word.INTERRUPTS);
  }

  #error(): VireoError {
    return new VireoError("HOST_ERROR", "Cannot reach the devices' thread: it has ended", {
      device: this.name,
      seen: this.#failure ?? "no reason",
    });
  }
}

/** Queues the worker's messages for the next waiter. */
class AnswerBox {
  readonly #answers: WorkerAnswer[] = [];
  #waiter: ((answer: WorkerAnswer) => void) | undefined;

  put(answer: WorkerAnswer): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter === undefined) this.#answers.push(answer);
    else waiter(answer);
  }

  take(deadline: number, signal: AbortSignal | undefined): Promise<WorkerAnswer> {
    const first = this.#answers.shift();
    if (first !== undefined) return Promise.resolve(first);
    const { promise, resolve, reject } = Promise.withResolvers<WorkerAnswer>();
    const timer = setTimeout(
      () =>
        reject(
          new VireoError(
            "TIMEOUT",
            `Timed out after ${deadline} ms waiting for the worker to answer`,
          ),
        ),
      deadline,
    );
    const onAbort = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    this.#waiter = resolve;
    return promise.finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    });
  }
}

type Access = (write: boolean, width: 1 | 2 | 4, offset: number, value: number) => number;

/** A register window of a slot in the worker. */
class WorkerMmio implements Mmio {
  readonly name: string;
  readonly size: number;
  readonly #access: Access;

  constructor(node: WorkerNode, access: Access) {
    this.name = node.name;
    this.size = node.size;
    this.#access = access;
  }

  read8(offset: number): number {
    return this.#access(false, 1, offset, 0);
  }

  read16(offset: number): number {
    return this.#access(false, 2, offset, 0);
  }

  read32(offset: number): number {
    return this.#access(false, 4, offset, 0);
  }

  write8(offset: number, value: number): void {
    this.#access(true, 1, offset, value);
  }

  write16(offset: number, value: number): void {
    this.#access(true, 2, offset, value);
  }

  write32(offset: number, value: number): void {
    this.#access(true, 4, offset, value);
  }
}
