import type { PciBar } from "@vireo/hal";

/** Contents of a scripted function's configuration space. */
export interface PciConfigScript {
  /** PCI vendor id; virtio's by default. */
  readonly vendor?: number;
  /** PCI device id; 0x106a, virtio device 42, by default. */
  readonly device?: number;
  /** Revision id; 1, or 0 below 0x1040, by default. */
  readonly revision?: number;
  /** Subsystem id; 42 by default. */
  readonly subsystem?: number;
  /** The capabilities; {@linkcode standardCapabilities} by default. The list is linked here. */
  readonly capabilities?: readonly (readonly number[])[];
  /** Number of MSI-X vectors; none by default. */
  readonly vectors?: number;
  /** Where the MSI-X table is, as its register says; in BAR 1 by default. */
  readonly msixTable?: number;
  /** Whether there is a configuration access capability. */
  readonly access?: boolean;
  /** Size of configuration space in bytes; 256 by default. */
  readonly spaceSize?: number;
  /** Bytes that are written over all this, by offset. */
  readonly patch?: Readonly<Record<number, number>>;
}

/** Where a structure is in BAR 4. */
export interface PciPlace {
  /** First byte. */
  readonly offset: number;
  /** Length in bytes. */
  readonly length: number;
}

/** Where a scripted function has what, as QEMU does: legacy in BAR 0, MSI-X in BAR 1, modern in BAR 4. */
export const PCI_PLACE: {
  readonly BARS: readonly PciBar[];
  readonly COMMON: PciPlace;
  readonly ISR: PciPlace;
  readonly DEVICE: PciPlace;
  readonly NOTIFY: PciPlace;
  readonly MSIX: number;
  readonly ACCESS: number;
} = {
  BARS: [
    { index: 0, space: "io", address: 0xc000, size: 0x40 },
    { index: 1, space: "memory", address: 0xfebf_0000, size: 0x1000 },
    { index: 4, space: "memory", address: 0xfe00_0000, size: 0x4000 },
  ],
  COMMON: { offset: 0, length: 64 },
  ISR: { offset: 0x1000, length: 0x1000 },
  DEVICE: { offset: 0x2000, length: 0x1000 },
  NOTIFY: { offset: 0x3000, length: 0x1000 },
  MSIX: 0xe0,
  ACCESS: 0xc8,
};

/** Contents of a virtio capability. */
export interface CapabilityScript {
  /** `cfg_type`. */
  readonly type: number;
  /** Index of the BAR; 4 by default. */
  readonly bar?: number;
  /** Tells shared memory regions apart. */
  readonly id?: number;
  /** First byte in the BAR. */
  readonly offset?: number;
  /** Length in bytes. */
  readonly length?: number;
  /** `cap_len`; that of the bytes by default. */
  readonly size?: number;
  /** Bytes behind the first 16. */
  readonly more?: readonly number[];
}

/**
 * The bytes of a virtio capability (virtio 1.4 §4.1.4); `cap_next` is 0.
 *
 * @example
 * ```ts
 * import { virtioCapability } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const common = virtioCapability({ type: 1, bar: 4, length: 0x38 });
 * assertEquals([common.length, common.slice(2, 5)], [16, [16, 1, 4]]);
 * ```
 */
export function virtioCapability(script: CapabilityScript): number[] {
  const { type, bar = 4, id = 0, offset = 0, length = 0, more = [] } = script;
  const size = script.size ?? 16 + more.length;
  return [9, 0, size, type, bar, id, 0, 0, ...le32(offset), ...le32(length), ...more];
}

/**
 * A 32-bit word as bytes.
 *
 * @example
 * ```ts
 * import { le32 } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(le32(0x1af4), [0xf4, 0x1a, 0, 0]);
 * ```
 */
export function le32(value: number): number[] {
  return [value & 0xff, value >>> 8 & 0xff, value >>> 16 & 0xff, value >>> 24 & 0xff];
}

/**
 * The four structures of a device: COMMON, ISR, DEVICE and NOTIFY with a multiplier of 4.
 *
 * @example
 * ```ts
 * import { standardCapabilities } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(standardCapabilities().map((bytes) => bytes[3]), [1, 3, 4, 2]);
 * ```
 */
export function standardCapabilities(): number[][] {
  const { COMMON, ISR, DEVICE, NOTIFY } = PCI_PLACE;
  return [
    virtioCapability({ type: 1, ...COMMON }),
    virtioCapability({ type: 3, ...ISR }),
    virtioCapability({ type: 4, ...DEVICE }),
    virtioCapability({ type: 2, ...NOTIFY, more: le32(4) }),
  ];
}

/**
 * Writes the configuration space that a script describes.
 *
 * @example
 * ```ts
 * import { buildConfig, standardCapabilities } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const space = buildConfig({ device: 0x1044, capabilities: standardCapabilities() });
 * assertEquals([space.length, space[0], space[1], space[2]], [256, 0xf4, 0x1a, 0x44]);
 * ```
 */
export function buildConfig(script: PciConfigScript): Uint8Array {
  const space = new Uint8Array(script.spaceSize ?? 256);
  const view = new DataView(space.buffer);
  const device = script.device ?? 0x106a;
  view.setUint16(0x00, script.vendor ?? 0x1af4, true);
  view.setUint16(0x02, device, true);
  view.setUint16(0x06, 0x10, true);
  view.setUint8(0x08, script.revision ?? (device < 0x1040 ? 0 : 1));
  view.setUint16(0x2c, 0x1af4, true);
  view.setUint16(0x2e, script.subsystem ?? 42, true);
  let next = 0x34;
  let at = 0x40;
  const place = (bytes: readonly number[], where: number): void => {
    space[next] = where;
    space.set(bytes.slice(0, space.length - where), where);
    next = where + 1;
  };
  for (const bytes of script.capabilities ?? standardCapabilities()) {
    place(bytes, at);
    at += Math.max(4, Math.ceil(bytes.length / 4) * 4);
  }
  const { ACCESS, MSIX } = PCI_PLACE;
  if (script.access) place(virtioCapability({ type: 5, bar: 0, more: le32(0) }), ACCESS);
  if (script.vectors) {
    const control = script.vectors - 1;
    place([0x11, 0, control & 0xff, control >>> 8, ...le32(script.msixTable ?? 1)], MSIX);
  }
  for (const [offset, value] of Object.entries(script.patch ?? {})) space[Number(offset)] = value;
  return space;
}
