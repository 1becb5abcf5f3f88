import type { Mmio } from "@vireo/hal";
import { pciCapabilities } from "./pci.ts";

/** The PCI Express capability (PCI Express Base 5.0 §7.5.3): id and registers. */
const EXPRESS = {
  ID: 0x10,
  FLAGS: 2,
  SLOT_CAP: 0x14,
  SLOT_CONTROL: 0x18,
  SLOT_STATUS: 0x1a,
} as const;
/** "Slot Implemented" of the flags. */
const HAS_SLOT = 1 << 8;
/** "Hot-Plug Capable" of the slot capabilities. */
const HOT_PLUG = 1 << 6;
/** Slot status: the attention button, the events that a write of ones clears, and whether a card is there. */
const STATUS = { BUTTON: 1, EVENTS: 0x1f, PRESENT: 1 << 6 } as const;
/** Slot control: the power indicator's field and its states, and "power off". */
const CONTROL = {
  INDICATOR: 0x300,
  ON: 0x100,
  BLINK: 0x200,
  OFF: 0x300,
  POWER_OFF: 1 << 10,
} as const;

/** The capability of a bridge with a hot-plug controller (PCI Standard Hot-Plug Controller 1.0 §3.2). */
const HOT_PLUG_CONTROLLER = 0x0c;

/**
 * Whether devices can be plugged in behind a port or a bridge while the machine runs.
 *
 * @example
 * ```ts
 * import { isHotPlugPort, type PciConfig, scanPci } from "@vireo/hal/discover";
 *
 * // Names the ports that devices can be plugged into.
 * export function ports(config: PciConfig): string[] {
 *   return scanPci(config).filter((fn) => isHotPlugPort(fn.config)).map(({ name }) => name);
 * }
 * ```
 */
export function isHotPlugPort(config: Mmio): boolean {
  return PciSlot.find(config) !== undefined ||
    pciCapabilities(config, HOT_PLUG_CONTROLLER).length > 0;
}

/** The slot behind a port of PCI Express, which this class works as Linux's `pciehp` does. */
export class PciSlot {
  readonly #config: Mmio;
  readonly #at: number;

  private constructor(config: Mmio, at: number) {
    this.#config = config;
    this.#at = at;
  }

  /** The slot of a port; undefined if the function is no port, or nothing can be plugged in there. */
  static find(config: Mmio): PciSlot | undefined {
    const at = pciCapabilities(config, EXPRESS.ID)[0]?.offset;
    if (at === undefined || (config.read16(at + EXPRESS.FLAGS) & HAS_SLOT) === 0) return undefined;
    const capable = (config.read32(at + EXPRESS.SLOT_CAP) & HOT_PLUG) !== 0;
    return capable ? new PciSlot(config, at) : undefined;
  }

  /**
   * Takes what happened: a card that is new gets power; one whose button was pressed is asked to leave.
   *
   * @returns Whether a card got power, so that there is more to find.
   */
  poll(): boolean {
    const status = this.#config.read16(this.#at + EXPRESS.SLOT_STATUS);
    // A write of ones clears them; the rest cannot be written.
    this.#config.write16(this.#at + EXPRESS.SLOT_STATUS, status & STATUS.EVENTS);
    if ((status & STATUS.PRESENT) === 0) return false;
    if ((this.#control & CONTROL.POWER_OFF) !== 0) {
      this.#control = this.#control & ~(CONTROL.POWER_OFF | CONTROL.INDICATOR) | CONTROL.ON;
      return true;
    }
    if ((status & STATUS.BUTTON) !== 0) {
      this.#control = this.#control & ~CONTROL.INDICATOR | CONTROL.BLINK;
    }
    return false;
  }

  /** Whether the card was asked to leave: its indicator blinks until {@linkcode PciSlot.eject}. */
  get leaving(): boolean {
    return (this.#control & CONTROL.INDICATOR) === CONTROL.BLINK;
  }

  /** Takes the power away: the card can be pulled out. */
  eject(): void {
    this.#control = this.#control | CONTROL.OFF | CONTROL.POWER_OFF;
  }

  get #control(): number {
    return this.#config.read16(this.#at + EXPRESS.SLOT_CONTROL);
  }

  set #control(value: number) {
    this.#config.write16(this.#at + EXPRESS.SLOT_CONTROL, value);
  }
}
