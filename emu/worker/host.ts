/**
 * The devices' thread of a `WorkerMachine`: hosts an emulated machine over shared memory.
 *
 * @module
 */
import type { DeviceModel } from "../device.ts";
import { EmulatedMachine, type MachineDevice } from "../machine.ts";
import { GuestMemory } from "../memory.ts";
import {
  POSTED_COUNT,
  RequestState,
  Word,
  type WorkerAnswer,
  type WorkerStart,
} from "./_protocol.ts";
import { MmioRegister } from "@vireo/hal";

/** Rounds without a pause after which the worker's timers and streams get a turn. */
const ROUNDS = 256;

type Devices = readonly (DeviceModel | MachineDevice)[];

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<WorkerStart | "dispose">) => void) | null;
  postMessage(answer: WorkerAnswer): void;
};

let host: Host | undefined;

scope.onmessage = async ({ data }) => {
  try {
    if (data === "dispose") {
      await host?.dispose();
      scope.postMessage({ kind: "disposed" });
      return;
    }
    const { default: make } = await import(data.module) as {
      default: (options: unknown) => Devices | Promise<Devices>;
    };
    host = new Host(data, await make(data.options));
    scope.postMessage({ kind: "ready", nodes: host.nodes() });
    await host.run();
  } catch (error) {
    const message = error instanceof Error ? error.stack ?? error.message : String(error);
    host?.fail();
    scope.postMessage({ kind: "failed", message });
  }
};

class Host {
  readonly #control: Int32Array;
  readonly #machine: EmulatedMachine;
  #stopped = false;

  constructor(start: WorkerStart, devices: Devices) {
    this.#control = new Int32Array(start.control);
    this.#machine = EmulatedMachine.create({
      devices,
      memory: new GuestMemory(start.memory),
      ...(start.ring === undefined ? {} : { ring: start.ring }),
      ...(start.slots === undefined ? {} : { slots: start.slots }),
      lineRaised: (slot) => this.#raised(slot),
    });
  }

  nodes() {
    return this.#machine.slotNodes().map(({ name, base, size, irq }) => ({
      name,
      base,
      size,
      irq,
    }));
  }

  /** Serves the driver's thread until the machine is disposed. */
  async run(): Promise<void> {
    const control = this.#control;
    let rounds = 0;
    while (!this.#stopped) {
      const seen = Atomics.load(control, Word.DOORBELL);
      this.#serve();
      if (Atomics.load(control, Word.DOORBELL) !== seen && ++rounds < ROUNDS) continue;
      rounds = 0;
      const wait = Atomics.waitAsync(control, Word.DOORBELL, seen);
      // Take a turn of the event loop even if more work waits: models may have timers and streams.
      if (wait.async) await wait.value;
      else await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  async dispose(): Promise<void> {
    this.#stopped = true;
    await this.#machine[Symbol.asyncDispose]();
  }

  /** Releases the driver's thread if it waits for an answer. */
  fail(): void {
    this.#stopped = true;
    Atomics.store(this.#control, Word.FAILED, 1);
    this.#answer();
    Atomics.add(this.#control, Word.INTERRUPTS, 1);
    Atomics.notify(this.#control, Word.INTERRUPTS);
  }

  #serve(): void {
    const control = this.#control;
    this.#takePosted();
    if (Atomics.load(control, Word.STATE) !== RequestState.REQUESTED) return;
    // A write that was posted after the call above is still older than the request.
    this.#takePosted();
    const slot = this.#machine.slots[control[Word.SLOT]!]!;
    const width = control[Word.WIDTH]!;
    const offset = control[Word.OFFSET]!;
    const value = control[Word.VALUE]! >>> 0;
    if (control[Word.WRITE] !== 0) {
      if (width === 1) slot.write8(offset, value);
      else if (width === 2) slot.write16(offset, value);
      else slot.write32(offset, value);
    } else if (width === 1) control[Word.VALUE] = slot.read8(offset);
    else if (width === 2) control[Word.VALUE] = slot.read16(offset);
    else control[Word.VALUE] = slot.read32(offset);
    this.#setLevel(control[Word.SLOT]!);
    this.#answer();
  }

  #answer(): void {
    // Orders the value before the state (read by the driver's thread after it saw DONE).
    Atomics.store(this.#control, Word.STATE, RequestState.DONE);
    Atomics.notify(this.#control, Word.STATE);
  }

  #takePosted(): void {
    const control = this.#control;
    let taken = control[Word.POSTED_TAKEN]!;
    while (taken !== Atomics.load(control, Word.POSTED_ADDED)) {
      const at = Word.POSTED + 2 * (taken & (POSTED_COUNT - 1));
      const slot = control[at]!;
      this.#machine.slots[slot]!.write32(MmioRegister.QueueNotify, control[at + 1]! >>> 0);
      this.#setLevel(slot);
      taken = (taken + 1) | 0;
      Atomics.store(control, Word.POSTED_TAKEN, taken);
    }
  }

  #setLevel(slot: number): void {
    const level = this.#machine.slots[slot]!.device?.line ? 1 : 0;
    Atomics.store(this.#control, Word.LEVELS + slot, level);
  }

  #raised(slot: number): void {
    Atomics.store(this.#control, Word.LEVELS + slot, 1);
    Atomics.add(this.#control, Word.INTERRUPTS, 1);
    Atomics.notify(this.#control, Word.INTERRUPTS);
  }
}
