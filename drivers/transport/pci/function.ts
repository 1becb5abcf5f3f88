import {
  type Mmio,
  type PciBar,
  PciCapType,
  PciCommand,
  type PciLease,
  type PciNode,
  PciRegister,
  VireoError,
} from "@vireo/hal";
import { firstCapability, type PciCapabilities, readCapabilities } from "./capabilities.ts";
import { PciCfgWindow } from "./cfg_window.ts";

/** The vendor id of an absent function. */
const ABSENT = 0xffff;

/** An open PCI function with its virtio capabilities, for either transport. */
export class PciFunction implements Disposable {
  /** The node of the function. */
  readonly node: PciNode;
  /** Name for errors. */
  readonly name: string;
  /** The open function. */
  readonly lease: PciLease;
  /** Configuration space. */
  readonly config: Mmio;
  /** The base address registers that decode something. */
  readonly bars: readonly PciBar[];
  /** Revision id. */
  readonly revision: number;
  /** Subsystem id: the virtio device id of a transitional device. */
  readonly subsystem: number;
  /** Subsystem vendor id: the virtio vendor id. */
  readonly subsystemVendor: number;
  /** The relevant capabilities. */
  readonly capabilities: PciCapabilities;
  readonly #windows = new Map<number, Mmio>();

  private constructor(node: PciNode, lease: PciLease) {
    this.node = node;
    this.name = node.name;
    this.lease = lease;
    this.config = lease.config;
    this.bars = lease.bars;
    this.enable();
    this.revision = this.config.read8(PciRegister.REVISION_ID);
    this.subsystem = this.config.read16(PciRegister.SUBSYSTEM_ID);
    this.subsystemVendor = this.config.read16(PciRegister.SUBSYSTEM_VENDOR_ID);
    this.capabilities = readCapabilities(this.config, this.bars, this.name);
  }

  /**
   * Opens a function and enables the decoding of its BARs.
   *
   * @throws {VireoError} `BAD_CAPABILITY` If its capability list is a loop; `DEVICE_REMOVED` If the function
   * is gone.
   */
  static open(node: PciNode): PciFunction {
    using cleanup = new DisposableStack();
    const fn = new PciFunction(node, cleanup.use(node.open()));
    cleanup.move();
    return fn;
  }

  /**
   * Enables the decoding of the BARs.
   *
   * @returns Whether it was not enabled.
   * @throws {VireoError} `DEVICE_REMOVED` If the function is gone.
   */
  enable(): boolean {
    if (!this.isPresent()) throw this.removed();
    let command = 0;
    for (const { space } of this.bars) {
      command |= space === "io" ? PciCommand.IO : PciCommand.MEMORY;
    }
    return this.#setCommand(command);
  }

  /** Lets the function reach memory, as Linux does when the transport is there. */
  setMaster(): void {
    this.#setCommand(PciCommand.BUS_MASTER);
  }

  /** Lets the function use its INTx line, as Linux does where there is no MSI-X. */
  allowLine(): void {
    this.#setCommand(0, PciCommand.INTX_DISABLE);
  }

  /** Sets and clears bits of the command register; false if it has them already. */
  #setCommand(set: number, clear = 0): boolean {
    const command = this.config.read16(PciRegister.COMMAND);
    const wanted = (command | set) & ~clear;
    if (wanted === command) return false;
    this.config.write16(PciRegister.COMMAND, wanted);
    return true;
  }

  /** Whether the function still answers. */
  isPresent(): boolean {
    return this.config.read16(PciRegister.VENDOR_ID) !== ABSENT;
  }

  /** Makes the error for a function that is gone. */
  removed(): VireoError {
    return new VireoError("DEVICE_REMOVED", "The device is not there any more", {
      device: this.name,
      register: "Vendor ID",
      seen: ABSENT,
      expected: this.node.vendor,
    });
  }

  /**
   * Maps a BAR at its first use. If the machine cannot map it, it uses the configuration access capability.
   *
   * @throws {VireoError} `BAD_ACCESS` If neither is possible.
   */
  window(index: number): Mmio {
    let window = this.#windows.get(index);
    if (window === undefined) {
      window = this.#map(index);
      this.#windows.set(index, window);
    }
    return window;
  }

  #map(index: number): Mmio {
    try {
      return this.lease.openBar(index);
    } catch (error) {
      const refused = error instanceof VireoError && error.code === "BAD_ACCESS";
      const access = firstCapability(this.capabilities.virtio, PciCapType.PCI);
      const bar = this.bars.find((bar) => bar.index === index);
      if (!refused || access === undefined || bar === undefined) throw error;
      return new PciCfgWindow(this.config, access.at, index, bar.size);
    }
  }

  /** Closes the function, which restores its state. */
  [Symbol.dispose](): void {
    this.lease[Symbol.dispose]();
  }
}
