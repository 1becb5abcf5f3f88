import type { PciBar, PciLease, PciNode } from "@vireo/hal";
import { type Parts, type RawDevice, words } from "./device.ts";
import { type Log, LoggedWindow, type PlacePart } from "./log.ts";
import {
  CAP,
  COMMON,
  type CommonName,
  LEGACY,
  LEGACY_SIZE,
  type LegacyName,
  type Place,
} from "./registers.ts";

const PAGE = 4096;
const VENDOR_CAPABILITY = 9;
const MSIX_CAPABILITY = 0x11;
/** Configuration reads of the PCI header. */
const HEADER = { COMMAND: 4, STATUS: 6, REVISION: 8, SUBSYSTEM: 0x2e, CAPABILITIES: 0x34 } as const;
/** Transitional ids, 0x1000 and up, by virtio id. */
const TRANSITIONAL: Readonly<Record<number, number>> = {
  0x1000: 1,
  0x1001: 2,
  0x1002: 5,
  0x1003: 3,
  0x1004: 8,
  0x1005: 4,
  0x1009: 9,
};

/** A virtio capability as it is written in configuration space. */
interface RawCapability {
  /** Where it is in configuration space. */
  readonly at: number;
  /** `cap_len`. */
  readonly length: number;
  /** `cfg_type`. */
  readonly type: number;
  /** `bar`. */
  readonly bar: number;
  /** `id`. */
  readonly id: number;
  /** `offset` and `length` of the structure. */
  readonly offset: number;
  /** `length`. */
  readonly size: number;
}

/** A function's register windows and capabilities. */
export class RawPci implements RawDevice {
  readonly name: string;
  readonly bus = "pci";
  readonly legacy: boolean;
  readonly id: number;
  readonly registers: Readonly<Record<string, Place>>;
  /** The configuration space. */
  readonly space: LoggedWindow;
  /** The base address registers. */
  readonly bars: readonly PciBar[];
  /** The virtio capabilities, in the order of the list. */
  readonly capabilities: readonly RawCapability[];
  /** Where the MSI-X capability is; 0 if there is none. */
  readonly msix: number;
  /** The function as the machine opened it. */
  readonly lease: PciLease;
  readonly #windows = new Map<number, LoggedWindow>();
  readonly #log: Log;

  private constructor(node: PciNode, lease: PciLease, log: Log) {
    this.name = node.name;
    this.lease = lease;
    this.#log = log;
    this.space = new LoggedWindow("config", lease.config, log);
    this.bars = lease.bars;
    // Memory and I/O decoding, and the function as bus master.
    this.space.write(HEADER.COMMAND, 2, 7);
    const { found, msix } = this.#walk();
    this.capabilities = found;
    this.msix = msix;
    this.legacy = this.capability(CAP.COMMON) === undefined;
    this.registers = this.legacy ? LEGACY : COMMON;
    this.id = TRANSITIONAL[node.device] ?? node.device - 0x1040;
  }

  /** Opens a function; undefined if it is not one of virtio. */
  static open(node: PciNode, log: Log): RawPci | undefined {
    if (node.vendor !== 0x1af4 || node.device < 0x1000 || node.device > 0x10ff) return undefined;
    return new RawPci(node, node.open(), log);
  }

  /** The first capability of a type. */
  capability(type: number): RawCapability | undefined {
    return this.capabilities.find((found) => found.type === type);
  }

