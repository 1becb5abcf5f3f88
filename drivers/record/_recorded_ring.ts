import { PackedDescFlag, splitRingLayout } from "@vireo/hal";
import type { Ring } from "../virtqueue/create_ring.ts";
import { PassingRing } from "../virtqueue/passing_ring.ts";
import type { SgList } from "../virtqueue/virtqueue.ts";
import { checksum, CHECKSUM_START } from "./_checksum.ts";
import { RecordKind } from "./format.ts";
import type { Recorder } from "./recorder.ts";

/** Parts of a recorded ring. */
interface RingRecord {
  readonly recorder: Recorder;
  /** Its number in the recording. */
  readonly id: number;
  readonly packed: boolean;
}

const BOTH = PackedDescFlag.AVAIL | PackedDescFlag.USED;
/** Words of a packed descriptor. */
const WORDS = 4;

/**
 * A ring whose steps go to a recording. Before each step it records what the device wrote to the ring since the
 * step before; where the answer of a step shows that the device wrote during it, that comes before the step too.
 */
export class RecordedRing extends PassingRing {
  readonly #recorder: Recorder;
  readonly #id: number;
  /** The parts that the device writes, as they were recorded, and as they are. */
  readonly #parts: readonly Part[];
  /** The writable elements of buffers in flight. */
  readonly #writable = new Map<number, readonly number[]>();

  constructor(ring: Ring, { recorder, id, packed }: RingRecord) {
    super(ring);
    this.#recorder = recorder;
    this.#id = id;
    const { size, desc, device } = ring.addresses;
    const bytes = (address: number, length: number): Uint8Array =>
      recorder.memory.find(address, length) ?? new Uint8Array(0);
    this.#parts = packed
      ? [
        new PackedPart(desc, bytes(desc, size * WORDS * 4)),
        new EventPart(device, bytes(device, 4)),
      ]
      : [new UsedPart(device, bytes(device, splitRingLayout(size, 4).usedSize), size)];
  }

  /** Records what the device wrote since the last look. */
  sync(): void {
    for (const part of this.#parts) part.sync(this.#wrote);
  }

  override add(chain: SgList, token: number): boolean {
    if (!this.inner.add(chain, token)) return false;
    const { log, memory } = this.#recorder;
    log.begin(RecordKind.ADD);
    log.number(this.#id);
    log.number(token);
    log.number(chain.readable);
    log.number(chain.count);
    const writable: number[] = [];
    let hash = CHECKSUM_START;
    for (let i = 0; i < chain.count; i++) {
      const [address, length] = [chain.address(i), chain.length(i)];
      log.number(address);
      log.number(length);
      if (i >= chain.readable) writable.push(address, length);
      else hash = checksum(hash, memory.find(address, length) ?? new Uint8Array(0));
    }
    log.number(hash >>> 0);
    this.#writable.set(token, writable);
    return true;
  }

  override kick(): void {
    this.sync();
    this.#step(RecordKind.KICK, 0);
    this.inner.kick();
  }

  override kickAgain(): void {
    this.#step(RecordKind.KICK, 1);
    this.inner.kickAgain();
  }

  override pop(): number {
    this.sync();
    const token = this.inner.pop();
    if (token >= 0) {
      this.sync();
      this.#data(token);
    }
    this.#step(RecordKind.POP, token + 1);
    return token;
  }

  override hasUsed(): boolean {
    if (this.#recorder.polling) return this.inner.hasUsed();
    this.sync();
    const used = this.inner.hasUsed();
    if (used) this.sync();
    this.#step(RecordKind.LOOK, used ? 1 : 0);
    return used;
  }

  override disableCallbacks(): void {
    this.inner.disableCallbacks();
    this.#callbacks(0, true);
  }

  override enableCallbacks(): boolean {
    this.sync();
    const none = this.inner.enableCallbacks();
    if (!none) this.sync();
    this.#callbacks(1, none);
    return none;
  }

  override enableCallbacksDelayed(): boolean {
    this.sync();
    const none = this.inner.enableCallbacksDelayed();
    if (!none) this.sync();
    this.#callbacks(2, none);
    return none;
  }

  override detachUnused(): number {
    const token = this.inner.detachUnused();
    this.#writable.delete(token);
    return token;
  }

  override [Symbol.dispose](): void {
    this.#recorder.drop(this);
    super[Symbol.dispose]();
  }

  readonly #wrote = (address: number, bytes: Uint8Array): void => {
    const { log } = this.#recorder;
    log.begin(RecordKind.MEMORY);
    log.number(this.#id);
    log.number(address);
    log.blob(bytes);
  };

  #step(kind: number, value: number): void {
    const { log } = this.#recorder;
    log.begin(kind);
    log.number(this.#id);
    log.number(value);
  }

  #callbacks(mode: number, none: boolean): void {
    const { log } = this.#recorder;
    log.begin(RecordKind.CALLBACKS);
    log.number(this.#id);
    log.number(mode);
    log.number(none ? 1 : 0);
  }

  /** Records what the device wrote to a buffer: as much as it says, and the last byte, which may be a status. */
  #data(token: number): void {
    const elements = this.#writable.get(token) ?? [];
    this.#writable.delete(token);
    let left = this.inner.usedLength;
    for (let i = 0; i < elements.length; i += 2) {
      const [address, length] = [elements[i]!, elements[i + 1]!];
      const written = Math.min(left, length);
      left -= written;
      if (written > 0) this.#seen(address, written);
      const last = i + 2 === elements.length;
      if (last && written < length) this.#seen(address + length - 1, 1);
    }
  }

  #seen(address: number, length: number): void {
    const bytes = this.#recorder.memory.find(address, length);
    if (bytes !== undefined) this.#wrote(address, bytes);
  }
}

type Wrote = (address: number, bytes: Uint8Array) => void;

/** A part of a ring that the device writes. */
interface Part {
  /** Reports what changed since the last call. */
  sync(wrote: Wrote): void;
}

/** The used ring of a split ring (virtio 1.4 §2.7.8): entries before the index that shows them. */
class UsedPart implements Part {
  readonly #address: number;
  readonly #bytes: Uint8Array;
  readonly #words: Uint16Array;
  readonly #size: number;
  #flags = 0;
  #index = 0;
  #availEvent = 0;

