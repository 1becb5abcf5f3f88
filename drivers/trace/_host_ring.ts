import type { TraceElement, VireoError } from "@vireo/hal";
import { HostRing } from "../virtqueue/host_ring.ts";
import type { SplitVirtqueueOptions } from "../virtqueue/split.ts";
import { type PendingBuffer, RingEvents, type RingTrace } from "./_ring_events.ts";

/** A ring on which the driver plays the device, and of which a tracer hears: the device adds, the driver uses. */
export class TracedHostRing extends HostRing {
  readonly #trace: RingTrace;
  readonly #events: RingEvents;
  readonly #pending = new Map<number, PendingBuffer>();

  constructor(options: SplitVirtqueueOptions, trace: RingTrace) {
    super(options);
    this.#trace = trace;
    this.#events = new RingEvents(trace, this);
  }

  /** The driver is about to notify the device. */
  notified(): void {
    this.#events.notified();
  }

  override pop(): number {
    const head = super.pop();
    if (head < 0) return head;
    const { tracer, slot } = this.#trace;
    const { time } = tracer;
    const elements: readonly TraceElement[] = this.elements.map(({ address, length }) => (
      { address, length, writable: false }
    ));
    const { request, data } = this.#events.asked(elements);
    const { index: queue, name } = this;
    this.#pending.set(head, { elements, request, time });
    tracer.emit(slot, {
      kind: "add",
      reversed: true,
      queue,
      name,
      token: head,
      request,
      elements,
      inFlight: this.size - this.inFlight,
      data,
    }, time);
    return head;
  }

  override giveBack(head: number, written = 0): void {
    super.giveBack(head, written);
    this.#events.added();
    const { tracer, slot } = this.#trace;
    const { time } = tracer;
    const { request: asked, time: since = time } = this.#pending.get(head) ?? {};
    this.#pending.delete(head);
    const { index: queue, name } = this;
    // A buffer that the driver gives back has nothing in it for the device.
    const { request } = this.#events.answered({ request: asked }, written);
    tracer.emit(slot, {
      kind: "used",
      reversed: true,
      queue,
      name,
      token: head,
      request,
      length: written,
      inFlight: this.size - this.inFlight,
      after: time - since,
    }, time);
  }

  override kick(): void {
    this.#events.kick(() => super.kick());
  }

  override break(reason: VireoError): void {
    if (this.broken === undefined) this.#events.broke(reason);
    super.break(reason);
  }

  override detachUnused(): number {
    const head = super.detachUnused();
    this.#pending.delete(head);
    return head;
  }
}
