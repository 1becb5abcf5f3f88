import { hex, nameIn, type PciAddress, type PciBar, PciCapType } from "@vireo/hal";

/** A virtio capability of a PCI function (virtio 1.4 §4.1.4). */
export interface VirtioCapability {
  /** Where it is in configuration space. */
  readonly at: number;
  /** Length of the capability in bytes. */
  readonly size: number;
  /** The kind of structure, a `PciCapType` or a reserved value. */
  readonly type: number;
  /** Index of the base address register. */
  readonly bar: number;
  /** The id of a shared memory region. */
  readonly id: number;
  /** First byte in the BAR. */
  readonly offset: number;
  /** Length in bytes. */
  readonly length: number;
  /** Bytes from one queue's notification address to the next; only with NOTIFY. */
  readonly multiplier: number | undefined;
  /** Vendor id; only with VENDOR, whose other fields have no meaning. */
  readonly vendor: number | undefined;
  /** Why the driver skipped it, if it did. */
  readonly refused: string | undefined;
}

/** Details of a virtio device's PCI function, for reports. */
export interface PciDetails {
  /** Where it is. */
  readonly address: PciAddress;
  /** PCI vendor and device id. */
  readonly vendor: number;
  /** PCI device id. */
  readonly device: number;
  /** PCI revision id. */
  readonly revision: number;
  /** The virtio capabilities, in the order of the list. */
  readonly capabilities: readonly VirtioCapability[];
  /** The base address registers that decode something. */
  readonly bars: readonly PciBar[];
  /** Number of MSI-X vectors of the function. */
  readonly vectors: number;
  /** The interface in use. */
  readonly chosen: "modern" | "legacy";
  /** Why this interface is in use. */
  readonly why: string;
}

/**
 * Name of a capability's type, for example `COMMON`; `type 0x7` if it is reserved.
 *
 * @example
 * ```ts
 * import { capabilityName } from "@vireo/drivers/core";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([capabilityName(1), capabilityName(7)], ["COMMON", "type 0x7"]);
 * ```
 */
export function capabilityName(type: number): string {
  return nameIn(PciCapType, type) ?? `type ${hex(type)}`;
}

/**
 * One line a capability, for example `COMMON BAR4+0x0 0x1000 bytes`.
 *
 * @example
 * ```ts
 * import { capabilityText } from "@vireo/drivers/core";
 * import { assertEquals } from "@std/assert";
 *
 * const none = { multiplier: undefined, vendor: undefined, refused: undefined };
 * const place = { at: 0x40, size: 16, bar: 4, id: 0, offset: 0, length: 0x38 };
 * assertEquals(capabilityText({ type: 1, ...place, ...none }), "COMMON BAR4+0x0, 0x38 bytes");
 * ```
 */
export function capabilityText(capability: VirtioCapability): string {
  const { type, vendor, bar, offset, length, multiplier, refused } = capability;
  const name = capabilityName(type);
  const id = type === PciCapType.SHARED_MEMORY ? ` ${capability.id}` : "";
  const where = vendor !== undefined
    ? `of vendor ${hex(vendor, 4)}`
    : `BAR${bar}+${hex(offset)}, ${hex(length)} bytes`;
  const each = multiplier === undefined ? "" : `, ${hex(multiplier)} a queue`;
  return `${name}${id} ${where}${each}${refused === undefined ? "" : ` (not used: ${refused})`}`;
}
