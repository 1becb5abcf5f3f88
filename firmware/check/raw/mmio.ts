import type { MmioNode } from "@vireo/hal";
import { type Parts, type RawDevice, words } from "./device.ts";
import { type Log, LoggedWindow, type PlacePart } from "./log.ts";
import { MMIO, type MmioName, type Place } from "./registers.ts";

const PAGE = 4096;
/** The driver's position in a notification with NOTIFICATION_DATA is the ring's to say. */
const INDEX = 0xffff;

/** A slot of virtio-mmio, version 1 or 2. */
export class RawMmio implements RawDevice {
  readonly name: string;
  readonly bus = "mmio";
  readonly legacy: boolean;
  readonly id: number;
  readonly configSize: number;
  readonly registers: Readonly<Record<string, Place>> = MMIO;
  readonly #window: LoggedWindow;
  readonly #close: () => void;

  private constructor(name: string, window: LoggedWindow, version: number, close: () => void) {
    this.name = name;
    this.#window = window;
    this.#close = close;
    this.legacy = version === 1;
    this.id = this.get("DeviceID");
    this.configSize = window.size - MMIO.Config.offset;
  }

  /** Opens a slot; undefined if there is no device in it. */
  static open(node: MmioNode, log: Log): RawMmio | undefined {
    const lease = node.open();
    const window = new LoggedWindow("mmio", lease.mmio, log);
    const version = window.read(MMIO.Version.offset, 4);
    const close = (): void => lease[Symbol.dispose]();
    const device = new RawMmio(node.name, window, version, close);
    if (device.id !== 0) return device;
    close();
    return undefined;
  }

  /** Reads a register. */
  get(name: MmioName): number {
    return this.#window.read(MMIO[name].offset, 4);
  }

  /** Writes a register. */
  set(name: MmioName, value: number, place?: { at: number; part: PlacePart }): void {
    this.#window.write(MMIO[name].offset, 4, value, place);
  }

  status(): number {
    return this.get("Status");
  }

  writeStatus(value: number): void {
    this.set("Status", value);
  }

  features(word: number): number {
    this.set("DeviceFeaturesSel", word);
    return this.get("DeviceFeatures");
  }

  accept(word: number, value: number): void {
    this.set("DriverFeaturesSel", word);
    this.set("DriverFeatures", value);
  }

  select(queue: number): void {
    this.set("QueueSel", queue);
  }

  sizeMax(): number {
    return this.get("QueueSizeMax");
  }

  writeSize(size: number): void {
    this.set("QueueSize", size);
  }

  place(parts: Parts, base: number): void {
    if (this.legacy) return;
    const names = { desc: "QueueDesc", driver: "QueueDriver", device: "QueueDevice" } as const;
    for (const part of ["desc", "driver", "device"] as const) {
      const at = parts[part];
      const [low, high] = words(base + at);
      this.set(`${names[part]}Low`, low, { at, part: "low" });
      this.set(`${names[part]}High`, high, { at, part: "high" });
    }
  }

  enable(desc: number, base: number): void {
    if (!this.legacy) return this.set("QueueReady", 1);
    this.set("GuestPageSize", PAGE);
    this.set("QueueAlign", PAGE);
    this.set("QueuePFN", (base + desc) / PAGE, { at: desc, part: "page" });
  }

  enabled(): number {
    return this.get(this.legacy ? "QueuePFN" : "QueueReady");
  }

  notify(queue: number): void {
    this.set("QueueNotify", queue & INDEX);
  }

  notifyValue(_queue: number, value: number): void {
    this.set("QueueNotify", value);
  }

  causes(): number {
    const causes = this.get("InterruptStatus");
    if (causes !== 0) this.set("InterruptACK", causes);
    return causes;
  }

  config(offset: number, width: 1 | 2 | 4): number {
    return this.#window.read(MMIO.Config.offset + offset, width);
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#window.write(MMIO.Config.offset + offset, width, value);
  }

  generation(): number {
    return this.legacy ? 0 : this.get("ConfigGeneration");
  }

  resetQueue(): void {
    this.set("QueueReset", 1);
  }

  queueReset(): number {
    return this.get("QueueReset");
  }

  peek(offset: number, width: 1 | 2 | 4): number {
    return this.#window.read(offset, width);
  }

  poke(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#window.write(offset, width, value);
  }

  [Symbol.dispose](): void {
    this.#close();
  }
}
