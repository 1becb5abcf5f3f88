import type { VireoError } from "./errors.ts";
import type { Dma } from "./dma.ts";
import type { Interrupt } from "./interrupt.ts";
import type { Mmio } from "./mmio.ts";
import type { PciNode } from "./pci.ts";
import type { VhostUserNode } from "./vhost_user/node.ts";

/** The open registers of one virtio-mmio slot. */
export interface MmioLease extends Disposable {
  /** The register window. */
  readonly mmio: Mmio;
  /** The slot's interrupt line. */
  readonly interrupt: Interrupt;
}

/** One virtio-mmio slot of a machine; the slot may be empty (DeviceID 0). */
export interface MmioNode {
  /** Distinguishes the node from those of other buses. */
  readonly kind: "mmio";
  /** Name as in a device tree: `virtio-mmio@<base in hex>`. */
  readonly name: string;
  /** Physical address of the first register. */
  readonly base: number;
  /** Size of the window in bytes. */
  readonly size: number;
  /** Interrupt number in the machine's own count, if the slot has one. */
  readonly irq: number | undefined;
  /** Maps the registers; the lease unmaps them. */
  open(): MmioLease;
}

/** A place where a device may be. */
export type DeviceNode = MmioNode | PciNode | VhostUserNode;

/** A view of a device's shared memory region (virtio 1.4 §2.10). */
export interface MemoryWindow extends Disposable {
  /** The region's bytes. */
  readonly bytes: Uint8Array;
}

/** A named machine: where devices are, memory they can reach, and their interrupt lines. */
export interface Platform extends AsyncDisposable {
  /** The target string that made it, for example `emu` or `qtest:riscv64-virt`. */
  readonly name: string;
  /** Memory that the machine's devices can reach. */
  readonly dma: Dma;
  /** The slots in the order of Linux's discovery. */
  nodes(): readonly DeviceNode[];
  /**
   * Looks for nodes again, on a machine that gets, loses or resets devices while it runs. Afterwards
   * {@linkcode Platform.nodes} lists the new ones, and lacks those whose device is gone or asked to go: that
   * one leaves when its lease is disposed. Nodes that stay are as reachable as at the start.
   */
  rescan?(): void | Promise<void>;
  /**
   * Opens a physical range that a device offers as shared memory.
   *
   * @throws {VireoError} `BAD_ACCESS` If the range is not memory of this machine.
   */
  openMemory(address: number, length: number): MemoryWindow;
  /**
   * Says what the machine itself knows of why a device failed or does not answer: an emulator, what its
   * device holds against the driver; a hypervisor, that it paused. Errors have it as their cause.
   *
   * @param node Name of the device's node.
   */
  diagnose?(node: string): VireoError | undefined;
}
