import type { VireoError } from "@vireo/hal";
import type { Ring } from "./create_ring.ts";
import type { RingInspection } from "./inspection.ts";
import type { QueueAddresses, SgList } from "./virtqueue.ts";

/** A ring that passes everything on to another; those that watch a ring begin here. */
export class PassingRing implements Ring {
  readonly index: number;
  readonly name: string;
  readonly device: Ring["device"];
  readonly status: Ring["status"];
  readonly diagnose: Ring["diagnose"];
  /** The ring behind it. */
  protected readonly inner: Ring;

  constructor(ring: Ring) {
    this.inner = ring;
    this.index = ring.index;
    this.name = ring.name;
    this.device = ring.device;
    this.status = ring.status;
    this.diagnose = ring.diagnose;
  }

  get addresses(): QueueAddresses {
    return this.inner.addresses;
  }

  get callbacks(): boolean {
    return this.inner.callbacks;
  }

  get unkicked(): number {
    return this.inner.unkicked;
  }

  get popped(): number {
    return this.inner.popped;
  }

  get held(): boolean {
    return this.inner.held;
  }

  set held(held: boolean) {
    this.inner.held = held;
  }

  get size(): number {
    return this.inner.size;
  }

  get freeSlots(): number {
    return this.inner.freeSlots;
  }

  get inFlight(): number {
    return this.inner.inFlight;
  }

  get broken(): VireoError | undefined {
    return this.inner.broken;
  }

  get usedLength(): number {
    return this.inner.usedLength;
  }

  slotsFor(elements: number): number {
    return this.inner.slotsFor(elements);
  }

  add(chain: SgList, token: number): boolean {
    return this.inner.add(chain, token);
  }

  kick(): void {
    this.inner.kick();
  }

  kickAgain(): void {
    this.inner.kickAgain();
  }

  pop(): number {
    return this.inner.pop();
  }

  hasUsed(): boolean {
    return this.inner.hasUsed();
  }

  disableCallbacks(): void {
    this.inner.disableCallbacks();
  }

  enableCallbacks(): boolean {
    return this.inner.enableCallbacks();
  }

  enableCallbacksDelayed(): boolean {
    return this.inner.enableCallbacksDelayed();
  }

  detachUnused(): number {
    return this.inner.detachUnused();
  }

  break(reason: VireoError): void {
    this.inner.break(reason);
  }

  inspect(): RingInspection {
    return this.inner.inspect!();
  }

  [Symbol.dispose](): void {
    this.inner[Symbol.dispose]();
  }
}
