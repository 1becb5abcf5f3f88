import type { TraceElement, VireoError } from "@vireo/hal";
import type { Ring } from "../virtqueue/create_ring.ts";
import type { QueueAddresses, SgList } from "../virtqueue/virtqueue.ts";
import { describeAnswer, describeRequest, frameOf } from "./requests.ts";
import type { TraceTarget } from "./_target.ts";

/** Bytes of a buffer that are looked at for what it means; a frame is taken whole. */
const LOOK = 512;
const WHOLE = 1 << 17;

/** A buffer that the device has, as it was added. */
interface Pending {
  readonly elements: readonly TraceElement[];
  readonly request: string | undefined;
  readonly time: number;
}

/** What a traced ring needs. */
interface RingTrace {
  readonly tracer: TraceTarget;
  /** Name of the slot that its device is in. */
  readonly slot: string;
  /** The driver's view of what the device sees at an address. */
  readonly find: (address: number, length: number) => Uint8Array | undefined;
}

/** A ring of which a tracer hears what goes in and out. */
export class TracedRing implements Ring {
  readonly index: number;
  readonly name: string;
  readonly device: Ring["device"];
  readonly status: Ring["status"];
  readonly diagnose: Ring["diagnose"];
  readonly #ring: Ring;
  readonly #trace: RingTrace;
  readonly #pending = new Map<number, Pending>();
  #added = 0;
  #notified = false;
  #faulted = false;
  #violation: string | undefined;

  constructor(ring: Ring, trace: RingTrace) {
    this.#ring = ring;
    this.#trace = trace;
    this.index = ring.index;
    this.name = ring.name;
    this.device = ring.device;
    this.status = ring.status;
    this.diagnose = ring.diagnose;
  }

  get addresses(): QueueAddresses {
    return this.#ring.addresses;
  }

  get callbacks(): boolean {
    return this.#ring.callbacks;
  }

  get unkicked(): number {
    return this.#ring.unkicked;
  }

  get popped(): number {
    return this.#ring.popped;
  }

  get size(): number {
    return this.#ring.size;
  }

  get freeSlots(): number {
    return this.#ring.freeSlots;
  }

  get inFlight(): number {
    return this.#ring.inFlight;
  }

  get broken(): VireoError | undefined {
    return this.#ring.broken;
  }

  get usedLength(): number {
    return this.#ring.usedLength;
  }

  /** The driver is about to notify the device: what the device does with the buffers comes after. */
  notified(): void {
    this.#notified = true;
    this.#kicked();
  }

  slotsFor(elements: number): number {
    return this.#ring.slotsFor(elements);
  }

