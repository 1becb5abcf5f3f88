import type { Interrupt } from "./interrupt.ts";
import type { Mmio } from "./mmio.ts";

/** Which function of a PCI hierarchy. */
export interface PciAddress {
  /** Segment (domain). */
  readonly segment: number;
  /** Bus, 0 to 255. */
  readonly bus: number;
  /** Device on the bus, 0 to 31. */
  readonly device: number;
  /** Function of the device, 0 to 7. */
  readonly function: number;
}

/** A base address register (BAR) of a function. */
export interface PciBar {
  /** Index, 0 to 5. */
  readonly index: number;
  /** The address space that it decodes. */
  readonly space: "memory" | "io";
  /** Its address; 0 if it was not assigned. */
  readonly address: number;
  /** Bytes that it decodes. */
  readonly size: number;
}

/** A message that a function may send instead of raising a line (MSI-X). */
export interface PciMessage {
  /** Where the function writes. */
  readonly address: number;
  /** Data that it writes. */
  readonly data: number;
  /** Fires when the message arrives. */
  readonly interrupt: Interrupt;
}

/** An open PCI function; disposing of it unmaps its BARs and restores what the lease changed. */
export interface PciLease extends Disposable {
  /** The configuration space: 256 or 4096 bytes. */
  readonly config: Mmio;
  /** The base address registers that decode something, by ascending index. */
  readonly bars: readonly PciBar[];
  /**
   * Maps a BAR, or a part of it; the lease unmaps it. Offsets are from the start of the BAR.
   *
   * @throws {VireoError} `BAD_ACCESS` If the function has no such BAR, or it cannot be mapped.
   */
  openBar(index: number): Mmio;
  /** The function's INTx line; undefined if the machine does not deliver it. */
  readonly line: Interrupt | undefined;
  /**
   * Reserves messages for MSI-X vectors; the lease frees them.
   *
   * @returns `count` messages, or undefined if the machine has fewer left.
   */
  messages(count: number): readonly PciMessage[] | undefined;
}

/** One PCI function of a machine; virtio or not. */
export interface PciNode {
  /** Distinguishes the node from those of other buses. */
  readonly kind: "pci";
  /** Name as Linux gives it: `0000:00:03.0`. */
  readonly name: string;
  /** Where it is. */
  readonly address: PciAddress;
  /** Vendor id, 0x1af4 for virtio. */
  readonly vendor: number;
  /** Device id. */
  readonly device: number;
  /** Opens the function; decoding and bus mastering stay as they are. */
  open(): PciLease;
}

/**
 * Names a function as Linux does: `0000:00:03.0`.
 *
 * @example
 * ```ts
 * import { pciName } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(pciName({ segment: 0, bus: 1, device: 31, function: 7 }), "0000:01:1f.7");
 * ```
 */
export function pciName({ segment, bus, device, function: fn }: PciAddress): string {
  const text = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");
  return `${text(segment, 4)}:${text(bus, 2)}:${text(device, 2)}.${fn}`;
}
