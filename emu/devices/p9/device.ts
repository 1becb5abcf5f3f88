import {
  DeviceId,
  type FeatureNames,
  FeatureSet,
  P9_CONFIG,
  P9_HEADER,
  P9_MIN_MSIZE,
  P9Feature,
  P9Type,
} from "@vireo/hal";
import type {
  Chain,
  Clock,
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  ModelUsage,
  QueueSpec,
} from "../../device.ts";
import { readSpace } from "../config_space.ts";
import { RequestReader } from "./_message.ts";
import { P9Server, type P9ServerState, SERVER_BOUNDS } from "./_server.ts";
import type { P9Export } from "./export.ts";

/** Options of {@linkcode P9Device}. */
export interface P9DeviceOptions {
  /** The exported tree; disposed with the device, if it can be disposed. */
  readonly tree: P9Export;
  /** Mount tag, at most 31 bytes; `vireo` by default. */
  readonly tag?: string;
  /** Largest message, 4096 bytes to 1 MiB; 512 KiB and the header by default. */
  readonly messageSize?: number;
  /** Tells the time, in milliseconds since 1970. */
  readonly clock?: Clock;
  /** Keeps requests until {@linkcode P9Device.release}, for tests of Tflush. */
  readonly hold?: boolean;
}

const DEFAULT_SIZE = 512 * 1024 + 24;
const MAX_SIZE = 1 << 20;
const QUEUE_SIZE = 128;
/** Largest message without its data: a walk of 16 names of 255 bytes, or a long target. */
const MAX_HEAD = 16384;
/** Bytes of a Twrite before its data. */
const WRITE_HEAD = P9_HEADER.SIZE + 16;
/** Room that every answer must have: that of an Rlerror. */
const LEAST_ROOM = P9_HEADER.SIZE + 4;
const NONE = new Uint8Array(0);

interface Held {
  readonly chain: Chain;
  readonly type: number;
  readonly tag: number;
  /** How long it says that it is. */
  readonly length: number;
}

/**
 * A 9P transport that serves a tree of files by 9P2000.L.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { p9Driver } from "@vireo/drivers/p9";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { MemoryTree, P9Device } from "@vireo/emu/p9";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new P9Device({ tree: new MemoryTree({ "a/b.txt": "deep" }) });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(p9Driver);
 * await bus.addPlatform(machine);
 * const tree = await bus.get(p9Driver)!.attach();
 * assertEquals((await tree.list("a")).map(({ name }) => name), ["b.txt"]);
 * // The server keeps the root for its client, until that leaves.
 * assertEquals(device.fids, 1);
 * await tree[Symbol.asyncDispose]();
 * assertEquals(device.fids, 0);
 * ```
 */
