import {
  type Dma,
  FeatureSet,
  hi32,
  type Interrupt,
  InterruptCause,
  join64,
  lo32,
  type Mmio,
  MMIO_LEGACY_PAGE_SIZE,
  MMIO_MAGIC,
  type MmioLease,
  type MmioNode,
  MmioRegister as Register,
  splitRingLayout,
  VireoError,
  type VireoErrorCode,
  type VireoErrorDetails,
} from "@vireo/hal";
import type { QueueAddresses } from "../virtqueue/virtqueue.ts";
import { type WaitOptions, within } from "../wait/options.ts";
import { type PollSubject, pollUntil, RESET_DEADLINE } from "../wait/poll.ts";
import type { AccessWidth, InterruptRoute, SharedMemoryRegion, Transport } from "./transport.ts";

/** The causes that the specification defines; other bits are ignored and never acknowledged. */
const CAUSES = InterruptCause.QUEUE | InterruptCause.CONFIG;
/** The value of SHMLen and SHMBase for a region that does not exist. */
const ABSENT = 0xffffffff;

/**
 * The virtio-mmio transport, versions 1 (legacy) and 2 (virtio 1.4 §4.2), with the register accesses
 * and their order as in Linux's `virtio_mmio.c`, except that a reset waits for its end.
 *
 * It accesses only 64 feature bits, as Linux does: no device on virtio-mmio has a bit over 63, and devices
 * log selectors over 1 as guest errors.
 *
 * @example
 * ```ts
 * import { ScriptedDevice, TestDma } from "@vireo/drivers/testing";
 * import { MmioTransport } from "@vireo/drivers/transport";
 * import { Feature, FeatureSet, Status } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new ScriptedDevice({ queues: [8] });
 * using transport = MmioTransport.probe(device, new TestDma())!;
 * await transport.reset();
 * transport.writeStatus(Status.ACKNOWLEDGE | Status.DRIVER);
 * transport.writeFeatures(FeatureSet.of(Feature.VERSION_1));
 * assertEquals([device.status, transport.queueMaxSize(0)], [3, 8]);
 * ```
 */
export class MmioTransport implements Transport {
  /** Name of the slot. */
  readonly name: string;
  /** The kind, with its version. */
  readonly kind: "mmio-1" | "mmio-2";
  /** Whether this is version 1. */
  readonly legacy: boolean;
  /** Virtio device id, never 0. */
  readonly deviceId: number;
  /** Virtio vendor id. */
  readonly vendorId: number;
  /** Memory that the device can reach. */
  readonly dma: Dma;
  /** The slot's interrupt line. */
  readonly interrupt: Interrupt;
  /** 4096 with version 1, where a queue is one block. */
  readonly legacyQueueAlign: number | undefined;
  /** False: a queue may have any size up to the maximum. */
  readonly fixedQueueSize = false;
  /** None beyond those that the kind cannot carry. */
  readonly withheld: FeatureSet = FeatureSet.NONE;
  /** Undefined: the slot is not a PCI function. */
  readonly pci: undefined = undefined;
  readonly #lease: MmioLease;
  readonly #mmio: Mmio;
  /** The queue that QueueSel selects, and its maximum; -1 if unknown. */
  #selected = -1;
  #selectedMax = 0;

  private constructor(
    name: string,
    lease: MmioLease,
    version: 1 | 2,
    deviceId: number,
    dma: Dma,
  ) {
    this.#lease = lease;
    this.#mmio = lease.mmio;
    this.name = name;
    this.legacy = version === 1;
    this.kind = version === 1 ? "mmio-1" : "mmio-2";
    this.legacyQueueAlign = version === 1 ? MMIO_LEGACY_PAGE_SIZE : undefined;
    this.deviceId = deviceId;
    this.vendorId = lease.mmio.read32(Register.VendorID);
    this.dma = dma;
    this.interrupt = lease.interrupt;
  }

