import {
  type Field,
  type Mmio,
  MmioRegister as R,
  PCI_CAP,
  PCI_COMMON,
  PCI_LEGACY,
  PCI_NOTIFY_CAP,
  PciCapability,
  PciCapType,
  type PciLease,
  PciRegister,
} from "@vireo/hal";
import type { Side } from "./program.ts";

/** I/O, memory and bus master. */
const COMMAND = 7;

/** Where the common configuration has what registers of virtio-mmio are. */
const MODERN: Readonly<Record<number, Field>> = {
  [R.DeviceFeaturesSel]: PCI_COMMON.device_feature_select,
  [R.DeviceFeatures]: PCI_COMMON.device_feature,
  [R.DriverFeaturesSel]: PCI_COMMON.driver_feature_select,
  [R.DriverFeatures]: PCI_COMMON.driver_feature,
  [R.QueueSel]: PCI_COMMON.queue_select,
  [R.QueueSizeMax]: PCI_COMMON.queue_size,
  [R.QueueSize]: PCI_COMMON.queue_size,
  [R.QueueReady]: PCI_COMMON.queue_enable,
  [R.Status]: PCI_COMMON.device_status,
  [R.QueueDescLow]: half(PCI_COMMON.queue_desc, 0),
  [R.QueueDescHigh]: half(PCI_COMMON.queue_desc, 4),
  [R.QueueDriverLow]: half(PCI_COMMON.queue_driver, 0),
  [R.QueueDriverHigh]: half(PCI_COMMON.queue_driver, 4),
  [R.QueueDeviceLow]: half(PCI_COMMON.queue_device, 0),
  [R.QueueDeviceHigh]: half(PCI_COMMON.queue_device, 4),
};

/** Where the legacy header has them. */
const LEGACY: Readonly<Record<number, Field>> = {
  [R.DeviceFeatures]: PCI_LEGACY.device_features,
  [R.DriverFeatures]: PCI_LEGACY.driver_features,
  [R.QueueSel]: PCI_LEGACY.queue_select,
  [R.QueueSizeMax]: PCI_LEGACY.queue_size,
  [R.QueuePFN]: PCI_LEGACY.queue_address,
  [R.QueueNotify]: PCI_LEGACY.queue_notify,
  [R.Status]: PCI_LEGACY.device_status,
};

/** A part of a window. */
interface Place {
  readonly window: Mmio;
  readonly offset: number;
}

/** A register window of virtio-mmio. */
export function mmioSide(name: string, memory: Uint8Array, window: Mmio): Side {
  const place = { window, offset: 0 };
  return {
    name,
    memory,
    fixedSizes: false,
    read: (offset, width) => read(place, offset, width),
    write: (offset, width, value) => write(place, offset, width, value),
  };
}

/**
 * A function by the names of virtio-mmio's registers, so that programs are the same on both: what has no
 * counterpart does nothing. The ISR, which reading clears, is kept as InterruptStatus until InterruptACK.
 */
export class PciSide implements Side {
  readonly name: string;
  readonly memory: Uint8Array;
  readonly fixedSizes: boolean;
  readonly #fields: Readonly<Record<number, Field>>;
  /** Place of the fields. */
  readonly #common: Place;
  readonly #isr: Place;
  /** The device configuration, if there is one. */
  readonly #config: Place | undefined;
  /** Where the modern interface is notified, and how far apart its queues are there. */
  readonly #notify: Place & { readonly multiplier: number } | undefined;
  #status = 0;

  /** Lets a function decode, and finds its structures. */
  constructor(name: string, memory: Uint8Array, lease: PciLease, legacy: boolean) {
    this.name = name;
    this.memory = memory;
    this.fixedSizes = legacy;
    const { config } = lease;
    config.write16(PciRegister.COMMAND, COMMAND);
    this.#fields = legacy ? LEGACY : MODERN;
    if (legacy) {
      const window = lease.openBar(0);
      this.#common = { window, offset: 0 };
      this.#isr = { window, offset: PCI_LEGACY.isr_status.offset };
      this.#config = { window, offset: PCI_LEGACY.SIZE };
      return;
    }
    const found = new Map<number, Place>();
    let multiplier = 0;
    for (let at = config.read8(PciRegister.CAPABILITIES); at !== 0; at = config.read8(at + 1)) {
      if (config.read8(at) !== PciCapability.VENDOR) continue;
      const type = config.read8(at + PCI_CAP.cfg_type.offset);
      if (found.has(type) || type === PciCapType.PCI) continue;
      const window = lease.openBar(config.read8(at + PCI_CAP.bar.offset));
      found.set(type, { window, offset: config.read32(at + PCI_CAP.offset.offset) });
      if (type !== PciCapType.NOTIFY) continue;
      multiplier = config.read32(at + PCI_NOTIFY_CAP.notify_off_multiplier.offset);
    }
    this.#common = found.get(PciCapType.COMMON)!;
    this.#isr = found.get(PciCapType.ISR)!;
    this.#config = found.get(PciCapType.DEVICE);
    this.#notify = { ...found.get(PciCapType.NOTIFY)!, multiplier };
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (offset >= R.Config) return read(this.#config, offset - R.Config, width);
    if (offset === R.InterruptStatus) return this.#status |= read(this.#isr, 0, 1);
    const field = this.#fields[offset];
    return field === undefined ? 0 : read(this.#common, field.offset, field.size);
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (offset >= R.Config) return write(this.#config, offset - R.Config, width, value);
    if (offset === R.InterruptACK) {
      this.#status = this.read(R.InterruptStatus, 4) & ~value;
      return;
    }
    if (offset === R.QueueNotify && this.#notify !== undefined) return this.#tell(value);
    const field = this.#fields[offset];
    if (field !== undefined) write(this.#common, field.offset, field.size, value);
    // A reset clears it on virtio-mmio too.
    if (offset === R.Status && (value & 0xff) === 0) this.#status = 0;
  }

  /** There is no address for a queue that the device does not have. */
  #tell(queue: number): void {
    const { offset, size } = PCI_COMMON.num_queues;
    if (queue >= read(this.#common, offset, size)) return;
    write(this.#notify, queue * this.#notify!.multiplier, 2, queue);
  }
}

function half(field: Field, offset: number): Field {
  return { offset: field.offset + offset, size: 4 };
}

function read(place: Place | undefined, offset: number, width: number): number {
  if (place === undefined) return 0;
  offset += place.offset;
  if (width === 1) return place.window.read8(offset);
  return width === 2 ? place.window.read16(offset) : place.window.read32(offset);
}

function write(place: Place | undefined, offset: number, width: number, value: number): void {
  if (place === undefined) return;
  offset += place.offset;
  if (width === 1) place.window.write8(offset, value & 0xff);
  else if (width === 2) place.window.write16(offset, value & 0xffff);
  else place.window.write32(offset, value);
}
