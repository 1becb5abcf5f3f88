/**
 * Configuration spaces in memory, of functions, bridges and ports.
 *
 * @module
 */
import type { Mmio } from "@vireo/hal";
import fc from "fast-check";
import { checkAccess, type PciConfig } from "./mod.ts";

/** Bytes as a register window; bits outside the mask of a byte do not change. */
export class FakeConfig implements Mmio {
  readonly name = "fake";
  readonly size: number;
  readonly view: DataView;
  readonly mask: DataView;
  writes = 0;

  constructor(size = 256) {
    this.size = size;
    this.view = new DataView(new ArrayBuffer(size));
    this.mask = new DataView(new ArrayBuffer(size));
  }

  read8(at: number): number {
    checkAccess(this, at, 1);
    return this.view.getUint8(at);
  }
  read16(at: number): number {
    checkAccess(this, at, 2);
    return this.view.getUint16(at, true);
  }
  read32(at: number): number {
    checkAccess(this, at, 4);
    return this.view.getUint32(at, true);
  }
  write8(at: number, value: number): void {
    checkAccess(this, at, 1);
    this.writes++;
    const mask = this.mask.getUint8(at);
    this.view.setUint8(at, this.view.getUint8(at) & ~mask | value & mask);
  }
  write16(at: number, value: number): void {
    checkAccess(this, at, 2);
    for (let i = 0; i < 2; i++) this.write8(at + i, value >>> (8 * i) & 0xff);
  }
  write32(at: number, value: number): void {
    checkAccess(this, at, 4);
    for (let i = 0; i < 4; i++) this.write8(at + i, value >>> (8 * i) & 0xff);
  }
}

/** A base address register as a board's designer draws it. */
interface FakeBar {
  readonly kind: "io" | "memory" | "wide" | "prefetchable";
  /** The size is 2 to this. */
  readonly bits: number;
  /** Where it is, in units of its size; 0 if it has no address. */
  readonly unit: number;
}

const LOW = { io: 1, memory: 0, wide: 4, prefetchable: 12 } as const;
export const isWide = ({ kind }: FakeBar): boolean => kind === "wide" || kind === "prefetchable";
export const sizeOf = ({ bits }: FakeBar): number => 2 ** bits;

/** A function with these registers; what does not fit into six is left out. */
export function endpoint(
  bars: readonly FakeBar[],
): { config: FakeConfig; bars: (FakeBar & { index: number })[] } {
  const config = new FakeConfig();
  config.view.setUint32(0, 0x1041_1af4, true);
  config.mask.setUint16(4, 0x7, true);
  config.view.setUint8(0x3d, 1);
  const placed: (FakeBar & { index: number })[] = [];
  let index = 0;
  for (const bar of bars) {
    const registers = isWide(bar) ? 2 : 1;
    if (index + registers > 6) break;
    const at = 0x10 + 4 * index;
    const size = sizeOf(bar);
    const address = bar.unit * size;
    config.mask.setUint32(at, size < 2 ** 32 ? 2 ** 32 - size : 0, true);
    config.view.setUint32(at, address % 2 ** 32 + LOW[bar.kind], true);
    if (isWide(bar)) {
      config.mask.setUint32(at + 4, 2 ** 32 - Math.max(1, size / 2 ** 32), true);
      config.view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
    }
    placed.push({ ...bar, index });
    index += registers;
  }
  return { config, bars: placed };
}

/** Any base address register, at one of these units. */
export const barOf = (unit: fc.Arbitrary<number>): fc.Arbitrary<FakeBar> =>
  fc.oneof(
    fc.record({ kind: fc.constant("io" as const), bits: fc.integer({ min: 2, max: 8 }), unit }),
    fc.record({
      kind: fc.constantFrom("memory", "wide", "prefetchable"),
      bits: fc.integer({ min: 4, max: 20 }),
      unit,
    }),
  );

/** Where no function is, all bits read as ones. */
const ABSENT = new FakeConfig();
new Uint8Array(ABSENT.view.buffer).fill(0xff);

/** A segment of functions, by "bus:device.function". */
export class FakeBus implements PciConfig {
  readonly segment = 0;
  readonly buses: number;
  readonly functions: Map<string, FakeConfig> = new Map();
  constructor(buses = 256) {
    this.buses = buses;
  }
  open({ bus, device, function: fn }: { bus: number; device: number; function: number }): Mmio {
    if (device >= 32 || fn >= 8) {
      throw new RangeError(`Cannot open function ${device}.${fn}: expected at most 31.7`);
    }
    return this.functions.get(`${bus}:${device}.${fn}`) ?? ABSENT;
  }
}

/** A bridge whose bus numbers can be written. */
export function bridge(secondary = 0): FakeConfig {
  const config = new FakeConfig();
  config.view.setUint32(0, 0x0001_1b36, true);
  config.view.setUint8(0x0e, 1);
  config.mask.setUint32(0x18, 0xffffff, true);
  config.mask.setUint16(4, 7, true);
  for (const at of [0x1c, 0x20, 0x24, 0x30]) config.mask.setUint32(at, 0xffff_ffff, true);
  config.view.setUint8(0x19, secondary);
  return config;
}

/** A port of PCI Express whose slot takes cards: the capability is at 0x40, its slot status at 0x5a. */
export function hotPlugPort(): FakeConfig {
  const config = bridge();
  config.view.setUint8(6, 0x10);
  config.view.setUint8(0x34, 0x40);
  config.view.setUint32(0x40, 0x0142_0010, true);
  config.view.setUint32(0x54, 0x40, true);
  config.mask.setUint16(0x58, 0xffff, true);
  return config;
}
