import { NetFeature } from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import type { Control } from "./_control.ts";

/** Limits for holding interrupts of a queue back: with 0 in either each packet has one (virtio 1.4 §5.1.9.5.10). */
export interface CoalescingParameters {
  /** Packets after which it does, 0 to 2^32-1. */
  readonly maxPackets: number;
  /** Microseconds after the first packet at which it does if fewer came, 0 to 2^32-1. */
  readonly maxUsecs: number;
}

/** How to hold interrupts back. */
export interface CoalescingOptions extends CoalescingParameters, WaitOptions {
  /** The one queue that is meant, by its pair; by default all of the kind. */
  readonly queue?: number;
}

/** The kinds of data queues. */
export type QueueKind = "rx" | "tx";

/** Remembers what was set, so that a device that was reset is told again. */
export class CoalescingMemory {
  readonly #all = new Map<QueueKind, CoalescingParameters>();
  readonly #own = new Map<number, CoalescingParameters>();

  /** Sets the parameters of all queues of a kind, or of the virtqueue with an index. */
  async set(
    control: (feature: number) => Control,
    kind: QueueKind,
    index: number | undefined,
    parameters: CoalescingParameters,
    limits: WaitOptions,
  ): Promise<void> {
    const { maxPackets, maxUsecs } = parameters;
    for (const value of [maxPackets, maxUsecs]) {
      if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) continue;
      throw new RangeError(
        `Cannot hold interrupts back by ${maxPackets} packets and ${maxUsecs} us: expected 0 to ` +
          `${0xffffffff}`,
      );
    }
    const copy = { maxPackets, maxUsecs };
    if (index === undefined) {
      await control(NetFeature.NOTF_COAL).setCoalescing(kind, copy, limits);
      this.#all.set(kind, copy);
      const odd = kind === "tx" ? 1 : 0;
      for (const queue of [...this.#own.keys()]) if ((queue & 1) === odd) this.#own.delete(queue);
    } else {
      await control(NetFeature.VQ_NOTF_COAL).setQueueCoalescing(index, copy, limits);
      this.#own.set(index, copy);
    }
  }

  /** Tells a device that was reset. */
  async send(control: Control, limits: WaitOptions): Promise<void> {
    for (const [kind, parameters] of this.#all) {
      await control.setCoalescing(kind, parameters, limits);
    }
    for (const [index, parameters] of this.#own) {
      await control.setQueueCoalescing(index, parameters, limits);
    }
  }
}
