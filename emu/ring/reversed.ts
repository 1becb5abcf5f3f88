import {
  AVAIL_NO_INTERRUPT,
  DESC,
  loadAcquire16,
  loadAfterStore,
  needEvent,
  splitRingLayout,
  USED_NO_NOTIFY,
} from "@vireo/hal";
import type { Chain } from "../device.ts";
import type { ReversedPosition, RingPosition } from "./position.ts";
import type { RunningQueue, RunningQueueOptions } from "./queue_config.ts";

/** Words (32 bits) of a descriptor. */
const DESC_WORDS = DESC.SIZE / 4;

/**
 * A split ring whose sides are reversed (Linux's `vringh`): the device makes its buffers available, and the
 * driver takes and returns them. The ring lies in the driver's memory, the buffers in the device's.
 */
export class ReversedQueue implements RunningQueue {
  /** Index of the queue on its device. */
  readonly index: number;
  /** Size in descriptors. */
  readonly size: number;
  readonly #options: RunningQueueOptions;
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  readonly #desc: number;
  readonly #avail: number;
  readonly #used16: number;
  readonly #used32: number;
  readonly #mask: number;
  /** The free slots; the driver holds the others. */
  readonly #free: number[];
  readonly #given: Uint8Array;
  #availIndex = 0;
  #told = 0;
  #lastUsed = 0;
  #stopped = false;

  /** Starts a queue whose geometry has been checked. */
  constructor(options: RunningQueueOptions) {
    const { geometry: { size, desc, avail, used }, memory } = options;
    this.index = options.index;
    this.size = size;
    this.#options = options;
    this.#words16 = memory.words16;
    this.#words32 = memory.words32;
    const layout = splitRingLayout(size);
    const usedAt = memory.offset(used, layout.usedSize);
    this.#desc = memory.offset(desc, layout.descSize) / 4;
    this.#avail = memory.offset(avail, layout.availSize) / 2;
    this.#used16 = usedAt / 2;
    this.#used32 = usedAt / 4;
    this.#mask = size - 1;
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
    this.#given = new Uint8Array(size);
  }

  /** Slots that the device may offer buffers in. */
  get freeSlots(): number {
    return this.#free.length;
  }

  /**
   * Makes a buffer available; the driver sees it after `signal`.
   *
   * @returns Its slot, which `take` returns later; undefined if no slot is free.
   */
  offer(address: number, length: number): number | undefined {
    const slot = this.#stopped ? undefined : this.#free.pop();
    if (slot === undefined) return undefined;
    const at = this.#desc + slot * DESC_WORDS;
    this.#words32[at] = address;
    this.#words32[at + 1] = address / 2 ** 32;
    this.#words32[at + 2] = length;
    this.#words32[at + 3] = 0;
    this.#words16[this.#avail + 2 + (this.#availIndex & this.#mask)] = slot;
    this.#availIndex = (this.#availIndex + 1) & 0xffff;
    this.#given[slot] = 1;
    return slot;
  }

  /** Takes a buffer that the driver returned: its slot, or undefined. A slot that it lacks is a fault. */
  take(): number | undefined {
    if (!this.hasAvailable() && !this.#askForReturns()) return undefined;
    const slot = this.#words32[this.#used32 + 1 + 2 * (this.#lastUsed & this.#mask)]!;
    // A slot behind the last one was never given.
    if (this.#given[slot] !== 1) {
      this.#options.fault(`queue ${this.index}: the driver returned buffer ${slot}, not its own`, {
        queue: this.index,
        descriptor: slot,
      });
      return undefined;
    }
    this.#given[slot] = 0;
    this.#free.push(slot);
    this.#lastUsed = (this.#lastUsed + 1) & 0xffff;
    return slot;
  }

  /** Whether the driver returned a buffer. */
  hasAvailable(): boolean {
    return !this.#stopped && loadAcquire16(this.#words16, this.#used16 + 1) !== this.#lastUsed;
  }

  /** Publishes the offered buffers, and interrupts the driver unless it suppressed that. */
  signal(): void {
    const [next, old] = [this.#availIndex, this.#told];
    if (this.#stopped || next === old) return;
    this.#told = next;
    Atomics.store(this.#words16, this.#avail + 1, next);
    const wanted = this.#options.eventIdx
      ? needEvent(loadAfterStore(this.#words16, this.#used16 + 2 + 4 * this.size), next, old)
      : (loadAfterStore(this.#words16, this.#used16) & USED_NO_NOTIFY) === 0;
    if (wanted) this.#options.interrupt();
  }

  /** Asks the driver to send or to omit notifications of returned buffers; a hint. */
  setNotify(enabled: boolean): void {
    if (this.#options.eventIdx) return;
    Atomics.store(this.#words16, this.#avail, enabled ? 0 : AVAIL_NO_INTERRUPT);
  }

  /** Returns nothing: the driver makes no buffers available here. */
  pop(): Chain | undefined {
    return undefined;
  }

  /** Does nothing: the driver makes no buffers available here. */
  push(_chain: Chain, _written?: number): void {}

  /** Does nothing: the driver makes no buffers available here. */
  pushAll(_chains: readonly Chain[], _written: readonly number[]): void {}

  /** Stops for good. */
  stop(): void {
    this.#stopped = true;
  }

  /** The queue's position; the buffers lie in the device's memory, which its model keeps. */
  position(): ReversedPosition {
    const slots = Array.from(this.#given, (given, slot) => given === 1 ? slot : -1);
    return {
      ring: "reversed",
      availIndex: this.#availIndex,
      signalled: this.#told,
      lastUsed: this.#lastUsed,
      given: slots.filter((slot) => slot >= 0),
    };
  }

  /**
   * Continues from a position. The next {@linkcode ReversedQueue.signal} publishes buffers that were offered but
   * not yet signalled.
   *
   * @throws {RangeError} If it is that of another ring, or of a larger one.
   */
  resume(position: RingPosition): void {
    if (!("ring" in position) || position.ring !== "reversed") {
      throw new RangeError(
        `Cannot resume queue ${this.index}: its position must be that of a reversed ring`,
      );
    }
    const { given } = position;
    if (given.some((slot) => slot >= this.size)) {
      throw new RangeError(
        `Cannot resume queue ${this.index}: its buffers must be in slots below ${this.size}`,
      );
    }
    this.#availIndex = position.availIndex;
    this.#told = position.signalled;
    this.#lastUsed = position.lastUsed;
    for (const slot of given) this.#given[slot] = 1;
    const free = this.#free.filter((slot) => this.#given[slot] === 0);
    this.#free.splice(0, this.size, ...free);
  }

  /** Returns undefined: devices with such a queue do not offer NOTIFICATION_DATA. */
  notificationProblem(_position: number): string | undefined {
    return undefined;
  }

  /** Asks for a notification of the next returned buffer (EVENT_IDX); returns whether one came meanwhile. */
  #askForReturns(): boolean {
    if (!this.#options.eventIdx || this.#stopped) return false;
    Atomics.store(this.#words16, this.#avail + 2 + this.size, this.#lastUsed);
    return this.hasAvailable();
  }
}
