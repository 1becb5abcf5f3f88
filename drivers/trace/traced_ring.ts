import { joinBytes, type TraceElement, type VireoError } from "@vireo/hal";
import type { Ring } from "../virtqueue/create_ring.ts";
import { PassingRing } from "../virtqueue/passing_ring.ts";
import type { SgList } from "../virtqueue/virtqueue.ts";
import { ReceivedFrames } from "./_received_frames.ts";
import { describeAnswer, describeRequest, frameOf, receivesFrames } from "./requests.ts";
import type { TraceTarget } from "./_target.ts";

/** Bytes of a buffer that are looked at for what it means; a frame is taken whole. */
const LOOK = 512;
const WHOLE = 1 << 17;

const NOTHING = new Uint8Array(0);

/** A buffer that the device has, as it was added. */
interface Pending {
  readonly elements: readonly TraceElement[];
  readonly request: string | undefined;
  readonly time: number;
}

/** Parts of a trace that a ring reports to. */
interface RingTrace {
  readonly tracer: TraceTarget;
  /** Name of the slot that its device is in. */
  readonly slot: string;
  /** The driver's view of what the device sees at an address. */
  readonly find: (address: number, length: number) => Uint8Array | undefined;
}

/** A ring of which a tracer hears what goes in and out. */
export class TracedRing extends PassingRing {
  readonly #trace: RingTrace;
  readonly #pending = new Map<number, Pending>();
  readonly #received = new ReceivedFrames();
  #added = 0;
  #notified = false;
  #faulted = false;
  #violation: string | undefined;

  constructor(ring: Ring, trace: RingTrace) {
    super(ring);
    this.#trace = trace;
  }

  /** The driver is about to notify the device: what the device does with the buffers comes after. */
  notified(): void {
    this.#notified = true;
    this.#kicked();
  }

  override add(chain: SgList, token: number): boolean {
    if (!this.inner.add(chain, token)) return false;
    const { tracer, slot } = this.#trace;
    const { time } = tracer;
    const elements: TraceElement[] = [];
    let [readable, writable] = [0, 0];
    for (let i = 0; i < chain.count; i++) {
      const element = {
        address: chain.address(i),
        length: chain.length(i),
        writable: i >= chain.readable,
      };
      elements.push(element);
      if (element.writable) writable += element.length;
      else readable += element.length;
    }
    const { deviceId, features } = tracer.of(slot);
    const { index: queue, name } = this;
    const bytes = this.#bytes(elements, false, LOOK);
    const place = { deviceId, features, queue, name, bytes, readable, writable };
    const request = describeRequest(place);
    this.#pending.set(token, { elements, request, time });
    this.#added++;
    tracer.emit(slot, {
      kind: "add",
      queue,
      name,
      token,
      request,
      elements,
      inFlight: this.inner.inFlight,
      frame: frameOf(place, "sent", () => this.#bytes(elements, false, WHOLE)),
      data: this.#data(bytes),
    }, time);
    return true;
  }

  override kick(): void {
    this.#notified = false;
    this.inner.kick();
    if (!this.#notified && this.#added > 0) this.#kicked();
    this.#diagnosed();
  }

  override pop(): number {
    const token = this.inner.pop();
    if (token < 0) {
      const { broken } = this.inner;
      if (broken !== undefined) this.#fault(broken);
      return token;
    }
    const { tracer, slot } = this.#trace;
    const { time } = tracer;
    const pending = this.#pending.get(token);
    this.#pending.delete(token);
    const length = this.inner.usedLength;
    const { deviceId, features } = tracer.of(slot);
    const { index: queue, name } = this;
    const { elements = [], request, time: since = time } = pending ?? {};
    const bytes = this.#bytes(elements, true, Math.min(length, LOOK));
    const last = this.#lastWritable(elements);
    const place = { deviceId, features, queue, name, request, bytes, length, last };
    const whole = (): Uint8Array => this.#bytes(elements, true, Math.min(length, WHOLE));
    const part = receivesFrames(place) ? this.#received.take(place, whole()) : undefined;
    tracer.emit(slot, {
      kind: "used",
      queue,
      name,
      token,
      request: part?.words ?? describeAnswer(place),
      length,
      inFlight: this.inner.inFlight,
      after: time - since,
      frame: part === undefined ? frameOf(place, "received", whole) : part.frame,
      data: this.#data(bytes),
    }, time);
    return token;
  }

  override detachUnused(): number {
    const token = this.inner.detachUnused();
    this.#pending.delete(token);
    return token;
  }

  override break(reason: VireoError): void {
    // A reset breaks queues too, and says so itself.
    const reset = reason.code === "DEVICE_STATE" || reason.code === "DEVICE_REMOVED";
    if (this.inner.broken === undefined && !reset) this.#fault(reason);
    this.inner.break(reason);
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

  /** Emits the mistakes that the machine has found by now, each once. */
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

  /** The bytes of the elements of one side, as far as they can be seen; a view of memory if they are in one place. */
  #bytes(elements: readonly TraceElement[], writable: boolean, most: number): Uint8Array {
    let found: Uint8Array = NOTHING;
    for (const element of elements) {
      if (element.writable !== writable) continue;
      const left = most - found.length;
      if (left <= 0) break;
      const part = this.#trace.find(element.address, Math.min(element.length, left));
      if (part === undefined) break;
      found = found.length === 0 ? part : joinBytes(found, part);
    }
    return found;
  }

  /** The last byte that the device may write, which is the status of many devices. */
  #lastWritable(elements: readonly TraceElement[]): number | undefined {
    const last = elements.findLast(({ writable, length }) => writable && length > 0);
    return last && this.#trace.find(last.address + last.length - 1, 1)?.[0];
  }
}
