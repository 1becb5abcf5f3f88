import type { TraceElement, VireoError } from "@vireo/hal";
import type { Ring } from "../virtqueue/create_ring.ts";
import { PassingRing } from "../virtqueue/passing_ring.ts";
import type { SgList } from "../virtqueue/virtqueue.ts";
import { ReceivedFrames } from "./_received_frames.ts";
import { describeAnswer, describeRequest, frameOf, receivesFrames } from "./requests.ts";
import { LOOK, type PendingBuffer, RingEvents, type RingTrace } from "./_ring_events.ts";

/** Most bytes of a frame. */
const WHOLE = 1 << 17;

/** A ring of which a tracer hears what goes in and out. */
export class TracedRing extends PassingRing {
  readonly #trace: RingTrace;
  readonly #events: RingEvents;
  readonly #pending = new Map<number, PendingBuffer>();
  readonly #received = new ReceivedFrames();

  constructor(ring: Ring, trace: RingTrace) {
    super(ring);
    this.#trace = trace;
    this.#events = new RingEvents(trace, this);
  }

  /** The driver is about to notify the device: what the device does with the buffers comes after. */
  notified(): void {
    this.#events.notified();
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
    const bytes = this.#events.bytes(elements, false, LOOK);
    const place = { deviceId, features, queue, name, bytes, readable, writable };
    const request = describeRequest(place);
    this.#pending.set(token, { elements, request, time });
    this.#events.added();
    tracer.emit(slot, {
      kind: "add",
      queue,
      name,
      token,
      request,
      elements,
      inFlight: this.inner.inFlight,
      frame: frameOf(place, "sent", () => this.#events.bytes(elements, false, WHOLE)),
      data: this.#events.data(bytes),
    }, time);
    return true;
  }

  override kick(): void {
    this.#events.kick(() => this.inner.kick());
  }

  override pop(): number {
    const token = this.inner.pop();
    if (token < 0) {
      const { broken } = this.inner;
      if (broken !== undefined) this.#events.fault(broken);
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
    const bytes = this.#events.bytes(elements, true, Math.min(length, LOOK));
    const last = this.#lastWritable(elements);
    const place = { deviceId, features, queue, name, request, bytes, length, last };
    const whole = (): Uint8Array => this.#events.bytes(elements, true, Math.min(length, WHOLE));
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
      data: this.#events.data(bytes),
    }, time);
    return token;
  }

  override detachUnused(): number {
    const token = this.inner.detachUnused();
    this.#pending.delete(token);
    return token;
  }

  override break(reason: VireoError): void {
    if (this.inner.broken === undefined) this.#events.broke(reason);
    this.inner.break(reason);
  }

  /** The last byte that the device may write, which is the status of many devices. */
  #lastWritable(elements: readonly TraceElement[]): number | undefined {
    const last = elements.findLast(({ writable, length }) => writable && length > 0);
    return last && this.#trace.find(last.address + last.length - 1, 1)?.[0];
  }
}