  /**
   * Looks for a device in a slot (virtio 1.4 §4.2.3.1.1).
   *
   * @param node The slot.
   * @param dma Memory that its device can reach.
   * @returns The transport, or undefined if the slot is empty (DeviceID 0).
   * @throws {VireoError} `BAD_MAGIC` or `BAD_VERSION` If this is not virtio-mmio.
   */
  static probe(node: MmioNode, dma: Dma): MmioTransport | undefined {
    using cleanup = new DisposableStack();
    const lease = cleanup.use(node.open());
    const { mmio } = lease;
    const magic = mmio.read32(Register.MagicValue);
    if (magic !== MMIO_MAGIC) {
      throw new VireoError("BAD_MAGIC", "Cannot use the slot", {
        device: node.name,
        register: "MagicValue",
        seen: magic,
        expected: MMIO_MAGIC,
      });
    }
    const version = mmio.read32(Register.Version);
    if (version !== 1 && version !== 2) {
      throw new VireoError("BAD_VERSION", "Cannot use the slot", {
        device: node.name,
        register: "Version",
        seen: version,
        expected: "0x1 or 0x2",
      });
    }
    const deviceId = mmio.read32(Register.DeviceID);
    if (deviceId === 0) return undefined;
    const transport = new MmioTransport(node.name, lease, version, deviceId, dma);
    cleanup.move();
    return transport;
  }

  /** Reads the 64 feature bits that the device offers, the high word first. */
  readFeatures(): FeatureSet {
    this.#mmio.write32(Register.DeviceFeaturesSel, 1);
    const high = this.#mmio.read32(Register.DeviceFeatures);
    this.#mmio.write32(Register.DeviceFeaturesSel, 0);
    return FeatureSet.fromWords(this.#mmio.read32(Register.DeviceFeatures), high);
  }

  /**
   * Writes the accepted bits, the high word first.
   *
   * @throws {VireoError} `VERSION_1_REQUIRED` If a version 2 device would run without VERSION_1.
   */
  writeFeatures(features: FeatureSet): void {
    if (!this.legacy && (features.word(1) & 1) === 0) {
      throw this.#error(
        "VERSION_1_REQUIRED",
        "Cannot drive a version 2 device: VERSION_1 must be accepted",
        {
          register: "DriverFeatures",
          seen: features.word(1),
          expected: "bit 0 of word 1",
        },
      );
    }
    this.#mmio.write32(Register.DriverFeaturesSel, 1);
    this.#mmio.write32(Register.DriverFeatures, features.word(1));
    this.#mmio.write32(Register.DriverFeaturesSel, 0);
    this.#mmio.write32(Register.DriverFeatures, features.word(0));
  }

  /** Reads the device status. */
  readStatus(): number {
    return this.#mmio.read32(Register.Status) & 0xff;
  }

  /**
   * Writes the device status.
   *
   * @throws {RangeError} If it is 0; use {@linkcode MmioTransport.reset}.
   */
  writeStatus(status: number): void {
    if (status === 0) throw new RangeError("Cannot write status 0: use reset()");
    this.#mmio.write32(Register.Status, status);
  }

