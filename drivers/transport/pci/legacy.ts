import {
  type Dma,
  FeatureSet,
  type Mmio,
  PCI_LEGACY as HEADER,
  PCI_LEGACY_MSIX as MSIX,
  PCI_LEGACY_PAGE_SIZE,
  PCI_MODERN_DEVICE_BASE,
  PCI_NO_VECTOR,
  splitRingLayout,
  VireoError,
} from "@vireo/hal";
import { PciTransport } from "./_transport.ts";
import type { PciDetails } from "./details.ts";
import type { PciFunction } from "./function.ts";
import type { AccessWidth, SharedMemoryRegion, Transport } from "../transport.ts";
import type { QueueAddresses } from "../../virtqueue/virtqueue.ts";

/** The base address register of the legacy interface. */
const BAR = 0;

/**
 * The legacy transport of virtio-pci (virtio 1.4 §4.1.4.10), with the accesses and their order as in
 * Linux's `virtio_pci_legacy.c`, except that a reset has a deadline.
 */
export class PciLegacyTransport extends PciTransport implements Transport {
  /** The kind. */
  readonly kind = "pci-legacy";
  /** Always true. */
  readonly legacy = true;
  /** A queue is one block of pages. */
  readonly legacyQueueAlign: number = PCI_LEGACY_PAGE_SIZE;
  /** True: the driver cannot choose a size. */
  readonly fixedQueueSize = true;
  /** None beyond those that the kind cannot carry. */
  readonly withheld: FeatureSet = FeatureSet.NONE;
  readonly #why: string;
  readonly #mmio: Mmio;

  private constructor(fn: PciFunction, mmio: Mmio, dma: Dma, why: string) {
    super(fn, fn.subsystem, dma);
    this.#mmio = mmio;
    this.#why = why;
  }

  /**
   * Makes the transport of a function (Linux's `virtio_pci_legacy_probe`).
   *
   * @param why Why this transport is tried, for reports.
   * @throws {VireoError} `NO_DEVICE` If it is not a virtio device with a legacy interface; `OUT_OF_MEMORY` If
   * BAR 0 cannot be mapped, as in Linux.
   */
  static probe(fn: PciFunction, dma: Dma, why = "it has a legacy device id"): PciLegacyTransport {
    const { device } = fn.node;
    const refuse = (why: string, seen: number): VireoError =>
      new VireoError("NO_DEVICE", `Cannot use the legacy interface: ${why}`, {
        device: fn.name,
        seen,
        base: 16,
      });
    if (device >= PCI_MODERN_DEVICE_BASE) {
      throw refuse("it is not in the range of transitional ids", device);
    }
    if (fn.revision !== 0) throw refuse("its revision is not 0", fn.revision);
    if (fn.subsystem === 0) throw refuse("virtio device id 0 is reserved", fn.subsystem);
    return new PciLegacyTransport(fn, mapHeader(fn), dma, why);
  }