  add(chain: SgList, token: number): boolean {
    if (!this.#ring.add(chain, token)) return false;
    const { tracer, slot } = this.#trace;
    const elements = Array.from({ length: chain.count }, (_, i): TraceElement => ({
      address: chain.address(i),
      length: chain.length(i),
      writable: i >= chain.readable,
    }));
    const { deviceId, features } = tracer.of(slot);
    const where = { deviceId, features, queue: this.index, name: this.name };
    const readable = this.#bytes(elements, false, LOOK);
    const request = describeRequest({ ...where, bytes: readable, ...lengths(elements) });
    this.#pending.set(token, { elements, request, time: tracer.time });
    this.#added++;
    tracer.emit(slot, {
      kind: "add",
      queue: this.index,
      name: this.name,
      token,
      request,
      elements,
      inFlight: this.#ring.inFlight,
      frame: frameOf(where, "sent", () => this.#bytes(elements, false, WHOLE)),
      data: this.#data(readable),
    });
    return true;
  }

  kick(): void {
    this.#notified = false;
    this.#ring.kick();
    if (!this.#notified && this.#added > 0) this.#kicked();
    this.#diagnosed();
  }

  kickAgain(): void {
    this.#ring.kickAgain();
  }

  pop(): number {
    const token = this.#ring.pop();
    if (token < 0) {
      const { broken } = this.#ring;
      if (broken !== undefined) this.#fault(broken);
      return token;
    }
    const { tracer, slot } = this.#trace;
    const pending = this.#pending.get(token);
    this.#pending.delete(token);
    const length = this.#ring.usedLength;
    const { deviceId, features } = tracer.of(slot);
    const where = { deviceId, features, queue: this.index, name: this.name };
    const elements = pending?.elements ?? [];
    const written = this.#bytes(elements, true, Math.min(length, LOOK));
    const { request } = pending ?? {};
    const bytes = written;
    const last = this.#lastWritable(elements);
    tracer.emit(slot, {
      kind: "used",
      queue: this.index,
      name: this.name,
      token,
      request: describeAnswer({ ...where, request, bytes, length, last }),
      length,
      inFlight: this.#ring.inFlight,
      after: tracer.time - (pending?.time ?? tracer.time),
      frame: frameOf(where, "received", () => this.#bytes(elements, true, Math.min(length, WHOLE))),
      data: this.#data(written),
    });
    return token;
  }

  hasUsed(): boolean {
    return this.#ring.hasUsed();
  }

  disableCallbacks(): void {
    this.#ring.disableCallbacks();
  }

  enableCallbacks(): boolean {
    return this.#ring.enableCallbacks();
  }

  enableCallbacksDelayed(): boolean {
    return this.#ring.enableCallbacksDelayed();
  }

  detachUnused(): number {
    const token = this.#ring.detachUnused();
    this.#pending.delete(token);
    return token;
  }

  break(reason: VireoError): void {
    // A reset breaks queues too, and says so itself.
    const reset = reason.code === "DEVICE_STATE" || reason.code === "DEVICE_REMOVED";
    if (this.#ring.broken === undefined && !reset) this.#fault(reason);
    this.#ring.break(reason);
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }

  #kicked(): void {
    const { tracer, slot } = this.#trace;
    const { index, name } = this;
    const buffers = this.#added;
    this.#added = 0;
    tracer.emit(slot, {
      kind: "kick",
      queue: index,
      name,
      buffers,
      notified: this.#notified,
    });
  }

  /** What the machine found wrong by now, once. */
  #diagnosed(): void {
    const message = this.diagnose?.()?.message;
    if (message !== undefined && message !== this.#violation) {
      this.#trace.tracer.emit(this.#trace.slot, { kind: "violation", message });
    }
    this.#violation = message;
  }

  #fault(error: VireoError): void {
    if (this.#faulted) return;
    this.#faulted = true;
    this.#trace.tracer.fault(this.#trace.slot, error);
  }

  #data(bytes: Uint8Array): Uint8Array | undefined {
    const { data } = this.#trace.tracer;
    return data > 0 ? bytes.slice(0, data) : undefined;
  }

  /** The bytes of the elements of one side, as far as they can be seen; a copy. */
  #bytes(elements: readonly TraceElement[], writable: boolean, most: number): Uint8Array {
    const parts: Uint8Array[] = [];
    let left = most;
    for (const element of elements) {
      if (element.writable !== writable) continue;
      if (left <= 0) break;
      const part = this.#trace.find(element.address, Math.min(element.length, left));
      if (part === undefined) break;
      parts.push(part);
      left -= part.length;
    }
    const bytes = new Uint8Array(most - left);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /** The last byte that the device may write, which is the status of many devices. */
  #lastWritable(elements: readonly TraceElement[]): number | undefined {
    const last = elements.findLast(({ writable, length }) => writable && length > 0);
    return last && this.#trace.find(last.address + last.length - 1, 1)?.[0];
  }
}

function lengths(elements: readonly TraceElement[]): { readable: number; writable: number } {
  const sum = (writable: boolean): number =>
    elements.reduce((total, each) => total + (each.writable === writable ? each.length : 0), 0);
  return { readable: sum(false), writable: sum(true) };
}
