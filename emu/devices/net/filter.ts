import { NetCtrlRx } from "@vireo/hal";

/** Most addresses in the table; a longer list is refused (QEMU has the same number). */
export const MAX_FILTER_ADDRESSES = 64;

const MODES = Object.keys(NetCtrlRx).length;

/** The state of a {@linkcode RxFilter} as plain data. */
export interface RxFilterState {
  /** By `NetCtrlRx`. */
  readonly modes: readonly boolean[];
  /** Addresses as numbers. */
  readonly unicast: readonly number[];
  /** Addresses as numbers. */
  readonly multicast: readonly number[];
  /** Ids. */
  readonly vlans: readonly number[];
}

/**
 * An Ethernet address as a number, so that comparing takes one step.
 *
 * @example
 * ```ts
 * import { macNumber } from "@vireo/emu/net";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(macNumber(Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56), 0), 0x525400123456);
 * ```
 */
export function macNumber(bytes: Uint8Array, at: number): number {
  const high = (bytes[at]! << 8) | bytes[at + 1]!;
  const low = ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) |
    bytes[at + 5]!) >>> 0;
  return high * 0x1_0000_0000 + low;
}

/** Which frames a network device hands to its driver (virtio 1.4 §5.1.6.5.1 to §5.1.6.5.3). */
export class RxFilter {
  /** The device's own address. */
  mac = 0;
  /** Whether there are filters at all: without CTRL_RX everything passes. */
  enabled = false;
  /** Whether tagged frames need their id in the table: with CTRL_VLAN. */
  vlanEnabled = false;
  readonly #modes: boolean[] = new Array<boolean>(MODES).fill(false);
  #unicast: Set<number> = new Set();
  #multicast: Set<number> = new Set();
  readonly #vlans = new Uint8Array(4096);

  /** Empties the tables and clears the modes, as a reset does. */
  reset(): void {
    this.#modes.fill(false);
    this.#unicast = new Set();
    this.#multicast = new Set();
    this.#vlans.fill(0);
    this.enabled = false;
    this.vlanEnabled = false;
  }

  /** Sets a mode; false if there is no such mode. */
  setMode(command: number, on: boolean): boolean {
    if (command >= MODES) return false;
    this.#modes[command] = on;
    return true;
  }

  /** Replaces the table of addresses. */
  setTable(unicast: readonly number[], multicast: readonly number[]): void {
    this.#unicast = new Set(unicast);
    this.#multicast = new Set(multicast);
  }

  /** Adds or removes a VLAN id; false if it is over 4095. */
  setVlan(id: number, on: boolean): boolean {
    if (id > 4095) return false;
    this.#vlans[id] = on ? 1 : 0;
    return true;
  }

  /** Whether a frame passes; it is at least 14 bytes long. */
  passes(bytes: Uint8Array, offset: number, length: number): boolean {
    if (
      this.vlanEnabled && bytes[offset + 12] === 0x81 && bytes[offset + 13] === 0 && length >= 18
    ) {
      const id = ((bytes[offset + 14]! << 8) | bytes[offset + 15]!) & 0xfff;
      if (this.#vlans[id] === 0) return false;
    }
    if (!this.enabled || this.#modes[NetCtrlRx.PROMISC]) return true;
    const to = macNumber(bytes, offset);
    if (to === 0xffff_ffff_ffff) return !this.#modes[NetCtrlRx.NOBCAST];
    if ((bytes[offset]! & 1) === 1) {
      if (this.#modes[NetCtrlRx.NOMULTI]) return false;
      return this.#modes[NetCtrlRx.ALLMULTI]! || this.#multicast.has(to);
    }
    if (this.#modes[NetCtrlRx.NOUNI]) return false;
    return to === this.mac || this.#modes[NetCtrlRx.ALLUNI]! || this.#unicast.has(to);
  }

  /** The state for a snapshot. */
  snapshot(): RxFilterState {
    const vlans: number[] = [];
    this.#vlans.forEach((on, id) => on === 1 && vlans.push(id));
    return {
      modes: [...this.#modes],
      unicast: [...this.#unicast],
      multicast: [...this.#multicast],
      vlans,
    };
  }

  /** Takes the state back. */
  restore(state: RxFilterState): void {
    for (let mode = 0; mode < MODES; mode++) this.#modes[mode] = state.modes[mode] ?? false;
    this.setTable(state.unicast, state.multicast);
    this.#vlans.fill(0);
    for (const id of state.vlans) this.setVlan(id, true);
  }
}
