import { DescFlag } from "@vireo/hal";
import type { RequestStep } from "./request.ts";

/** Where programs put rings and buffers: the same address on both machines. */
export const ARENA = 0x4600_0000;
/** Queues of which programs know. */
const QUEUES = 6;
/** Bytes that each queue has of the arena: its ring, indirect tables, buffers. */
export const AREA = 0x2_0000;
/** Bytes of the arena. */
export const ARENA_SIZE: number = QUEUES * AREA;
/** Past a legacy ring of 1024 descriptors, the longest that QEMU gives. */
const TABLES = 0x7800;
/** Where a queue's buffers are in its area. */
export const BUFFERS = 0x8000;
/** Requests of a queue whose buffers are kept apart. */
const SLOTS = 8;
/** Bytes that the buffers of each of them have. */
export const SLOT_BYTES = 0x3000;
/** Most elements of a request. */
export const CHAIN = 8;

/** One element of a request: where it is in the arena. */
export interface Place {
  readonly at: number;
  readonly length: number;
  /** Whether the device writes it. */
  readonly write: boolean;
}

/** A descriptor, but for the fields after its flags, which each ring has otherwise. */
interface RawDescriptor {
  readonly address: number;
  readonly length: number;
  readonly flags: number;
}

/** A ring as a program writes it, byte by byte, and what the program can see of it. */
export abstract class Ring {
  /** Descriptors. */
  readonly size: number;
  /** Where its parts are, on the machine. */
  abstract readonly parts: {
    readonly desc: number;
    readonly driver: number;
    readonly device: number;
  };
  protected readonly memory: Uint8Array;
  protected readonly view: DataView;
  /** Where its area is in the arena. */
  protected readonly area: number;
  /** Requests made available. */
  protected added = 0;

  constructor(memory: Uint8Array, area: number, size: number) {
    this.memory = memory;
    this.view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
    this.area = area;
    this.size = size;
  }

  /** Which buffers and which table the next request has. */
  get slot(): number {
    return this.added % Math.min(SLOTS, Math.max(1, Math.floor(this.size / CHAIN)));
  }

  /** Where the indirect table of the next request is in the arena. */
  protected get table(): number {
    return this.area + TABLES + this.slot * 16 * CHAIN;
  }

  /** Makes a request available, with what is wrong with it. */
  abstract offer(
    step: RequestStep,
    places: readonly Place[],
    indirect: boolean,
    eventIdx: boolean,
  ): void;
  /** How many requests were used, modulo some number. */
  abstract used(): number;
  /** Lists the entries that were used since it was advanced, by name. */
  abstract observe(): [string, string][];
  /** Takes what was used so far as seen. */
  abstract advance(): void;

  /** The descriptors of a request, with what is wrong with them; NEXT is in the flags of all but the last. */
  protected describe({ wrong }: RequestStep, places: readonly Place[]): RawDescriptor[] {
    return places.map(({ at, length, write }, i) => {
      const last = i + 1 === places.length;
      const flags = (write !== (i === 0 && wrong === "order") ? DescFlag.WRITE : 0) |
        (last && wrong !== "loop" ? 0 : DescFlag.NEXT) |
        (last && wrong === "nested" ? DescFlag.INDIRECT : 0);
      const address = last && wrong === "outside" ? 0x7000_0000_1000 : ARENA + at;
      return { address, length, flags };
    });
  }

  /** Writes address and length; the upper words are the ring's. */
  protected put(at: number, { address, length }: RawDescriptor, low: number, high: number): void {
    this.view.setUint32(at, address % 2 ** 32, true);
    this.view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 12, low, true);
    this.view.setUint16(at + 14, high, true);
  }

  /** Returns the bytes that the device wrote. */
  protected data(places: readonly Place[]): string {
    return places.map(({ at, length }) => this.memory.subarray(at, at + length).toHex()).join(",");
  }
}
