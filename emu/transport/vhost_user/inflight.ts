import {
  INFLIGHT_PACKED,
  INFLIGHT_PACKED_ENTRY,
  type Libc,
  type Mapping,
} from "@vireo/hal/vhost-user";
import type { GuestMemory } from "../../memory.ts";
import type { QueueGeometry } from "../../ring/queue_config.ts";
import { type Views, views } from "./inflight_log.ts";
import { PackedLog } from "./inflight_packed.ts";
import { SplitLog } from "./inflight_split.ts";

/** Unit of the length of a queue's part of the memory, in bytes. */
const ALIGN = 64;

/** Bytes of a queue's part, for either ring. */
function partSize(queueSize: number): number {
  return Math.ceil((INFLIGHT_PACKED.SIZE + queueSize * INFLIGHT_PACKED_ENTRY.SIZE) / ALIGN) * ALIGN;
}

/** Bytes of the memory for some queues of a size. */
export function inflightSize(queues: number, queueSize: number): number {
  return queues * partSize(queueSize);
}

/**
 * Memory in which a back end notes the requests that it works on (vhost-user, "Inflight I/O tracking"). The
 * front end keeps it, and gives it to the next back end. What is in it can be any bytes.
 */
export class InflightMemory implements Disposable {
  readonly #libc: Libc;
  readonly #mapping: Mapping;
  readonly #offset: number;
  readonly #queues: number;
  readonly #queueSize: number;

  /**
   * Maps the memory; the descriptor stays the caller's.
   *
   * @param offset Bytes in the file before it, a multiple of 64.
   */
  constructor(libc: Libc, fd: number, offset: number, queues: number, queueSize: number) {
    this.#libc = libc;
    this.#offset = offset;
    this.#queues = queues;
    this.#queueSize = queueSize;
    this.#mapping = libc.map(fd, offset + inflightSize(queues, queueSize));
  }

  /** Most entries of a queue for which there is memory. */
  room(index: number): number {
    return index < this.#queues ? this.#queueSize : 0;
  }

  /**
   * The notes of a split queue, which has no more entries than there is room for.
   *
   * @param size Descriptors.
   */
  split(index: number, { size, used }: QueueGeometry, memory: GuestMemory): SplitLog {
    return new SplitLog(this.#part(index), size, memory.words16, memory.offset(used, 4) / 2 + 1);
  }

  /** The notes of a packed queue, which has no more entries than there is room for. */
  packed(index: number, { size, desc }: QueueGeometry, memory: GuestMemory): PackedLog {
    return new PackedLog(this.#part(index), size, memory, memory.offset(desc, 16 * size));
  }

  /** Unmaps the memory; queues that note in it must have stopped. */
  [Symbol.dispose](): void {
    this.#libc.unmap(this.#mapping);
  }

  #part(index: number): Views {
    const bytes = partSize(this.#queueSize);
    return views(this.#mapping.buffer, this.#offset + index * bytes, bytes);
  }
}
