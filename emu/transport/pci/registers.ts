import { PCI_COMMON, PCI_LEGACY, PCI_LEGACY_MSIX } from "@vireo/hal";
import type { ConfigWidth } from "../../device.ts";
import type { ViolationPlace } from "../../device_state.ts";
import type { HostedDevice } from "../../hosted_device.ts";
import type { QueueRegisters } from "../queue_registers.ts";

/** An access whose width is not its field's. */
export const CONFIG_WIDTH: ViolationPlace = { clause: "4.1.3.1", rule: "drv.pci.layout.1" };
/** A write of a field that drivers only read. */
const READ_ONLY: ViolationPlace = { clause: "4.1.4.3.2", rule: "drv.pci.common-cfg.1" };

/** The function behind the registers. */
export interface RegisterBank {
  /** The device. */
  readonly hosted: HostedDevice;
  /** The registers of the selected queue. */
  readonly queue: QueueRegisters;
  /** `device_feature_select`. */
  deviceFeatureSelect: number;
  /** `driver_feature_select`. */
  driverFeatureSelect: number;
  /** Vector of configuration changes. */
  configVector: number;
  /** Vector of the selected queue. */
  queueVector: number;
  /** Takes a write of the device status through one of the interfaces. */
  writeStatus(value: number, legacy: boolean): void;
  /** Reads and clears the ISR status. */
  takeIsr(): number;
}

/** One register: its name and its behaviour. */
export interface PciRegisterRow {
  /** Byte offset in its structure. */
  readonly offset: number;
  /** Width in bytes; every other access is a violation. */
  readonly width: ConfigWidth;
  /** Name as the specification spells it. */
  readonly name: string;
  /** Returns the value of a read; without it the register is write-only. */
  readonly read?: (bank: RegisterBank) => number;
  /** Performs a write; without it the register is read-only. */
  readonly write?: (bank: RegisterBank, value: number) => void;
}

type Place = { readonly offset: number; readonly size: number };
type Read = NonNullable<PciRegisterRow["read"]>;
type Write = NonNullable<PciRegisterRow["write"]>;

function row(
  name: string,
  place: Place,
  read?: Read,
  write?: Write,
  offset: number = place.offset,
  width: number = place.size,
): PciRegisterRow {
  return {
    offset,
    width: width as ConfigWidth,
    name,
    ...(read === undefined ? {} : { read }),
    ...(write === undefined ? {} : { write }),
  };
}

/** The two halves of an address, each 32 bits wide (virtio 1.4 §4.1.3.1). */
function address(name: string, place: Place, part: "desc" | "avail" | "used"): PciRegisterRow[] {
  return ([0, 1] as const).map((word) =>
    row(
      name,
      place,
      (b) => b.queue.config?.[part][word] ?? 0,
      (b, value) => b.queue.writeAddress(part, word, value),
      place.offset + 4 * word,
      4,
    )
  );
}

/** Returns the accepted bits of a word: only bits that are offered count (dev.pci.common-cfg.4). */
function acceptedWord({ hosted }: RegisterBank, word: number, legacy: boolean): number {
  return (hosted.driverWords[word] ?? 0) & hosted.offeredBy(legacy).word(word);
}

