import type { BufferContents, TraceElement, VireoError } from "@vireo/hal";
import { BufferWords } from "./buffer_words.ts";
import type { QueuePlace } from "./words/places.ts";
import type { TraceTarget } from "./_target.ts";

/** Parts of a trace that a ring reports to. */
export interface RingTrace {
  readonly tracer: TraceTarget;
  /** Name of the slot that its device is in. */
  readonly slot: string;
  /** The driver's view of what the device sees at an address. */
  readonly find: (address: number, length: number) => Uint8Array | undefined;
}

/** Parts of a ring that its events name. */
interface RingPlace {
  readonly index: number;
  readonly name: string;
  readonly diagnose?: (() => VireoError | undefined) | undefined;
}

/** A buffer that the other side has, as it was added. */
export interface PendingBuffer {
  readonly elements: readonly TraceElement[];
  readonly request: string | undefined;
  readonly time: number;
}

/** The events of a ring that are the same whichever side of it the driver has. */
export class RingEvents {
  readonly #words: BufferWords;
  readonly #trace: RingTrace;
  readonly #ring: RingPlace;
  #added = 0;
  #notified = false;
  #faulted = false;
  #violation: string | undefined;

  constructor(trace: RingTrace, ring: RingPlace) {
    this.#trace = trace;
    this.#ring = ring;
    this.#words = new BufferWords({ data: trace.tracer.data, find: trace.find });
  }

  /** Tells what the driver asks for by a buffer that is added. */
  asked(elements: readonly TraceElement[]): BufferContents {
    return this.#words.asked(this.#place(), elements);
  }

  /** Tells what the device answered by a buffer that is used. */
  answered({ elements, request }: Partial<PendingBuffer>, length: number): BufferContents {
    return this.#words.answered(this.#place(), elements ?? [], request, length);
  }

  /** A buffer goes with the next kick. */
  added(): void {
    this.#added++;
  }

  /** The driver is about to notify the device: what the device does with the buffers comes after. */
  notified(): void {
    this.#notified = true;
    this.#kicked();
  }

  /** Kicks, and tells also of a kick that notifies nobody. */
  kick(kick: () => void): void {
    this.#notified = false;
    kick();
    if (!this.#notified && this.#added > 0) this.#kicked();
    this.#diagnosed();
  }

  /** The ring broke; a reset breaks rings too, and says so itself. */
  broke(reason: VireoError): void {
    const reset = reason.code === "DEVICE_STATE" || reason.code === "DEVICE_REMOVED";
    if (!reset) this.fault(reason);
  }

  /** Emits the first fault of the ring. */
  fault(error: VireoError): void {
    if (this.#faulted) return;
    this.#faulted = true;
    this.#trace.tracer.fault(this.#trace.slot, error);
  }

  #place(): QueuePlace {
    const { deviceId, features } = this.#trace.tracer.of(this.#trace.slot);
    const { index: queue, name } = this.#ring;
    return { deviceId, features, queue, name };
  }

  #kicked(): void {
    const { tracer, slot } = this.#trace;
    const { index: queue, name } = this.#ring;
    const buffers = this.#added;
    this.#added = 0;
    tracer.emit(slot, { kind: "kick", queue, name, buffers, notified: this.#notified });
  }

  /** Emits the mistakes that the machine has found by now, each once. */
  #diagnosed(): void {
    const message = this.#ring.diagnose?.()?.message;
    if (message !== undefined && message !== this.#violation) {
      this.#trace.tracer.emit(this.#trace.slot, { kind: "violation", message });
    }
    this.#violation = message;
  }
}
