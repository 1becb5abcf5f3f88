import {
  type Dma,
  Feature,
  FeatureSet,
  PCI_COMMON as COMMON,
  PCI_MODERN_DEVICE_BASE,
  PCI_NO_VECTOR,
  PciCapType,
  VireoError,
} from "@vireo/hal";
import type { QueueAddresses } from "../../virtqueue/virtqueue.ts";
import { type WaitOptions, within } from "../../wait/options.ts";
import { type PollSubject, pollUntil, RESET_DEADLINE } from "../../wait/poll.ts";
import type { AccessWidth, SharedMemoryRegion, Transport } from "../transport.ts";
import { PciTransport } from "./_transport.ts";
import { firstCapability, STRUCTURE } from "./capabilities.ts";
import type { PciDetails } from "./details.ts";
import type { PciFunction } from "./function.ts";
import { CommonConfig, NotifyArea, openStructure, type Structure } from "./structures.ts";

/** Number of 32-bit feature words, as in Linux. */
const FEATURE_WORDS = 4;
/** The end of each feature's registers in the common configuration, in bytes. */
const NEEDS: readonly (readonly [feature: number, bytes: number, register: string])[] = [
  [Feature.NOTIF_CONFIG_DATA, COMMON.queue_reset.offset, "queue_notif_config_data"],
  [Feature.RING_RESET, COMMON.admin_queue_index.offset, "queue_reset"],
];

/**
 * The modern transport of virtio-pci (virtio 1.4 §4.1), with the accesses and their order as in Linux's
 * `virtio_pci_modern.c`, except that resets have a deadline.
 */
export class PciModernTransport extends PciTransport implements Transport {
  /** The kind. */
  readonly kind = "pci-modern";
  /** Always false: the driver must accept VERSION_1. */
  readonly legacy = false;
  /** Undefined: each part of a queue has its own address. */
  readonly legacyQueueAlign: undefined = undefined;
  /** False: a queue may have any size up to the maximum. */
  readonly fixedQueueSize = false;
  /** Nothing. */
  readonly withheld: FeatureSet = FeatureSet.NONE;
  readonly #why: string;
  readonly #common: CommonConfig;
  readonly #notify: NotifyArea;
  readonly #isr: Structure;
  readonly #device: Structure | undefined;
  #accepted: FeatureSet = FeatureSet.NONE;
  /** Queues that are set up and still to be enabled. */
  #pending: number[] = [];
  /** Queues whose vector register holds their vector. */
  readonly #routed = new Set<number>();

  private constructor(fn: PciFunction, deviceId: number, dma: Dma, why: string) {
    super(fn, deviceId, dma);
    this.#why = why;
    const { virtio } = fn.capabilities;
    const common = firstCapability(virtio, PciCapType.COMMON);
    if (common === undefined) throw noDevice(fn, "the function has no COMMON structure");
    const isr = firstCapability(virtio, PciCapType.ISR);
    const notify = firstCapability(virtio, PciCapType.NOTIFY);
    if (isr === undefined || notify === undefined) {
      throw this.error("BAD_CAPABILITY", "Cannot use the modern interface: it lacks a structure", {
        seen: "COMMON",
        expected: isr === undefined ? "ISR too" : "NOTIFY too",
      });
    }
    const device = firstCapability(virtio, PciCapType.DEVICE);
    this.#common = new CommonConfig(openStructure(fn, common, STRUCTURE.COMMON));
    this.#isr = openStructure(fn, isr, STRUCTURE.ISR);
    const area = openStructure(fn, notify, STRUCTURE.NOTIFY);
    this.#notify = new NotifyArea(area, notify.multiplier!, fn.name);
    this.#device = device && openStructure(fn, device, STRUCTURE.DEVICE);
  }

  /**
   * Makes the transport of a function (Linux's `vp_modern_probe`).
   *
   * @param why Why this transport is tried, for reports.
   * @throws {VireoError} `NO_DEVICE` If it is not a virtio device with a modern interface; `BAD_CAPABILITY`
   * or `BAD_ACCESS` If its structures cannot be used.
   */
  static probe(fn: PciFunction, dma: Dma, why = "it has a COMMON structure"): PciModernTransport {
    const id = modernDeviceId(fn);
    return new PciModernTransport(fn, id, dma, why);
  }