const C = PCI_COMMON;
/** `struct virtio_pci_common_cfg` (virtio 1.4 §4.1.4.3), without administration virtqueues. */
export const COMMON_ROWS: readonly PciRegisterRow[] = [
  row(
    "device_feature_select",
    C.device_feature_select,
    (b) => b.deviceFeatureSelect,
    (b, value) => {
      b.deviceFeatureSelect = value;
    },
  ),
  row("device_feature", C.device_feature, (b) => {
    return b.hosted.offeredBy(false).word(b.deviceFeatureSelect);
  }),
  row(
    "driver_feature_select",
    C.driver_feature_select,
    (b) => b.driverFeatureSelect,
    (b, value) => {
      b.driverFeatureSelect = value;
    },
  ),
  row(
    "driver_feature",
    C.driver_feature,
    (b) => acceptedWord(b, b.driverFeatureSelect, false),
    (b, value) => b.hosted.writeFeatures(b.driverFeatureSelect, value),
  ),
  row("config_msix_vector", C.config_msix_vector, (b) => b.configVector, (b, value) => {
    b.configVector = value;
  }),
  row("num_queues", C.num_queues, (b) => b.hosted.configs.length),
  row("device_status", C.device_status, (b) => b.hosted.status, (b, value) => {
    b.writeStatus(value, false);
  }),
  row("config_generation", C.config_generation, (b) => b.hosted.generation & 0xff),
  row("queue_select", C.queue_select, (b) => b.queue.select, (b, value) => b.queue.select = value),
  row("queue_size", C.queue_size, (b) => b.queue.config?.size ?? 0, (b, value) => {
    b.queue.writeSize(value);
  }),
  row("queue_msix_vector", C.queue_msix_vector, (b) => b.queueVector, (b, value) => {
    b.queueVector = value;
  }),
  row("queue_enable", C.queue_enable, (b) => b.queue.running, (b, value) => {
    // virtio 1.4 §4.1.4.3.2: only a reset stops a queue.
    if (value !== 0) return b.queue.writeReady(value);
    const place = { clause: "4.1.4.3.2", rule: "drv.pci.common-cfg.6" };
    b.hosted.violate("queue_enable", value, "drivers must not write 0", place);
  }),
  row(
    "queue_notify_off",
    C.queue_notify_off,
    (b) => b.queue.config === undefined ? 0 : b.queue.select,
  ),
  ...address("queue_desc", C.queue_desc, "desc"),
  ...address("queue_driver", C.queue_driver, "avail"),
  ...address("queue_device", C.queue_device, "used"),
  row("queue_notif_config_data", C.queue_notif_config_data, (b) => b.queue.select),
  row("queue_reset", C.queue_reset, () => 0, (b, value) => {
    if (b.queue.reset(value)) b.queueVector = 0xffff;
  }),
  row("admin_queue_index", C.admin_queue_index, () => 0),
  row("admin_queue_num", C.admin_queue_num, () => 0),
];

const L = PCI_LEGACY;
/** The legacy header (virtio 1.4 §4.1.4.10). */
export const LEGACY_ROWS: readonly PciRegisterRow[] = [
  row("Device Features", L.device_features, (b) => b.hosted.offeredBy(true).word(0)),
  row(
    "Driver Features",
    L.driver_features,
    (b) => acceptedWord(b, 0, true),
    (b, value) => b.hosted.writeFeatures(0, value),
  ),
  row("Queue Address", L.queue_address, (b) => b.queue.config?.pfn ?? 0, (b, value) => {
    b.queue.writePage(value);
  }),
  row("Queue Size", L.queue_size, (b) => b.queue.config?.maxSize ?? 0),
  row("Queue Select", L.queue_select, (b) => b.queue.select, (b, value) => b.queue.select = value),
  row("Queue Notify", L.queue_notify, () => 0, (b, value) => b.hosted.notify(value)),
  row("Device Status", L.device_status, (b) => b.hosted.status, (b, value) => {
    b.writeStatus(value, true);
  }),
  row("ISR Status", L.isr_status, (b) => b.takeIsr()),
];

const M = PCI_LEGACY_MSIX;
/** Registers behind the legacy header while MSI-X is on. */
export const LEGACY_MSIX_ROWS: readonly PciRegisterRow[] = [
  row("Configuration Vector", M.config_msix_vector, (b) => b.configVector, (b, value) => {
    b.configVector = value;
  }, L.SIZE + M.config_msix_vector.offset),
  row("Queue Vector", M.queue_msix_vector, (b) => b.queueVector, (b, value) => {
    b.queueVector = value;
  }, L.SIZE + M.queue_msix_vector.offset),
];

/** The registers of a structure, found by offset. */
export class RegisterFile {
  readonly #rows = new Map<number, PciRegisterRow>();

  /** Indexes rows. */
  constructor(rows: readonly PciRegisterRow[]) {
    for (const row of rows) this.#rows.set(row.offset, row);
  }

  /** Reads a register; an access without one reads 0 and is logged. */
  read(bank: RegisterBank, offset: number, width: ConfigWidth): number {
    const row = this.#rows.get(offset);
    if (row?.read !== undefined && row.width === width) return row.read(bank);
    const reason = `no such read of ${width} bytes`;
    bank.hosted.violate(nameAt(row, offset), undefined, reason, CONFIG_WIDTH);
    return 0;
  }

  /** Writes a register; an access without one is ignored and logged. */
  write(bank: RegisterBank, offset: number, width: ConfigWidth, value: number): void {
    const row = this.#rows.get(offset);
    if (row?.write !== undefined && row.width === width) return row.write(bank, value);
    const reason = `no such write of ${width} bytes`;
    const place = row?.width === width ? READ_ONLY : CONFIG_WIDTH;
    bank.hosted.violate(nameAt(row, offset), value, reason, place);
  }
}

function nameAt(row: PciRegisterRow | undefined, offset: number): string {
  return row?.name ?? `0x${offset.toString(16)}`;
}