  /** Details of the function. */
  get pci(): PciDetails {
    return this.describe("legacy", this.#why);
  }

  /** Reads the 32 feature bits of the legacy interface. */
  readFeatures(): FeatureSet {
    return FeatureSet.fromWords(this.#mmio.read32(HEADER.device_features.offset));
  }

  /**
   * Writes the accepted bits.
   *
   * @throws {RangeError} If one is over 31.
   */
  writeFeatures(features: FeatureSet): void {
    const high = [...features].find((bit) => bit > 31);
    if (high !== undefined) {
      throw new RangeError(`Cannot give a legacy device feature bit ${high}: expected at most 31`);
    }
    this.#mmio.write32(HEADER.driver_features.offset, features.word(0));
  }

  protected statusByte(): number {
    return this.#mmio.read8(HEADER.device_status.offset);
  }

  protected setStatusByte(status: number): void {
    this.#mmio.write8(HEADER.device_status.offset, status);
  }

  protected isr(): number {
    return this.#mmio.read8(HEADER.isr_status.offset);
  }

  protected forget(): void {}

  protected configVector(vector: number): number {
    const at = HEADER.SIZE + MSIX.config_msix_vector.offset;
    this.#mmio.write16(at, vector);
    return this.#mmio.read16(at);
  }

  protected queueVector(index: number, vector: number): number {
    const at = HEADER.SIZE + MSIX.queue_msix_vector.offset;
    this.#select(index);
    this.#mmio.write16(at, vector);
    return this.#mmio.read16(at);
  }

  #select(index: number): void {
    this.#mmio.write16(HEADER.queue_select.offset, index);
  }

  /**
   * Selects a queue and reads its size; 0 if the device lacks it.
   *
   * @throws {VireoError} `QUEUE_IN_USE` If it is already set up; `DEVICE_REMOVED`.
   */
  queueMaxSize(index: number): number {
    this.#select(index);
    const size = this.#mmio.read16(HEADER.queue_size.offset);
    if (size === 0) return 0;
    const pfn = this.#mmio.read32(HEADER.queue_address.offset);
    if (pfn === 0) return size;
    this.checkPresent();
    throw this.error("QUEUE_IN_USE", "Cannot set up the queue: it is already in use", {
      register: "Queue Address",
      queue: index,
      seen: pfn,
      expected: 0,
    });
  }

  /**
   * Sets up and enables a queue, which must have the device's size and be one block.
   *
   * @throws {VireoError} `QUEUE_UNAVAILABLE`, `QUEUE_IN_USE`, `QUEUE_SIZE` or `QUEUE_ADDRESS`.
   */
  enableQueue(index: number, queue: QueueAddresses): void {
    const size = this.queueMaxSize(index);
    if (size === 0) {
      throw this.error(
        "QUEUE_UNAVAILABLE",
        "Cannot set up the queue: the device does not have it",
        {
          register: "Queue Size",
          queue: index,
          seen: size,
          base: 10,
        },
      );
    }
    if (queue.size !== size) {
      throw this.error("QUEUE_SIZE", "Cannot set up the queue: it must have the device's size", {
        register: "Queue Size",
        queue: index,
        seen: queue.size,
        expected: size,
        base: 10,
      });
    }
    const pfn = queue.desc / PCI_LEGACY_PAGE_SIZE;
    const refuse = (what: string, seen: number, expected: number | string): VireoError =>
      this.error("QUEUE_ADDRESS", what, {
        register: "Queue Address",
        queue: index,
        seen,
        expected,
      });
    // Page number 0 takes a queue down.
    if (!Number.isSafeInteger(pfn) || pfn <= 0) {
      throw refuse("Cannot place the queue there", queue.desc, "a multiple of 0x1000 above 0");
    }
    if (pfn > 0xffffffff) {
      throw refuse("Cannot express the queue's page number", pfn, "at most 0xffffffff");
    }
    const { availOffset, usedOffset } = splitRingLayout(size, PCI_LEGACY_PAGE_SIZE);
    if (queue.driver !== queue.desc + availOffset || queue.device !== queue.desc + usedOffset) {
      throw refuse(
        "Cannot set up a legacy queue: its parts must be one block",
        queue.device,
        queue.desc + usedOffset,
      );
    }
    this.#mmio.write32(HEADER.queue_address.offset, pfn);
  }

  /** Does nothing: {@linkcode PciLegacyTransport.enableQueue} has enabled the queues. */
  startQueues(): void {}

  /** Disables a queue after a reset of the device. */
  disableQueue(index: number): void {
    this.#select(index);
    if (this.interrupts.vectorOf(index) !== PCI_NO_VECTOR) {
      const at = HEADER.SIZE + MSIX.queue_msix_vector.offset;
      this.#mmio.write16(at, PCI_NO_VECTOR);
      // Reading it back ensures that the device has seen the write, as in Linux.
      this.#mmio.read16(at);
    }
    this.#mmio.write32(HEADER.queue_address.offset, 0);
  }

  /** Always rejects: @throws {VireoError} `QUEUE_RESET_UNSUPPORTED`. */
  resetQueue(index: number): Promise<void> {
    return Promise.reject(
      this.error("QUEUE_RESET_UNSUPPORTED", "Cannot reset one queue: the device must be modern", {
        queue: index,
      }),
    );
  }

  /** Writes the queue's index. */
  notify(index: number, _data: number): void {
    this.#mmio.write16(HEADER.queue_notify.offset, index);
    const { pollLine } = this.interrupts;
    if (pollLine !== undefined) pollLine.kicked();
  }

  /**
   * Reads a configuration field, byte by byte.
   *
   * @throws {VireoError} `CONFIG_ACCESS` If it lies past BAR 0.
   */
  readConfig(offset: number, width: AccessWidth): number {
    const at = this.#configAddress(offset, width);
    let value = 0;
    for (let i = 0; i < width; i++) value |= this.#mmio.read8(at + i) << (8 * i);
    return value >>> 0;
  }

  /**
   * Writes a configuration field, byte by byte unless it is an aligned word.
   *
   * @throws {VireoError} `CONFIG_ACCESS` If it lies past BAR 0.
   */
  writeConfig(offset: number, width: AccessWidth, value: number): void {
    const at = this.#configAddress(offset, width);
    // One access, as the balloon's `actual` must be (drv.balloon.legacy-operation.2).
    if (width === 4 && at % 4 === 0) return this.#mmio.write32(at, value >>> 0);
    for (let i = 0; i < width; i++) this.#mmio.write8(at + i, (value >>> (8 * i)) & 0xff);
  }

  /** While MSI-X is on, its vectors are between the header and the configuration. */
  #configAddress(offset: number, width: AccessWidth): number {
    if (!Number.isInteger(offset) || offset < 0) {
      throw new RangeError(
        `Cannot access configuration at offset ${offset}: expected an integer of at least 0`,
      );
    }
    const at = HEADER.SIZE + (this.interrupts.enabled ? MSIX.SIZE : 0) + offset;
    if (at + width <= this.#mmio.size) return at;
    throw this.error("CONFIG_ACCESS", "Cannot access configuration: it must lie in BAR0", {
      register: `Config+${offset}`,
      seen: at + width,
      expected: `at most 0x${this.#mmio.size.toString(16)}`,
    });
  }

  /** Always 0: the legacy interface has no generation. */
  configGeneration(): number {
    return 0;
  }

  /** Always undefined: the legacy interface has no shared memory. */
  sharedMemory(_id: number): SharedMemoryRegion | undefined {
    return undefined;
  }
}

/** Maps BAR 0, which may be ports or memory. */
function mapHeader(fn: PciFunction): Mmio {
  const bar = fn.bars.find(({ index }) => index === BAR);
  const refuse = (seen: number, cause?: unknown): VireoError =>
    new VireoError("OUT_OF_MEMORY", "Cannot map the legacy interface in BAR0", {
      device: fn.name,
      register: "BAR0",
      seen,
      expected: `at least ${HEADER.SIZE} bytes`,
      base: 10,
      cause,
    });
  if (bar === undefined || bar.size < HEADER.SIZE) throw refuse(bar?.size ?? 0);
  try {
    return fn.lease.openBar(BAR);
  } catch (cause) {
    if (cause instanceof VireoError && cause.code === "BAD_ACCESS") throw refuse(bar.size, cause);
    throw cause;
  }
}
