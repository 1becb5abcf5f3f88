import type { TraceElement, VireoError } from "@vireo/hal";
import type { Ring } from "../virtqueue/create_ring.ts";
import { PassingRing } from "../virtqueue/passing_ring.ts";
import type { SgList } from "../virtqueue/virtqueue.ts";
import { type PendingBuffer, RingEvents, type RingTrace } from "./_ring_events.ts";

/** A ring of which a tracer hears what goes in and out. */
export class TracedRing extends PassingRing {
  readonly #trace: RingTrace;
  readonly #events: RingEvents;
  readonly #pending = new Map<number, PendingBuffer>();

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
    for (let i = 0; i < chain.count; i++) {
      elements.push({
        address: chain.address(i),
        length: chain.length(i),
        writable: i >= chain.readable,
      });
    }
    const { request, frame, data } = this.#events.asked(elements);
    this.#pending.set(token, { elements, request, time });
    this.#events.added();
    const { index: queue, name } = this;
    const { inFlight } = this.inner;
    const add = { queue, name, token, request, elements, inFlight, frame, data };
    tracer.emit(slot, { kind: "add", ...add }, time);
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
    const pending: Partial<PendingBuffer> = this.#pending.get(token) ?? {};
    this.#pending.delete(token);
    const length = this.inner.usedLength;
    const { index: queue, name } = this;
    const { request, frame, data } = this.#events.answered(pending, length);
    const { inFlight } = this.inner;
    const after = time - (pending.time ?? time);
    const used = { queue, name, token, request, length, inFlight, after, frame, data };
    tracer.emit(slot, { kind: "used", ...used }, time);
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
}
