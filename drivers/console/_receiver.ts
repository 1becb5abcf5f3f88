import type { Dma, DmaRegion } from "@vireo/hal";
import { queueLook } from "../virtqueue/last_look.ts";
import { SgList, type Virtqueue } from "../virtqueue/virtqueue.ts";
import type { LastLook } from "../wait/waiter.ts";

/** Most bytes in one piece of memory: a guest's memory has no long contiguous ones. */
const PIECE = 1 << 16;

/** Bytes of buffers that a port has before the device has filled them all at once. */
const FIRST = 1 << 14;

/** Where a buffer is. */
const State = { OURS: 0, POSTED: 1, FULL: 2 } as const;

/** The receive side of one port: a set of buffers, each posted, or full and unread. */
export class Receiver implements Disposable {
  readonly #dma: Dma;
  readonly #pieces: DmaRegion[] = [];
  /** Buffers in the first piece, and in each of the others but the last. */
  readonly #first: number;
  readonly #each: number;
  readonly #size: number;
  /** How many buffers have memory. */
  #ready: number;
  /** By buffer: {@linkcode State}. */
  readonly #states: Uint8Array;
  readonly #lengths: Uint32Array;
  /** Full buffers in the order of arrival: a ring, as an array that becomes empty loses its memory each time. */
  readonly #full: Uint16Array;
  #oldest = 0;
  #unread = 0;
  readonly #chain = new SgList(1);
  #queue: Virtqueue;

  /**
   * Allocates the buffers; {@linkcode Receiver.fill} posts them.
   *
   * @param count How many, at most the queue's size.
   * @param size Length of each in bytes.
   * @param lazy Whether there are only 16 KiB of them until the device has filled all that it had.
   */
  constructor(queue: Virtqueue, dma: Dma, count: number, size: number, lazy: boolean) {
    const most = Math.min(count, queue.size);
    this.#dma = dma;
    this.#queue = queue;
    this.#size = size;
    this.#each = Math.max(1, Math.floor(PIECE / size));
    this.#first = Math.min(most, lazy ? Math.max(1, Math.floor(FIRST / size)) : this.#each);
    this.#states = new Uint8Array(most);
    this.#full = new Uint16Array(most);
    this.#lengths = new Uint32Array(most);
    this.#ready = 0;
    this.#allocate(lazy ? this.#first : most);
  }

  /** Has memory for so many buffers, or throws and has what it had. */
  #allocate(count: number): void {
    const had = this.#pieces.length;
    try {
      for (let ready = this.#ready; ready < count;) {
        const more = Math.min(ready === 0 ? this.#first : this.#each, count - ready);
        this.#pieces.push(this.#dma.alloc(more * this.#size));
        ready += more;
      }
    } catch (error) {
      for (const piece of this.#pieces.splice(had)) piece[Symbol.dispose]();
      throw error;
    }
    this.#ready = count;
  }

  /** How many buffers there are. */
  get count(): number {
    return this.#states.length;
  }

  /** Whether something unread is there. */
  get hasData(): boolean {
    return this.#unread > 0;
  }

  /** Whether the device filled a buffer that was not collected yet. */
  get hasUsed(): boolean {
    return this.#queue.hasUsed();
  }

  /** How a reader looks for bytes before it gives up. @param drain What the queue's callback does. */
  look(drain: () => void): LastLook {
    return queueLook(() => [this.#queue], drain, false);
  }

  /** Posts every buffer that is neither posted nor unread, and tells the device. */
  fill(): void {
    if (this.#queue.broken !== undefined) return;
    for (let i = 0; i < this.#ready; i++) {
      if (this.#states[i] === State.OURS) this.#post(i);
    }
    this.#queue.kick();
  }

  /** Takes over what the device filled; runs in the queue's callback. */
  collect(): void {
    const queue = this.#queue;
    let empty = false;
    do {
      for (let i = queue.pop(); i >= 0; i = queue.pop()) {
        this.#unshare(i);
        // The device's word for the length is only a claim.
        this.#lengths[i] = Math.min(queue.usedLength, this.#size);
        if (this.#lengths[i] === 0) {
          this.#states[i] = State.OURS;
          empty = true;
        } else this.#append(i);
      }
    } while (!queue.enableCallbacks() && queue.broken === undefined);
    const full = this.#unread >= this.#ready && this.#grow();
    if (empty || full) this.fill();
  }

  /** Has more memory for a device that has filled all buffers; without room it goes on with those. */
  #grow(): boolean {
    if (this.#ready === this.#states.length) return false;
    try {
      this.#allocate(this.#states.length);
    } catch {
      return false;
    }
    return true;
  }

  /** Copies the oldest unread buffer and posts it again; undefined if there is none. */
  take(): Uint8Array | undefined {
    if (this.#unread === 0) return undefined;
    const i = this.#shift();
    const start = this.#start(i);
    const piece = this.#piece(i);
    const bytes = piece.bytes.slice(start, start + this.#lengths[i]!);
    piece.copied?.(bytes.length);
    if (this.#queue.broken === undefined) {
      this.#post(i);
      this.#queue.kick();
    }
    return bytes;
  }

  /** Throws away what is unread, and posts its buffers; returns how many bytes that were. */
  discard(): number {
    const bytes = this.forget();
    this.fill();
    return bytes;
  }

  /** Throws away what is unread, without touching the queue. */
  forget(): number {
    let bytes = 0;
    while (this.#unread > 0) bytes += this.#lengths[this.#shift()]!;
    return bytes;
  }

  /** Moves to a new queue after the device was reset; what is unread stays. */
  rebind(queue: Virtqueue): void {
    this.#takeBack();
    this.#queue = queue;
  }

  /** Frees the buffers; only after the device was reset. */
  [Symbol.dispose](): void {
    this.#takeBack();
    for (const piece of this.#pieces) piece[Symbol.dispose]();
  }

  #takeBack(): void {
    for (let i = 0; i < this.#states.length; i++) {
      if (this.#states[i] !== State.POSTED) continue;
      this.#unshare(i);
      this.#states[i] = State.OURS;
    }
  }

  #append(i: number): void {
    this.#states[i] = State.FULL;
    this.#full[(this.#oldest + this.#unread++) % this.#full.length] = i;
  }

  #shift(): number {
    const i = this.#full[this.#oldest]!;
    this.#oldest = (this.#oldest + 1) % this.#full.length;
    this.#unread--;
    this.#states[i] = State.OURS;
    return i;
  }

  #post(i: number): void {
    const address = this.#piece(i).share(this.#start(i), this.#size, "from-device");
    this.#states[i] = State.POSTED;
    this.#queue.add(this.#chain.clear().addWritable(address, this.#size), i);
  }

  #piece(i: number): DmaRegion {
    const beyond = i - this.#first;
    return this.#pieces[beyond < 0 ? 0 : 1 + Math.floor(beyond / this.#each)]!;
  }

  /** Where a buffer is in its piece. */
  #start(i: number): number {
    const beyond = i - this.#first;
    return (beyond < 0 ? i : beyond % this.#each) * this.#size;
  }

  #unshare(i: number): void {
    this.#piece(i).unshare(this.#start(i), this.#size, "from-device");
  }
}