  constructor(address: number, bytes: Uint8Array, size: number) {
    this.#address = address;
    this.#bytes = bytes;
    this.#words = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1);
    this.#size = size;
  }

  sync(wrote: Wrote): void {
    const words = this.#words;
    // Pairs with the device's store of idx: entries up to it are visible after this load.
    const index = Atomics.load(words, 1);
    if (index !== this.#index) {
      // A device that jumps shows entries that it may not have written: a ring's worth at most.
      const fresh = Math.min(index - this.#index & 0xffff, this.#size);
      for (let i = 0; i < fresh; i++) {
        const at = 4 + 8 * (this.#index + i & this.#size - 1);
        wrote(this.#address + at, this.#bytes.subarray(at, at + 8));
      }
      this.#index = index;
      wrote(this.#address + 2, Uint8Array.of(index & 0xff, index >> 8));
    }
    const flags = words[0]!;
    if (flags !== this.#flags) {
      this.#flags = flags;
      wrote(this.#address, Uint8Array.of(flags & 0xff, flags >> 8));
    }
    const event = words[words.length - 1]!;
    if (event !== this.#availEvent) {
      this.#availEvent = event;
      const at = 4 + 8 * this.#size;
      wrote(this.#address + at, Uint8Array.of(event & 0xff, event >> 8));
    }
  }
}

/** The descriptors of a packed ring (virtio 1.4 §2.8.1): those that the device marked used. */
class PackedPart implements Part {
  readonly #address: number;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #known: Uint32Array;

  constructor(address: number, bytes: Uint8Array) {
    this.#address = address;
    this.#bytes = bytes;
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    this.#known = new Uint32Array(this.#words.length);
  }

  sync(wrote: Wrote): void {
    const [words, known] = [this.#words, this.#known];
    for (let at = 2; at < words.length; at += WORDS) {
      const [length, last] = [words[at]!, words[at + 1]!];
      if (length === known[at] && last === known[at + 1]) continue;
      [known[at], known[at + 1]] = [length, last];
      const owner = last >>> 16 & BOTH;
      // One flag alone: the driver made it available.
      if (owner !== 0 && owner !== BOTH) continue;
      wrote(this.#address + 4 * at, this.#bytes.slice(4 * at, 4 * at + 8));
    }
  }
}

/** The device's event suppression of a packed ring (virtio 1.4 §2.8.14). */
class EventPart implements Part {
  readonly #address: number;
  readonly #bytes: Uint8Array;
  #known = 0;

  constructor(address: number, bytes: Uint8Array) {
    this.#address = address;
    this.#bytes = bytes;
  }

  sync(wrote: Wrote): void {
    const [b0, b1, b2, b3] = this.#bytes as unknown as [number, number, number, number];
    const value = b0 | b1 << 8 | b2 << 16 | b3 << 24;
    if (value === this.#known) return;
    this.#known = value;
    wrote(this.#address, this.#bytes.slice());
  }
}
