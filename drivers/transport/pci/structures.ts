import { hi32, lo32, type Mmio, PCI_COMMON as COMMON, VireoError } from "@vireo/hal";
import { checkStructure, type StructureRule } from "./capabilities.ts";
import type { VirtioCapability } from "./details.ts";
import type { PciFunction } from "./function.ts";

/** A structure in a BAR. */
export interface Structure {
  /** The BAR. */
  readonly bar: Mmio;
  /** Its first byte there. */
  readonly base: number;
  /** Number of bytes in use. */
  readonly length: number;
}

/**
 * Checks and maps the structure that a capability describes.
 *
 * @throws {VireoError} `BAD_CAPABILITY` or `BAD_ACCESS`.
 */
export function openStructure(
  fn: PciFunction,
  capability: VirtioCapability,
  rule: StructureRule,
): Structure {
  const length = checkStructure(capability, rule, fn.bars, fn.name);
  return { bar: fn.window(capability.bar), base: capability.offset, length };
}

/** A 16-bit register of the common configuration. */
type Field16 =
  | "config_msix_vector"
  | "num_queues"
  | "queue_select"
  | "queue_size"
  | "queue_msix_vector"
  | "queue_enable"
  | "queue_notify_off"
  | "queue_notif_config_data"
  | "queue_reset"
  | "admin_queue_index"
  | "admin_queue_num";
/** A 32-bit register of the common configuration. */
type Field32 =
  | "device_feature_select"
  | "device_feature"
  | "driver_feature_select"
  | "driver_feature";

/** The common configuration (virtio 1.4 §4.1.4.3): each register with accesses of its own width. */
export class CommonConfig {
  /** Length in bytes, at most 64. */
  readonly length: number;
  readonly #bar: Mmio;
  readonly #base: number;

  /** Takes the mapped structure. */
  constructor({ bar, base, length }: Structure) {
    this.length = length;
    this.#bar = bar;
    this.#base = base;
  }

  /** Reads an 8-bit register. */
  read8(field: "device_status" | "config_generation"): number {
    return this.#bar.read8(this.#base + COMMON[field].offset);
  }

  /** Writes an 8-bit register. */
  write8(field: "device_status", value: number): void {
    this.#bar.write8(this.#base + COMMON[field].offset, value);
  }

  /** Reads a 16-bit register. */
  read16(field: Field16): number {
    return this.#bar.read16(this.#base + COMMON[field].offset);
  }

  /** Writes a 16-bit register. */
  write16(field: Field16, value: number): void {
    this.#bar.write16(this.#base + COMMON[field].offset, value);
  }

  /** Reads a 32-bit register. */
  read32(field: Field32): number {
    return this.#bar.read32(this.#base + COMMON[field].offset);
  }

  /** Writes a 32-bit register. */
  write32(field: Field32, value: number): void {
    this.#bar.write32(this.#base + COMMON[field].offset, value);
  }

  /** Writes a 64-bit register as two 32-bit words, the low one first (virtio 1.4 §4.1.3.1). */
  write64(field: "queue_desc" | "queue_driver" | "queue_device", value: number): void {
    const at = this.#base + COMMON[field].offset;
    this.#bar.write32(at, lo32(value));
    this.#bar.write32(at + 4, hi32(value));
  }
}

/** Notifies queues (virtio 1.4 §4.1.4.4); it computes each queue's address once. */
export class NotifyArea {
  readonly #bar: Mmio;
  readonly #base: number;
  readonly #length: number;
  readonly #multiplier: number;
  readonly #device: string;
  /** Offsets in the BAR by queue. */
  readonly #at: number[] = [];
  /** The value that names the queue to the device. */
  readonly #id: number[] = [];

  /** Takes the mapped structure, and the name for errors. */
  constructor({ bar, base, length }: Structure, multiplier: number, device: string) {
    this.#bar = bar;
    this.#base = base;
    this.#length = length;
    this.#multiplier = multiplier;
    this.#device = device;
  }

  /** Forgets all queues. */
  clear(): void {
    this.#at.length = 0;
  }

  /**
   * Remembers a queue.
   *
   * @param off Its `queue_notify_off`.
   * @param id The value to write, 16 bits.
   * @param width Width of the write in bytes.
   * @throws {VireoError} `BAD_CAPABILITY` If these bytes are outside the structure or misaligned.
   */
  add(queue: number, off: number, id: number, width: 2 | 4): void {
    const offset = off * this.#multiplier;
    const at = this.#base + offset;
    if (offset + width > this.#length || at % width !== 0) {
      throw new VireoError(
        "BAD_CAPABILITY",
        "Cannot notify the queue: its address must lie in the NOTIFY structure",
        {
          device: this.#device,
          register: "queue_notify_off",
          queue,
          seen: offset,
          expected: `${width} aligned bytes within 0x${this.#length.toString(16)}`,
        },
      );
    }
    this.#at[queue] = at;
    this.#id[queue] = id;
  }

  /**
   * Notifies the device: 16 bits, or 32 with the data in the upper half.
   *
   * @throws {TypeError} If the queue is not set up.
   */
  send(queue: number, data: number): void {
    const at = this.#at[queue];
    if (at === undefined) throw new TypeError(`Cannot notify queue ${queue}: it must be set up`);
    const id = this.#id[queue]!;
    if (data < 0) this.#bar.write16(at, id);
    else this.#bar.write32(at, ((data << 16) | id) >>> 0);
  }
}
