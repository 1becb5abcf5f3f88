import type { Ring } from "../virtqueue/create_ring.ts";
import { PassingRing } from "../virtqueue/passing_ring.ts";
import type { SgList } from "../virtqueue/virtqueue.ts";
import { checksum, CHECKSUM_START } from "./_checksum.ts";
import type { PlayedRecord } from "./_record_queue.ts";
import { elementsText, type Step } from "./_steps.ts";
import { RecordKind } from "./format.ts";
import type { Replay } from "./replay.ts";

/** What a replayed ring needs. */
interface RingReplay {
  readonly replay: Replay;
  /** Its number in the recording. */
  readonly id: number;
  /** Name of its device's node. */
  readonly node: string;
}

/** A ring in the memory of a replay; its steps are compared with the recording's. */
export class ReplayedRing extends PassingRing {
  readonly #replay: Replay;
  readonly #id: number;
  readonly #node: string;

  constructor(ring: Ring, { replay, id, node }: RingReplay) {
    super(ring);
    this.#replay = replay;
    this.#id = id;
    this.#node = node;
  }

  override add(chain: SgList, token: number): boolean {
    if (!this.inner.add(chain, token)) return false;
    const elements: number[] = [];
    let hash = CHECKSUM_START;
    for (let i = 0; i < chain.count; i++) {
      const [address, length] = [chain.address(i), chain.length(i)];
      elements.push(address, length);
      if (i >= chain.readable) continue;
      hash = checksum(hash, this.#replay.find(address, length) ?? new Uint8Array(0));
    }
    const [kind, a] = [RecordKind.ADD, this.#id];
    let other = "";
    const same = ({ a: ring, b, c, d, elements: recorded }: PlayedRecord): boolean => {
      if (ring !== a || b !== token || c !== chain.readable) return false;
      if (recorded.length !== elements.length) return false;
      if (recorded.some((value, i) => value !== elements[i])) return false;
      other = d === hash >>> 0 ? "" : " with other bytes";
      return other === "";
    };
    const now = (): Step => {
      const text = `[${elementsText(elements, chain.readable)}]${other}`;
      return { kind, a, b: token, c: chain.readable, text };
    };
    if (this.#replay.take({ node: this.#node, kind, same, now }) !== undefined) {
      this.#replay.settle();
    }
    return true;
  }

  override kick(): void {
    this.#kick(0, () => this.inner.kick());
  }

  override kickAgain(): void {
    this.#kick(1, () => this.inner.kickAgain());
  }

  override pop(): number {
    if (!this.#take(RecordKind.POP)) return -1;
    const token = this.inner.pop();
    this.#replay.settle();
    return token;
  }

  override hasUsed(): boolean {
    return this.#replay.look(this.#node, this.#id, () => this.inner.hasUsed());
  }

  override disableCallbacks(): void {
    this.#callbacks(0, () => {
      this.inner.disableCallbacks();
      return true;
    });
  }

  override enableCallbacks(): boolean {
    return this.#callbacks(1, () => this.inner.enableCallbacks());
  }

  override enableCallbacksDelayed(): boolean {
    return this.#callbacks(2, () => this.inner.enableCallbacksDelayed());
  }

  #kick(again: number, kick: () => void): void {
    if (!this.#take(RecordKind.KICK, again)) return;
    // The notification is a step of its own; memory that changed after it must not change before.
    kick();
    this.#replay.settle();
  }

  #callbacks(mode: number, act: () => boolean): boolean {
    if (!this.#take(RecordKind.CALLBACKS, mode)) return true;
    const none = act();
    this.#replay.settle();
    return none;
  }

  #take(kind: number, value?: number): boolean {
    const a = this.#id;
    return this.#replay.take({
      node: this.#node,
      kind,
      same: (record) => record.a === a && (value === undefined || record.b === value),
      now: () => ({ kind, a, b: value ?? 0, c: 0 }),
    }) !== undefined;
  }
}