  /** Details of the function. */
  get pci(): PciDetails {
    return this.describe("modern", this.#why);
  }

  /** Reads the 128 feature bits that the device offers, the low word first. */
  readFeatures(): FeatureSet {
    const words: number[] = [];
    for (let i = 0; i < FEATURE_WORDS; i++) {
      this.#common.write32("device_feature_select", i);
      words.push(this.#common.read32("device_feature"));
    }
    return FeatureSet.fromWords(...words);
  }

  /**
   * Writes the accepted bits, the low word first.
   *
   * @throws {VireoError} `VERSION_1_REQUIRED`; `BAD_CAPABILITY` If the common configuration is too short
   * for a feature's registers.
   */
  writeFeatures(features: FeatureSet): void {
    if (!features.has(Feature.VERSION_1)) {
      throw this.error(
        "VERSION_1_REQUIRED",
        "Cannot drive a modern device: VERSION_1 must be accepted",
        {
          register: "driver_feature",
          seen: features.word(1),
          expected: "bit 0 of word 1",
        },
      );
    }
    for (const [feature, bytes, register] of NEEDS) {
      if (!features.has(feature) || this.#common.length >= bytes) continue;
      throw this.error("BAD_CAPABILITY", `Cannot use feature ${feature}: COMMON is too short`, {
        register,
        seen: this.#common.length,
        expected: `at least ${bytes} bytes`,
        base: 10,
      });
    }
    this.#accepted = features;
    for (let i = 0; i < FEATURE_WORDS; i++) {
      this.#common.write32("driver_feature_select", i);
      this.#common.write32("driver_feature", features.word(i));
    }
  }

  protected statusByte(): number {
    return this.#common.read8("device_status");
  }

  protected setStatusByte(status: number): void {
    this.#common.write8("device_status", status);
  }

  protected isr(): number {
    return this.#isr.bar.read8(this.#isr.base);
  }

  protected forget(): void {
    this.#pending = [];
    this.#notify.clear();
  }

  protected configVector(vector: number): number {
    this.#common.write16("config_msix_vector", vector);
    return this.#common.read16("config_msix_vector");
  }

  protected queueVector(index: number, vector: number): number {
    this.#common.write16("queue_select", index);
    this.#common.write16("queue_msix_vector", vector);
    const seen = this.#common.read16("queue_msix_vector");
    if (seen === vector) this.#routed.add(index);
    return seen;
  }

  /**
   * Selects a queue and reads its largest size; 0 if the device lacks it.
   *
   * @throws {VireoError} `QUEUE_IN_USE` If it is already enabled or its reset is in progress;
   * `DEVICE_REMOVED`.
   */
  queueMaxSize(index: number): number {
    if (index >= this.#common.read16("num_queues")) return 0;
    this.#common.write16("queue_select", index);
    const max = this.#common.read16("queue_size");
    if (max === 0) return 0;
    this.#refuseBusy(index, "queue_enable", "queue_enable");
    if (this.#accepted.has(Feature.RING_RESET)) {
      this.#refuseBusy(index, "queue_reset", "queue_reset");
    }
    return max;
  }

  #refuseBusy(queue: number, field: "queue_enable" | "queue_reset", register: string): void {
    const seen = this.#common.read16(field);
    if (seen === 0) return;
    this.checkPresent();
    throw this.error("QUEUE_IN_USE", "Cannot set up the queue: it is already in use", {
      register,
      queue,
      seen,
      expected: 0,
    });
  }

  /**
   * Sets up a queue. {@linkcode PciModernTransport.startQueues} enables it, because only a reset can undo that.
   *
   * @throws {VireoError} `QUEUE_UNAVAILABLE`, `QUEUE_IN_USE`, `QUEUE_SIZE` or `QUEUE_ADDRESS`;
   * `BAD_CAPABILITY` If its notification address is outside the notification structure; `HOST_ERROR` If
   * the device refuses its vector.
   */
  enableQueue(index: number, queue: QueueAddresses): void {
    const max = this.queueMaxSize(index);
    if (max === 0) {
      throw this.error(
        "QUEUE_UNAVAILABLE",
        "Cannot set up the queue: the device does not have it",
        {
          register: "queue_size",
          queue: index,
          seen: max,
          base: 10,
        },
      );
    }
    if (!Number.isInteger(queue.size) || queue.size < 1 || queue.size > max) {
      throw this.error("QUEUE_SIZE", "Cannot set up a queue of this size", {
        register: "queue_size",
        queue: index,
        seen: queue.size,
        expected: `at most ${max}`,
        base: 10,
      });
    }
    this.#checkAddress(index, "queue_desc", queue.desc, 16);
    this.#checkAddress(index, "queue_driver", queue.driver, 2);
    this.#checkAddress(index, "queue_device", queue.device, 4);
    this.#addNotify(index);
    this.#common.write16("queue_size", queue.size);
    this.#common.write64("queue_desc", queue.desc);
    this.#common.write64("queue_driver", queue.driver);
    this.#common.write64("queue_device", queue.device);
    this.#restoreVector(index);
    this.#pending.push(index);
  }

  #checkAddress(queue: number, register: string, address: number, align: number): void {
    if (Number.isSafeInteger(address) && address >= 0 && address % align === 0) return;
    throw this.error("QUEUE_ADDRESS", "Cannot place a part of the queue there", {
      register,
      queue,
      seen: address,
      expected: `a multiple of 0x${align.toString(16)}`,
    });
  }

  #addNotify(index: number): void {
    const width = this.#accepted.has(Feature.NOTIFICATION_DATA) ? 4 : 2;
    const off = this.#common.read16("queue_notify_off");
    const id = this.#accepted.has(Feature.NOTIF_CONFIG_DATA)
      ? this.#common.read16("queue_notif_config_data")
      : index;
    this.#notify.add(index, off, id, width);
  }

  /** Writes a queue's vector again, which a reset of the queue clears. */
  #restoreVector(index: number): void {
    const vector = this.interrupts.vectorOf(index);
    if (vector === PCI_NO_VECTOR || this.#routed.has(index)) return;
    const seen = this.queueVector(index, vector);
    if (seen === vector) return;
    throw this.error(
      "HOST_ERROR",
      "Cannot restore the queue's interrupt vector: the device refuses it",
      {
        register: "queue_msix_vector",
        queue: index,
        seen,
        expected: vector,
      },
    );
  }

  /** Enables the queues that were set up. */
  startQueues(): void {
    for (const index of this.#pending) {
      this.#common.write16("queue_select", index);
      this.#common.write16("queue_enable", 1);
    }
    this.#pending = [];
  }

  /**
   * Disables a queue, after a reset of the device or before it was enabled. It only clears the vector, because
   * drivers must not write 0 to `queue_enable` (virtio 1.4 §4.1.4.3.2).
   *
   * @throws {VireoError} `QUEUE_IN_USE` If the device keeps it enabled.
   */
  disableQueue(index: number): void {
    this.#pending = this.#pending.filter((pending) => pending !== index);
    this.#routed.delete(index);
    this.#common.write16("queue_select", index);
    const enabled = this.#common.read16("queue_enable");
    if (enabled !== 0 && this.isPresent()) {
      throw this.error("QUEUE_IN_USE", "Cannot disable the queue: the device keeps it enabled", {
        register: "queue_enable",
        queue: index,
        seen: enabled,
        expected: 0,
      });
    }
    if (this.interrupts.vectorOf(index) === PCI_NO_VECTOR) return;
    this.#common.write16("queue_msix_vector", PCI_NO_VECTOR);
  }

  /**
   * Resets one queue and waits until `queue_reset` and `queue_enable` read 0.
   *
   * @throws {VireoError} `RESET_TIMEOUT`; `QUEUE_RESET_UNSUPPORTED` If the device lacks the register;
   * `DEVICE_REMOVED`.
   */
  async resetQueue(index: number, options: WaitOptions = {}): Promise<void> {
    if (this.#common.length < COMMON.admin_queue_index.offset) {
      throw this.error("QUEUE_RESET_UNSUPPORTED", "Cannot reset one queue: COMMON is too short", {
        register: "queue_reset",
        queue: index,
        seen: this.#common.length,
        expected: `at least ${COMMON.admin_queue_index.offset} bytes`,
        base: 10,
      });
    }
    this.#routed.delete(index);
    this.#common.write16("queue_select", index);
    this.#common.write16("queue_reset", 1);
    let seen = 0;
    const zero = (register: string): PollSubject => ({
      what: "the queue to reset",
      code: "RESET_TIMEOUT",
      details: () => ({ device: this.name, register, queue: index, seen, expected: 0 }),
    });
    // Another call may select another queue during a pause, so each read selects its own again.
    const reads = (field: "queue_reset" | "queue_enable") => (): boolean => {
      this.#common.write16("queue_select", index);
      seen = this.#common.read16(field);
      if (seen === 0xffff) this.checkPresent();
      return seen === 0;
    };
    const call = within(options, RESET_DEADLINE);
    await pollUntil(reads("queue_reset"), zero("queue_reset"), call);
    await pollUntil(reads("queue_enable"), zero("queue_enable"), call);
  }

  /**
   * Writes to the queue's notification address: 16 bits, or 32 with the data in the upper half.
   *
   * @throws {TypeError} If the queue was not set up.
   */
  notify(index: number, data: number): void {
    this.#notify.send(index, data);
    const { pollLine } = this.interrupts;
    if (pollLine !== undefined) pollLine.kicked();
  }

  /**
   * Reads a configuration field: one access of its width.
   *
   * @throws {VireoError} `CONFIG_ACCESS` If it lies past the device structure, or there is none.
   * @throws {RangeError} If it is misaligned.
   */
  readConfig(offset: number, width: AccessWidth): number {
    const { bar, base } = this.#checkConfig(offset, width);
    if (width === 1) return bar.read8(base + offset);
    return width === 2 ? bar.read16(base + offset) : bar.read32(base + offset);
  }

  /**
   * Writes a configuration field: one access of its width.
   *
   * @throws {VireoError} `CONFIG_ACCESS` If it lies past the device structure, or there is none.
   * @throws {RangeError} If it is misaligned.
   */
  writeConfig(offset: number, width: AccessWidth, value: number): void {
    const { bar, base } = this.#checkConfig(offset, width);
    if (width === 1) bar.write8(base + offset, value & 0xff);
    else if (width === 2) bar.write16(base + offset, value & 0xffff);
    else bar.write32(base + offset, value >>> 0);
  }

  #checkConfig(offset: number, width: AccessWidth): Structure {
    if (offset < 0 || offset % width !== 0) {
      throw new RangeError(
        `Cannot access ${width} configuration bytes at offset ${offset}: expected a multiple of ${width}`,
      );
    }
    const length = this.#device?.length ?? 0;
    if (this.#device !== undefined && offset + width <= length) return this.#device;
    throw this.error(
      "CONFIG_ACCESS",
      "Cannot access configuration: it must lie in the DEVICE structure",
      {
        register: `Config+${offset}`,
        seen: offset + width,
        expected: `at most 0x${length.toString(16)}`,
      },
    );
  }

  /** Reads `config_generation`. */
  configGeneration(): number {
    return this.#common.read8("config_generation");
  }

  /** Finds a shared memory region by the capability with this id. */
  sharedMemory(id: number): SharedMemoryRegion | undefined {
    const { capabilities: { virtio }, bars } = this.fn;
    const found = virtio.find((each) =>
      each.type === PciCapType.SHARED_MEMORY && each.id === id && each.refused === undefined
    );
    if (found === undefined || found.length === 0) return undefined;
    const { address } = bars.find(({ index }) => index === found.bar)!;
    return { address: address + found.offset, length: found.length };
  }
}

/** The virtio device id of a function that is virtio's (virtio 1.4 §4.1.2.1). */
function modernDeviceId(fn: PciFunction): number {
  const { device } = fn.node;
  const id = device < PCI_MODERN_DEVICE_BASE ? fn.subsystem : device - PCI_MODERN_DEVICE_BASE;
  if (id === 0) throw noDevice(fn, "virtio device id 0 is reserved", device);
  return id;
}

function noDevice(fn: PciFunction, why: string, seen?: number): VireoError {
  return new VireoError("NO_DEVICE", `Cannot use the modern interface: ${why}`, {
    device: fn.name,
    seen,
    base: 16,
  });
}
