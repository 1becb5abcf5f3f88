import { type Mmio, PCI_CAP, PCI_CFG_CAP } from "@vireo/hal";

/**
 * A BAR seen through the PCI configuration access capability (virtio 1.4 §4.1.4.9), for machines that
 * cannot map it. Each access is four accesses to configuration space.
 */
export class PciCfgWindow implements Mmio {
  /** Name for messages. */
  readonly name: string;
  /** Size of the BAR in bytes. */
  readonly size: number;
  readonly #config: Mmio;
  readonly #at: number;
  readonly #bar: number;

  /**
   * Opens the window; nothing is accessed yet.
   *
   * @param config Configuration space.
   * @param at Where the capability is.
   * @param bar Index of the BAR.
   * @param size Size of the BAR in bytes.
   */
  constructor(config: Mmio, at: number, bar: number, size: number) {
    this.name = `${config.name} BAR${bar}`;
    this.size = size;
    this.#config = config;
    this.#at = at;
    this.#bar = bar;
  }

  /** Reads one byte. */
  read8(offset: number): number {
    return this.#config.read8(this.#aim(offset, 1));
  }

  /** Reads a 16-bit word. */
  read16(offset: number): number {
    return this.#config.read16(this.#aim(offset, 2));
  }

  /** Reads a 32-bit word. */
  read32(offset: number): number {
    return this.#config.read32(this.#aim(offset, 4));
  }

  /** Writes one byte. */
  write8(offset: number, value: number): void {
    this.#config.write8(this.#aim(offset, 1), value);
  }

  /** Writes a 16-bit word. */
  write16(offset: number, value: number): void {
    this.#config.write16(this.#aim(offset, 2), value);
  }

  /** Writes a 32-bit word. */
  write32(offset: number, value: number): void {
    this.#config.write32(this.#aim(offset, 4), value);
  }

  /** Points the capability at a word of the BAR; returns where its data is. */
  #aim(offset: number, width: 1 | 2 | 4): number {
    if (offset < 0 || offset % width !== 0) {
      throw new RangeError(
        `Cannot access ${width} bytes at offset ${offset}: expected a multiple of ${width}`,
      );
    }
    if (offset + width > this.size) {
      throw new RangeError(
        `Cannot access ${width} bytes at offset ${offset}: the window has ${this.size} bytes`,
      );
    }
    this.#config.write8(this.#at + PCI_CAP.bar.offset, this.#bar);
    this.#config.write32(this.#at + PCI_CAP.length.offset, width);
    this.#config.write32(this.#at + PCI_CAP.offset.offset, offset);
    return this.#at + PCI_CFG_CAP.pci_cfg_data.offset;
  }
}
