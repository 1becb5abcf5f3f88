import { checkAccess } from "../discover/mmio_part.ts";
import type { Mmio } from "../mmio.ts";
import type { QtestChannel } from "./_channel.ts";

/** Registers over the qtest protocol, at an address that subclasses add. */
abstract class QtestWindow implements Mmio {
  readonly name: string;
  readonly size: number;
  readonly #base: number;

  constructor(name: string, base: number, size: number) {
    this.name = name;
    this.size = size;
    this.#base = base;
  }

  protected abstract get(width: 1 | 2 | 4, address: number): number;
  protected abstract put(width: 1 | 2 | 4, address: number, value: number): void;

  read8(offset: number): number {
    return this.get(1, this.#address(offset, 1));
  }

  read16(offset: number): number {
    return this.get(2, this.#address(offset, 2));
  }

  read32(offset: number): number {
    return this.get(4, this.#address(offset, 4));
  }

  write8(offset: number, value: number): void {
    this.put(1, this.#address(offset, 1), value & 0xff);
  }

  write16(offset: number, value: number): void {
    this.put(2, this.#address(offset, 2), value & 0xffff);
  }

  write32(offset: number, value: number): void {
    this.put(4, this.#address(offset, 4), value);
  }

  #address(offset: number, width: 1 | 2 | 4): number {
    checkAccess(this, offset, width);
    return this.#base + offset;
  }
}

/** Access to registers. */
export type Registers = Pick<QtestChannel, "read" | "write">;
/** Access to I/O ports. */
export type Ports = Pick<QtestChannel, "readPort" | "writePort">;

/** A window of memory-mapped registers. */
export class QtestMmio extends QtestWindow {
  readonly #channel: Registers;

  constructor(name: string, base: number, size: number, channel: Registers) {
    super(name, base, size);
    this.#channel = channel;
  }

  protected override get(width: 1 | 2 | 4, address: number): number {
    return this.#channel.read(width, address);
  }

  protected override put(width: 1 | 2 | 4, address: number, value: number): void {
    this.#channel.write(width, address, value);
  }
}

/** A window of I/O ports. */
export class QtestPorts extends QtestWindow {
  readonly #channel: Ports;

  constructor(name: string, base: number, size: number, channel: Ports) {
    super(name, base, size);
    this.#channel = channel;
  }

  protected override get(width: 1 | 2 | 4, port: number): number {
    return this.#channel.readPort(width, port);
  }

  protected override put(width: 1 | 2 | 4, port: number, value: number): void {
    this.#channel.writePort(width, port, value);
  }
}