export class P9Device implements DeviceModel {
  /** Name for reports. */
  readonly name = "9p";
  /** Virtio device id 9. */
  readonly deviceId: number = DeviceId.NINE_P;
  /** MOUNT_TAG. */
  readonly features: FeatureSet = FeatureSet.of(P9Feature.MOUNT_TAG);
  /** Names of the bits. */
  readonly featureNames: FeatureNames = P9Feature;
  /** One queue. */
  readonly queues: readonly QueueSpec[] = [{ name: "requests", maxSize: QUEUE_SIZE }];
  /** Size of `struct virtio_9p_config` with the tag, in bytes. */
  readonly configSize: number;
  /** Fids, names of open directories, and requests that are held back. */
  readonly bounds: ModelUsage = { ...SERVER_BOUNDS, items: SERVER_BOUNDS.items + QUEUE_SIZE };
  readonly #tree: P9Export;
  readonly #config: DataView<ArrayBuffer>;
  readonly #server: P9Server;
  readonly #hold: boolean;
  readonly #scratch: Uint8Array;
  readonly #head = new Uint8Array(MAX_HEAD);
  readonly #request = new RequestReader(this.#head);
  /** The data of the request that is being carried out: one object for all. */
  readonly #data = {
    room: 0,
    chain: undefined as Chain | undefined,
    scratch: (size: number): Uint8Array => {
      if (this.#view.length !== size) this.#view = this.#scratch.subarray(0, size);
      return this.#view;
    },
    spend: (steps: number): void => void this.#context?.work.spend(steps),
    take: (size: number): Uint8Array => {
      const bytes = this.#scratch.subarray(0, Math.min(size, this.#scratch.length));
      return bytes.subarray(0, this.#data.chain?.read(bytes) ?? 0);
    },
  };
  #context: DeviceContext | undefined;
  #held: Held[] = [];
  /** The first bytes of the memory for data, as many as the last request took. */
  #view: Uint8Array = NONE;

  /** Makes the device. @throws {RangeError} If the tag or the message size is out of bounds. */
  constructor(options: P9DeviceOptions) {
    const tag = new TextEncoder().encode(options.tag ?? "vireo");
    const size = options.messageSize ?? DEFAULT_SIZE;
    if (tag.length < 1 || tag.length > 31) {
      throw new RangeError(`Cannot use a mount tag of ${tag.length} bytes: expected 1 to 31`);
    }
    if (!Number.isInteger(size) || size < P9_MIN_MSIZE || size > MAX_SIZE) {
      throw new RangeError(
        `Cannot use messages of ${size} bytes: expected ${P9_MIN_MSIZE} to ${MAX_SIZE}`,
      );
    }
    // Drivers read in words.
    this.configSize = P9_CONFIG.SIZE + tag.length + 3 & ~3;
    const config = new Uint8Array(this.configSize);
    this.#config = new DataView(config.buffer);
    this.#config.setUint16(P9_CONFIG.tag_len.offset, tag.length, true);
    config.set(tag, P9_CONFIG.SIZE);
    this.#tree = options.tree;
    this.#server = new P9Server(options.tree, size, options.clock ?? Date.now);
    this.#hold = options.hold ?? false;
    this.#scratch = new Uint8Array(size);
  }

  /** Fids that the driver has. */
  get fids(): number {
    return this.#server.fids;
  }

  /** Requests that are held back. */
  get held(): number {
    return this.#held.length;
  }

  /** Carries out the requests that were held back. */
  release(): void {
    const queue = this.#context?.queue(0);
    if (queue === undefined) return;
    for (const { chain, type, tag, length } of this.#held.splice(0)) {
      if (!this.#serve(chain, type, tag, length)) return;
      queue.push(chain);
    }
    queue.signal();
  }

  /** Reads the configuration. */
  readConfig(offset: number, width: ConfigWidth): number {
    return readSpace(this.#config, offset, width);
  }

  /** Starts to serve the queue. */
  activate(context: DeviceContext): void {
    this.#context = context;
  }

  /** Serves what the queue holds. */
  notify(index: number): void {
    const queue = this.#context?.queue(index);
    if (queue === undefined) return;
    const { work } = this.#context!;
    for (let chain = work.take(queue); chain !== undefined; chain = work.take(queue)) {
      const done = this.#take(chain);
      if (done === undefined) return;
      if (done) queue.push(chain);
    }
    queue.signal();
  }

  /** Forgets the requests of the queue. */
  resetQueue(): void {
    this.#held = [];
  }

  /** Forgets the driver, and closes its files. */
  reset(): void {
    this.#context = undefined;
    this.#held = [];
    this.#server.reset();
  }

  /** Fids, names of open directories, and requests that are held back. */
  usage(): ModelUsage {
    const { items, bytes } = this.#server.usage();
    return { items: items + this.#held.length, bytes };
  }

  /** Fids as plain data; what they stand for is in the tree. */
  snapshot(): unknown {
    return this.#server.snapshot();
  }

  /** Takes fids back, and opens their files again: what was removed meanwhile is lost. */
  restore(state: unknown): void {
    this.#server.restore(state as P9ServerState);
  }

  /** Closes all files, and lets go of the tree. */
  [Symbol.dispose](): void {
    this.reset();
    this.#tree[Symbol.dispose]?.();
  }

  /** Takes a request; true if it is done, false if it is held, undefined after a fault. */
  #take(chain: Chain): boolean | undefined {
    if (chain.readableLength < P9_HEADER.SIZE || chain.writableLength < LEAST_ROOM) {
      this.#context?.fault(
        `9P request of ${chain.readableLength} and ${chain.writableLength} bytes, ` +
          `expected at least ${P9_HEADER.SIZE} and ${LEAST_ROOM}`,
      );
      return undefined;
    }
    const head = this.#head;
    chain.read(head, 0, P9_HEADER.SIZE);
    const type = head[P9_HEADER.type.offset]!;
    const at = P9_HEADER.tag.offset;
    const length = (head[0]! | head[1]! << 8 | head[2]! << 16 | head[3]! << 24) >>> 0;
    const tag = head[at]! | head[at + 1]! << 8;
    if (this.#hold && type !== P9Type.VERSION && type !== P9Type.FLUSH) {
      this.#held.push({ chain, type, tag, length });
      return false;
    }
    return this.#serve(chain, type, tag, length) ? true : undefined;
  }

  /** Gives a held request back unanswered, as QEMU does with one that was cancelled. */
  #flush(tag: number): void {
    const queue = this.#context?.queue(0);
    this.#held = this.#held.filter((held) => {
      if (held.tag === tag) queue?.push(held.chain, 0);
      return held.tag !== tag;
    });
  }

  /** Carries a request out; false after a fault. */
  #serve(chain: Chain, type: number, tag: number, length: number): boolean {
    const most = type === P9Type.WRITE ? WRITE_HEAD : MAX_HEAD;
    // The driver's word for the length: a message that is longer than what there is has no fields at all.
    const there = length > chain.readableLength ? 0 : Math.max(length, P9_HEADER.SIZE);
    const head = this.#head;
    const end = Math.min(most, there);
    if (end > P9_HEADER.SIZE) chain.read(head, P9_HEADER.SIZE, end - P9_HEADER.SIZE);
    if (type === P9Type.FLUSH && end >= P9_HEADER.SIZE + 2) {
      this.#flush(head[P9_HEADER.SIZE]! | head[P9_HEADER.SIZE + 1]! << 8);
    }
    const room = Math.min(chain.writableLength, Math.max(this.#server.msize, LEAST_ROOM));
    const request = this.#request.begin(end);
    this.#data.room = room - P9_HEADER.SIZE;
    this.#data.chain = chain;
    const { head: answer, data } = this.#server.serve(type, tag, request, this.#data);
    this.#data.chain = undefined;
    if (answer.length + data.length > chain.writableLength) {
      this.#context?.fault(
        `9P request ${type} has room for ${chain.writableLength} bytes, ` +
          `its answer takes ${answer.length + data.length}`,
      );
      return false;
    }
    chain.write(answer);
    chain.write(data);
    return true;
  }
}