  /** The window of a base address register. */
  bar(index: number): LoggedWindow {
    const found = this.#windows.get(index);
    if (found !== undefined) return found;
    const window = new LoggedWindow(`bar${index}`, this.lease.openBar(index), this.#log);
    this.#windows.set(index, window);
    return window;
  }

  /** The device id, revision and subsystem id of the header. */
  identity(): { vendor: number; device: number; revision: number; subsystem: number } {
    return {
      vendor: this.space.read(0, 2),
      device: this.space.read(2, 2),
      revision: this.space.read(HEADER.REVISION, 1),
      subsystem: this.space.read(HEADER.SUBSYSTEM, 2),
    };
  }

  /** The PCI status register. */
  pciStatus(): number {
    return this.space.read(HEADER.STATUS, 2);
  }

  /** Reads a field of the common configuration. */
  get(name: CommonName): number {
    const { window, base } = this.#common();
    return window.read(base + COMMON[name].offset, COMMON[name].width);
  }

  /** Writes a field of the common configuration. */
  set(name: CommonName, value: number, place?: { at: number; part: PlacePart }): void {
    const { window, base } = this.#common();
    window.write(base + COMMON[name].offset, COMMON[name].width, value, place);
  }

  status(): number {
    return this.legacy ? this.#legacy("device_status") : this.get("device_status");
  }

  writeStatus(value: number): void {
    if (this.legacy) this.#writeLegacy("device_status", value);
    else this.set("device_status", value);
  }

  features(word: number): number {
    if (this.legacy) return word === 0 ? this.#legacy("device_features") : 0;
    this.set("device_feature_select", word);
    return this.get("device_feature");
  }

  accept(word: number, value: number): void {
    if (this.legacy) {
      if (word === 0) this.#writeLegacy("driver_features", value);
      return;
    }
    this.set("driver_feature_select", word);
    this.set("driver_feature", value);
  }

  select(queue: number): void {
    if (this.legacy) this.#writeLegacy("queue_select", queue);
    else this.set("queue_select", queue);
  }

  sizeMax(): number {
    return this.legacy ? this.#legacy("queue_size") : this.get("queue_size");
  }

  writeSize(size: number): void {
    if (!this.legacy) this.set("queue_size", size);
  }

  place(parts: Parts, base: number): void {
    if (this.legacy) return;
    for (const part of ["desc", "driver", "device"] as const) {
      const at = parts[part];
      const [low, high] = words(base + at);
      this.set(`queue_${part}_low`, low, { at, part: "low" });
      this.set(`queue_${part}_high`, high, { at, part: "high" });
    }
  }

  enable(desc: number, base: number): void {
    if (!this.legacy) return this.set("queue_enable", 1);
    this.bar(0).write(LEGACY.queue_address.offset, 4, (base + desc) / PAGE, {
      at: desc,
      part: "page",
    });
  }

  enabled(): number {
    return this.legacy ? this.#legacy("queue_address") : this.get("queue_enable");
  }

  notify(queue: number): void {
    this.notifyValue(queue, queue);
  }

  notifyValue(queue: number, value: number): void {
    if (this.legacy) return this.#writeLegacy("queue_notify", value);
    const { bar, offset, multiplier } = this.notification();
    this.select(queue);
    const at = offset + this.get("queue_notify_off") * multiplier;
    this.bar(bar).write(at, value > 0xffff ? 4 : 2, value);
  }

  /** Where the device is notified. */
  notification(): { bar: number; offset: number; size: number; multiplier: number; at: number } {
    const { at, bar, offset, size } = this.capability(CAP.NOTIFY)!;
    return { at, bar, offset, size, multiplier: this.space.read(at + 16, 4) };
  }

  causes(): number {
    if (this.legacy) return this.#legacy("isr_status");
    const { bar, offset } = this.capability(CAP.ISR)!;
    return this.bar(bar).read(offset, 1);
  }

  get configSize(): number {
    if (!this.legacy) return this.capability(CAP.DEVICE)?.size ?? 0;
    return (this.bars.find(({ index }) => index === 0)?.size ?? LEGACY_SIZE) - LEGACY_SIZE;
  }

  config(offset: number, width: 1 | 2 | 4): number {
    const { window, base } = this.#device();
    return window.read(base + offset, width);
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    const { window, base } = this.#device();
    window.write(base + offset, width, value);
  }

  generation(): number {
    return this.legacy ? 0 : this.get("config_generation");
  }

  resetQueue(): void {
    this.set("queue_reset", 1);
  }

  queueReset(): number {
    return this.get("queue_reset");
  }

  peek(offset: number, width: 1 | 2 | 4): number {
    const { window, base } = this.legacy ? { window: this.bar(0), base: 0 } : this.#common();
    return window.read(base + offset, width);
  }

  poke(offset: number, width: 1 | 2 | 4, value: number): void {
    const { window, base } = this.legacy ? { window: this.bar(0), base: 0 } : this.#common();
    window.write(base + offset, width, value);
  }

  [Symbol.dispose](): void {
    this.lease[Symbol.dispose]();
  }

  #common(): { window: LoggedWindow; base: number } {
    const { bar, offset } = this.capability(CAP.COMMON)!;
    return { window: this.bar(bar), base: offset };
  }

  #device(): { window: LoggedWindow; base: number } {
    // With MSI-X off, which the raw driver leaves so unless a check turns it on and off again.
    if (this.legacy) return { window: this.bar(0), base: LEGACY_SIZE };
    const { bar, offset } = this.capability(CAP.DEVICE)!;
    return { window: this.bar(bar), base: offset };
  }

  #legacy(name: LegacyName): number {
    return this.bar(0).read(LEGACY[name].offset, LEGACY[name].width);
  }

  #writeLegacy(name: LegacyName, value: number): void {
    this.bar(0).write(LEGACY[name].offset, LEGACY[name].width, value);
  }

  #walk(): { found: RawCapability[]; msix: number } {
    const { space } = this;
    const found: RawCapability[] = [];
    let msix = 0;
    const seen = new Set<number>();
    let at = space.read(HEADER.CAPABILITIES, 1) & 0xfc;
    while (at >= 0x40 && !seen.has(at)) {
      seen.add(at);
      const id = space.read(at, 1);
      if (id === MSIX_CAPABILITY) msix = at;
      if (id === VENDOR_CAPABILITY) {
        found.push({
          at,
          length: space.read(at + 2, 1),
          type: space.read(at + 3, 1),
          bar: space.read(at + 4, 1),
          id: space.read(at + 5, 1),
          offset: space.read(at + 8, 4),
          size: space.read(at + 12, 4),
        });
      }
      at = space.read(at + 1, 1) & 0xfc;
    }
    return { found, msix };
  }
}