  /**
   * Resets the device and waits until its status reads 0; with version 1 it first writes the page size.
   *
   * @throws {VireoError} `RESET_TIMEOUT` If the device does not finish within the deadline.
   */
  async reset(options?: WaitOptions): Promise<void> {
    this.#selected = -1;
    // Linux writes the page size before the first reset and again when it restores a device.
    if (this.legacy) this.#mmio.write32(Register.GuestPageSize, MMIO_LEGACY_PAGE_SIZE);
    this.#mmio.write32(Register.Status, 0);
    let status = 0;
    await pollUntil(
      () => (status = this.#mmio.read32(Register.Status)) === 0,
      {
        what: "the device to reset",
        code: "RESET_TIMEOUT",
        details: () => ({ device: this.name, register: "Status", seen: status, expected: 0 }),
      },
      options,
    );
  }

  /**
   * Selects a queue and reads its largest size; 0 if the device lacks it.
   *
   * @throws {VireoError} `QUEUE_IN_USE` If it is already set up.
   */
  queueMaxSize(index: number): number {
    this.#mmio.write32(Register.QueueSel, index);
    this.#selected = -1;
    const register = this.legacy ? Register.QueuePFN : Register.QueueReady;
    const busy = this.#mmio.read32(register);
    if (busy !== 0) {
      throw this.#error("QUEUE_IN_USE", "Cannot set up the queue: it is already in use", {
        register: this.legacy ? "QueuePFN" : "QueueReady",
        queue: index,
        seen: busy,
        expected: 0,
      });
    }
    this.#selectedMax = this.#mmio.read32(Register.QueueSizeMax);
    this.#selected = index;
    return this.#selectedMax;
  }

  /** The one source: the line, or its stand-in, with a cause that must be read. */
  get route(): InterruptRoute {
    const { interrupt } = this;
    return {
      policy: interrupt.polled ? "poll" : "line",
      sources: [{ interrupt, cause: 0, queues: undefined }],
      refused: [],
    };
  }

  /** The slot's line, whatever the queues. */
  routeInterrupts(): InterruptRoute {
    return this.route;
  }

  /** Does nothing: {@linkcode MmioTransport.enableQueue} has enabled the queues. */
  startQueues(): void {}

  /**
   * Sets up and enables a queue.
   *
   * @throws {VireoError} `QUEUE_UNAVAILABLE`, `QUEUE_SIZE` or `QUEUE_ADDRESS`; the queue is then disabled.
   */
  enableQueue(index: number, queue: QueueAddresses): void {
    const max = this.#selected === index ? this.#selectedMax : this.queueMaxSize(index);
    if (max === 0) {
      throw this.#error(
        "QUEUE_UNAVAILABLE",
        "Cannot set up the queue: the device does not have it",
        {
          register: "QueueSizeMax",
          queue: index,
          seen: max,
          base: 10,
        },
      );
    }
    if (!Number.isInteger(queue.size) || queue.size < 1 || queue.size > max) {
      throw this.#error("QUEUE_SIZE", "Cannot set up a queue of this size", {
        register: "QueueSize",
        queue: index,
        seen: queue.size,
        expected: `at most ${max}`,
        base: 10,
      });
    }
    // An enabled queue reads as in use, so select it again next time.
    this.#selected = -1;
    this.#mmio.write32(Register.QueueSize, queue.size);
    try {
      if (this.legacy) this.#enableLegacy(index, queue);
      else this.#enable(index, queue);
    } catch (error) {
      this.#mmio.write32(this.legacy ? Register.QueuePFN : Register.QueueReady, 0);
      throw error;
    }
  }

  #enable(index: number, queue: QueueAddresses): void {
    this.#checkAddress(index, "QueueDescLow", queue.desc, 16);
    this.#checkAddress(index, "QueueDriverLow", queue.driver, 2);
    this.#checkAddress(index, "QueueDeviceLow", queue.device, 4);
    this.#mmio.write32(Register.QueueDescLow, lo32(queue.desc));
    this.#mmio.write32(Register.QueueDescHigh, hi32(queue.desc));
    this.#mmio.write32(Register.QueueDriverLow, lo32(queue.driver));
    this.#mmio.write32(Register.QueueDriverHigh, hi32(queue.driver));
    this.#mmio.write32(Register.QueueDeviceLow, lo32(queue.device));
    this.#mmio.write32(Register.QueueDeviceHigh, hi32(queue.device));
    this.#mmio.write32(Register.QueueReady, 1);
  }

  /** One block: the device derives the other parts from its page number, size and alignment. */
  #enableLegacy(index: number, queue: QueueAddresses): void {
    this.#checkAddress(index, "QueuePFN", queue.desc, MMIO_LEGACY_PAGE_SIZE);
    const { availOffset, usedOffset } = splitRingLayout(queue.size, MMIO_LEGACY_PAGE_SIZE);
    if (queue.driver !== queue.desc + availOffset || queue.device !== queue.desc + usedOffset) {
      throw this.#error(
        "QUEUE_ADDRESS",
        "Cannot set up a legacy queue: its parts must be one block",
        {
          register: "QueuePFN",
          queue: index,
          seen: queue.device,
          expected: queue.desc + usedOffset,
        },
      );
    }
    const pfn = queue.desc / MMIO_LEGACY_PAGE_SIZE;
    if (pfn > 0xffffffff) {
      throw this.#error("QUEUE_ADDRESS", "Cannot express the queue's page number in 32 bits", {
        register: "QueuePFN",
        queue: index,
        seen: pfn,
        expected: "at most 0xffffffff",
      });
    }
    this.#mmio.write32(Register.QueueAlign, MMIO_LEGACY_PAGE_SIZE);
    this.#mmio.write32(Register.QueuePFN, pfn);
  }

  #checkAddress(queue: number, register: string, address: number, align: number): void {
    if (Number.isSafeInteger(address) && address >= 0 && address % align === 0) return;
    throw this.#error("QUEUE_ADDRESS", "Cannot place a part of the queue there", {
      register,
      queue,
      seen: address,
      expected: `a multiple of 0x${align.toString(16)}`,
    });
  }

  /**
   * Disables a queue after a reset of the device.
   *
   * @throws {VireoError} `QUEUE_IN_USE` If a version 2 device keeps it enabled.
   */
  disableQueue(index: number): void {
    this.#mmio.write32(Register.QueueSel, index);
    this.#selected = -1;
    if (this.legacy) {
      this.#mmio.write32(Register.QueuePFN, 0);
      return;
    }
    this.#mmio.write32(Register.QueueReady, 0);
    const ready = this.#mmio.read32(Register.QueueReady);
    if (ready !== 0) {
      throw this.#error("QUEUE_IN_USE", "Cannot disable the queue: the device keeps it enabled", {
        register: "QueueReady",
        queue: index,
        seen: ready,
        expected: 0,
      });
    }
  }

  /**
   * Resets one queue and waits until QueueReset and QueueReady read 0.
   *
   * @throws {VireoError} `RESET_TIMEOUT`; `QUEUE_RESET_UNSUPPORTED` with version 1.
   */
  async resetQueue(index: number, options: WaitOptions = {}): Promise<void> {
    if (this.legacy) {
      throw this.#error(
        "QUEUE_RESET_UNSUPPORTED",
        "Cannot reset one queue: the device must be of version 2",
        {
          queue: index,
        },
      );
    }
    this.#mmio.write32(Register.QueueSel, index);
    this.#selected = -1;
    this.#mmio.write32(Register.QueueReset, 1);
    let seen = 0;
    const zero = (register: string): PollSubject => ({
      what: "the queue to reset",
      code: "RESET_TIMEOUT",
      details: () => ({ device: this.name, register, queue: index, seen, expected: 0 }),
    });
    // Another call may select another queue during a pause, so each read selects its own again.
    const reads = (register: Register) => (): boolean => {
      this.#mmio.write32(Register.QueueSel, index);
      this.#selected = -1;
      return (seen = this.#mmio.read32(register)) === 0;
    };
    const call = within(options, RESET_DEADLINE);
    await pollUntil(reads(Register.QueueReset), zero("QueueReset"), call);
    await pollUntil(reads(Register.QueueReady), zero("QueueReady"), call);
  }

  /** Writes QueueNotify: the index, with the data in the upper half unless it is -1. */
  notify(index: number, data: number): void {
    this.#mmio.write32(Register.QueueNotify, data < 0 ? index : ((data << 16) | index) >>> 0);
  }

  /**
   * Reads a configuration field: one access of its width, or bytes with version 1.
   *
   * @throws {VireoError} `CONFIG_ACCESS` If it lies past the register window.
   * @throws {RangeError} If it is misaligned.
   */
  readConfig(offset: number, width: AccessWidth): number {
    const at = this.#configAddress(offset, width);
    if (this.legacy) {
      let value = 0;
      for (let i = 0; i < width; i++) value |= this.#mmio.read8(at + i) << (8 * i);
      return value >>> 0;
    }
    if (width === 1) return this.#mmio.read8(at);
    return width === 2 ? this.#mmio.read16(at) : this.#mmio.read32(at);
  }

  /**
   * Writes a configuration field: one access of its width, or bytes with version 1 unless it is an aligned word.
   *
   * @throws {VireoError} `CONFIG_ACCESS` If it lies past the register window.
   * @throws {RangeError} If it is misaligned.
   */
  writeConfig(offset: number, width: AccessWidth, value: number): void {
    const at = this.#configAddress(offset, width);
    // A word is one access on either version: the balloon's `actual` must be (drv.balloon.legacy-operation.2).
    if (this.legacy && (width !== 4 || at % 4 !== 0)) {
      for (let i = 0; i < width; i++) this.#mmio.write8(at + i, (value >>> (8 * i)) & 0xff);
    } else if (width === 1) this.#mmio.write8(at, value & 0xff);
    else if (width === 2) this.#mmio.write16(at, value & 0xffff);
    else this.#mmio.write32(at, value >>> 0);
  }

  #configAddress(offset: number, width: AccessWidth): number {
    if (!Number.isInteger(offset) || offset < 0 || (!this.legacy && offset % width !== 0)) {
      throw new RangeError(
        `Cannot access ${width} configuration bytes at offset ${offset}: expected a multiple of ${width}`,
      );
    }
    const address = Register.Config + offset;
    if (address + width > this.#mmio.size) {
      throw this.#error(
        "CONFIG_ACCESS",
        "Cannot access configuration: it must lie in the register window",
        {
          register: `Config+${offset}`,
          seen: address + width,
          expected: `at most 0x${this.#mmio.size.toString(16)}`,
        },
      );
    }
    return address;
  }

  /** Reads ConfigGeneration; 0 with version 1. */
  configGeneration(): number {
    return this.legacy ? 0 : this.#mmio.read32(Register.ConfigGeneration);
  }

  /**
   * Finds a shared memory region; version 1 has none.
   *
   * @throws {VireoError} `CONFIG_INVALID` If it lies past 2^53.
   */
  sharedMemory(id: number): SharedMemoryRegion | undefined {
    if (this.legacy) return undefined;
    this.#mmio.write32(Register.SHMSel, id);
    const lengthLow = this.#mmio.read32(Register.SHMLenLow);
    const lengthHigh = this.#mmio.read32(Register.SHMLenHigh);
    if (lengthLow === ABSENT && lengthHigh === ABSENT) return undefined;
    const baseLow = this.#mmio.read32(Register.SHMBaseLow);
    const baseHigh = this.#mmio.read32(Register.SHMBaseHigh);
    // A device without these registers reads 0.
    if (lengthLow === 0 && lengthHigh === 0) return undefined;
    try {
      return { address: join64(baseLow, baseHigh), length: join64(lengthLow, lengthHigh) };
    } catch (cause) {
      throw this.#error("CONFIG_INVALID", `Cannot address shared memory region ${id}`, {
        register: "SHMBaseLow",
        cause,
      });
    }
  }

  /** Reads InterruptStatus and acknowledges its defined bits. */
  takeInterruptCause(): number {
    const cause = this.#mmio.read32(Register.InterruptStatus) & CAUSES;
    // Acknowledge before handling, so that new events during the handling raise the line again.
    if (cause !== 0) this.#mmio.write32(Register.InterruptACK, cause);
    return cause;
  }

  /** Reads InterruptStatus. */
  peekInterruptCause(): number {
    return this.#mmio.read32(Register.InterruptStatus) & CAUSES;
  }

  /** Whether the slot still has a device of this type; some machines can empty one. */
  isPresent(): boolean {
    return this.#mmio.read32(Register.DeviceID) === this.deviceId;
  }

  /** Unmaps the registers. */
  [Symbol.dispose](): void {
    this.#lease[Symbol.dispose]();
  }

  #error(code: VireoErrorCode, what: string, details: VireoErrorDetails): VireoError {
    return new VireoError(code, what, { device: this.name, ...details });
  }
}
