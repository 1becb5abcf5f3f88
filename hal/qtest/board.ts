import type { PciRange } from "../discover/pci_assign.ts";

/** Where a board's virtio-mmio slots are. */
export interface SlotMap {
  /** Number of slots. */
  readonly count: number;
  /** Physical address of slot 0. */
  readonly base: number;
  /** Size of a slot's register window in bytes; slots follow each other without gaps. */
  readonly size: number;
  /** Interrupt number of slot 0, as the machine counts them; slot n has the n-th after it. */
  readonly firstIrq: number;
}

/** A board's memory, and the part of it that the DMA allocator may use. */
export interface RamMap {
  /** Physical address of the first byte. */
  readonly base: number;
  /** Bytes when nothing else is asked for. */
  readonly defaultSize: number;
  /** Bytes at the start that QEMU writes at a reset (parked code, device tree). */
  readonly reservedLow: number;
  /** Bytes at the end that QEMU writes at a reset. */
  readonly reservedHigh: number;
}

/** Where QEMU's interrupt lines can be intercepted. */
export interface InterceptPoint {
  /** QOM type of the controller, looked up among the children of `parent`. */
  readonly type: string;
  /** QOM path of the controller's parent; `/machine/unattached` by default. */
  readonly parent?: string;
  /** Input of the controller to which slot 0 is wired; slot n uses the n-th after it. */
  readonly firstInput: number;
}

/** How a function's MSI-X messages become visible. */
export type MessageMap =
  /** Writes to a GICv2m frame at this address, which raises inputs of the interrupt controller. */
  | { readonly kind: "gicv2m"; readonly frame: number }
  /** Writes to a register of this device, QEMU's `edu`, which then raises its INTx. */
  | { readonly kind: "doorbell"; readonly device: number };

/** A board's PCI host bridge, and the addresses behind it. */
export interface PciHostMap {
  /** Where configuration space is in memory; PCI Express's ECAM. */
  readonly ecam: {
    /** Physical address. */
    readonly base: number;
    /** Bytes, 1 MiB a bus. */
    readonly size: number;
    /** Whether the machine is a q35, whose window opens at a write to a register of function 00:00.0. */
    readonly q35?: true;
  };
  /** Memory for base address registers; devices and processors see it at the same address. */
  readonly memory: PciRange;
  /** I/O ports for base address registers. */
  readonly io: PciRange & {
    /** Physical address of port 0, or undefined if the processor has instructions for ports. */
    readonly window: number | undefined;
  };
  /** Input of the controller that INTA of device 0 is wired to; the other three follow, swizzled. */
  readonly firstInput: number;
  /** How MSI-X messages become visible. */
  readonly messages: MessageMap;
}

/** Everything the qtest target needs to know about a machine that QEMU has. */
export interface QtestBoard {
  /** Name, for example `riscv64-virt`. */
  readonly name: string;
  /** The program that emulates it, without a path. */
  readonly qemu: string;
  /** Argument of `-M`, without the memory backend. */
  readonly machine: string;
  /** Further arguments, for example those that park the CPU in a loop of "wait for interrupt". */
  readonly args: readonly string[];
  /** A firmware image for `-bios`, if the machine parks its CPU that way. */
  readonly firmware?: Uint8Array;
  /** The virtio-mmio slots that devices are put into, if they are not put on PCI. */
  readonly slots?: SlotMap | undefined;
  /** The PCI host bridge that devices are put behind. */
  readonly pci?: PciHostMap;
  /** The memory. */
  readonly ram: RamMap;
  /** The interrupt controller. */
  readonly interrupts: InterceptPoint;
}
