import type { FeatureSet } from "@vireo/hal";
import { NET_HDR_HASH } from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import { writeTxHeader } from "./_header.ts";
import { queueLook } from "../virtqueue/last_look.ts";
import { WaitList } from "../wait/wait_list.ts";
import type { SendOptions } from "./frame.ts";
import type { TxQueue } from "./tx_queue.ts";

interface Waiting {
  /** Undefined if only room is waited for. */
  readonly frame: Uint8Array | undefined;
  readonly options: SendOptions;
}

/** The callers that send on one transmit queue, in order. */
export class Sender {
  readonly tx: TxQueue;
  readonly #features: FeatureSet;
  readonly #header = new Uint8Array(NET_HDR_HASH.SIZE);
  readonly #waiting: WaitList<Waiting, void>;

  constructor(tx: TxQueue, features: FeatureSet) {
    this.tx = tx;
    this.#features = features;
    // The device must send what it has, so the queue is due.
    const last = queueLook(() => [tx.queue], () => this.used(), true);
    this.#waiting = new WaitList("room in the transmit queue", last);
  }

  /** Whether nobody waits, so that a frame does not overtake. */
  get idle(): boolean {
    return this.#waiting.length === 0;
  }

  /** Gives a frame to the device; false if there is no room now. */
  trySend(frame: Uint8Array, options: SendOptions): boolean {
    let header: Uint8Array | undefined;
    if (options.csum !== undefined || options.gso !== undefined) {
      header = this.#header;
      writeTxHeader(header, frame, options, this.#features);
    }
    if (!this.tx.copyIn(frame, header)) return false;
    this.tx.kickSoon();
    return true;
  }

  /** Waits for room, for a frame or for its own sake. */
  wait(frame: Uint8Array | undefined, options: SendOptions, limits: WaitOptions): Promise<void> {
    const wait = this.#waiting.wait({ frame, options }, limits);
    this.used();
    return wait;
  }

  /** The device used frames: lets waiting callers go on, and asks for an interrupt if some still wait. */
  used(): void {
    const { tx } = this;
    tx.queue.disableCallbacks();
    do {
      tx.reclaim();
      this.#admit();
      // The waiting frames need the device to go on.
      tx.kick();
    } while (!this.idle && tx.queue.broken === undefined && !tx.queue.enableCallbacksDelayed());
  }

  /** Rejects all waiting callers. */
  rejectAll(error: unknown): void {
    this.#waiting.rejectAll(error);
  }

  #admit(): void {
    const waiting = this.#waiting;
    for (let next = waiting.first; next !== undefined; next = waiting.first) {
      try {
        const { frame, options } = next;
        if (frame === undefined ? this.tx.free === 0 : !this.trySend(frame, options)) return;
      } catch (error) {
        waiting.rejectFirst(error);
        continue;
      }
      waiting.resolveFirst(undefined);
    }
  }
}
