import { loadAfterStore, needPackedEvent, RING_EVENT_WRAP, RingEvent } from "@vireo/hal";

// Constants of this module: an imported name costs a load and a check on the hot path.
const { ENABLE, DISABLE, DESC } = RingEvent;
/** A value that neither field of the structure can have. */
const UNKNOWN = -1;

/** The two event suppression structures of a packed ring, from the device's side (virtio 1.4 §2.8.10). */
export class EventSuppression {
  readonly #words16: Uint16Array;
  /** Index of the driver's structure, which the device reads, and of its own, which it writes. */
  readonly #driver: number = 0;
  readonly #device: number = 0;
  readonly #eventIdx: boolean;
  /** The contents of the device's structure, as far as it wrote them. */
  #place = UNKNOWN;
  #mode = UNKNOWN;

  /**
   * Looks at the structures of a ring.
   *
   * @param words16 Guest memory.
   * @param driver Index there of the driver's structure.
   * @param device Index there of the device's.
   * @param eventIdx Whether EVENT_IDX was negotiated.
   */
  constructor(words16: Uint16Array, driver: number, device: number, eventIdx: boolean) {
    this.#words16 = words16;
    this.#driver = driver;
    this.#device = device;
    this.#eventIdx = eventIdx;
  }

  /**
   * Whether the driver wants an interrupt for used descriptors. Call this right after an `Atomics.store`.
   *
   * @param used Place after the last of them.
   * @param wrap The device's wrap counter there.
   * @param fresh Number of descriptors that they occupy.
   * @param size Size of the ring in descriptors.
   */
  interruptWanted(used: number, wrap: 0 | 1, fresh: number, size: number): boolean {
    const mode = loadAfterStore(this.#words16, this.#driver + 1) & 3;
    if (mode === DISABLE) return false;
    // DESC without the feature, and the reserved mode: an extra interrupt is better than a lost one.
    if (mode !== DESC || !this.#eventIdx) return true;
    const event = loadAfterStore(this.#words16, this.#driver);
    return needPackedEvent(event, used, wrap, fresh, size);
  }

  /** Asks for a notification when the descriptor at a place is made available, in a round of the ring. */
  askAt(place: number, wrap: 0 | 1): void {
    const event = wrap === 1 ? place | RING_EVENT_WRAP : place;
    if (event !== this.#place) {
      this.#place = event;
      Atomics.store(this.#words16, this.#device, event);
    }
    // After the place that it refers to.
    if (this.#mode !== DESC) this.#setMode(DESC);
  }

  /** Asks for all notifications, or for none. */
  ask(enabled: boolean): void {
    this.#setMode(enabled ? ENABLE : DISABLE);
  }

  #setMode(mode: number): void {
    this.#mode = mode;
    Atomics.store(this.#words16, this.#device + 1, mode);
  }
}
