import { type Mmio, type PciAddress, type PciBar, VireoError } from "@vireo/hal";
import { checkAccess } from "./mmio_part.ts";

/** A PCI function as Linux's sysfs lists it. */
export interface SysfsPciFunction {
  /** Name, `0000:00:03.0`. */
  readonly name: string;
  /** Where it is. */
  readonly address: PciAddress;
  /** Vendor id. */
  readonly vendor: number;
  /** Device id. */
  readonly device: number;
  /** Its directory. */
  readonly path: string;
}

/** The error of Linux for an open file of a device that it has removed. */
const ENODEV = /\(os error 19\)/;

/** Bits of Linux's resource flags, the third column of a `resource` file. */
const RESOURCE = { IO: 0x100, MEMORY: 0x200 } as const;

/**
 * Lists the PCI functions that Linux has found.
 *
 * @param root `/sys/bus/pci/devices` by default.
 * @returns The functions by name, which is also by address; none if the machine has no PCI.
 *
 * @example
 * ```ts
 * import { readSysfsPci } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * // A machine without PCI has no such folder.
 * assertEquals(readSysfsPci("/sys/bus/none/devices"), []);
 * ```
 */
export function readSysfsPci(root = "/sys/bus/pci/devices"): SysfsPciFunction[] {
  let names: string[];
  try {
    names = [...Deno.readDirSync(root)].map((entry) => entry.name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  const functions: SysfsPciFunction[] = [];
  for (const name of names) {
    const match = /^([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/.exec(name);
    if (match === null) continue;
    const [segment, bus, device, fn] = match.slice(1).map((text) => parseInt(text, 16));
    const path = `${root}/${name}`;
    try {
      functions.push({
        name,
        address: { segment: segment!, bus: bus!, device: device!, function: fn! },
        vendor: readNumber(`${path}/vendor`),
        device: readNumber(`${path}/device`),
        path,
      });
    } catch (error) {
      // Linux has removed it since it was listed.
      if (!isGone(error)) throw error;
    }
  }
  return functions;
}

/**
 * Parses a function's `resource` file: a line `start end flags` for each base address register.
 *
 * @returns Those that decode something, by ascending index.
 *
 * @example
 * ```ts
 * import { parsePciResources } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * const text = [
 *   "0x0000000000001000 0x000000000000107f 0x0000000000040101",
 *   "0x00000000fea00000 0x00000000fea00fff 0x0000000000040200",
 * ].join("\n");
 * assertEquals(parsePciResources(text).map(({ index, size }) => [index, size]), [[0, 128], [1, 4096]]);
 * ```
 */
export function parsePciResources(text: string): PciBar[] {
  const bars: PciBar[] = [];
  for (const [index, line] of text.trimEnd().split("\n").slice(0, 6).entries()) {
    const match = /^0x([0-9a-f]+) 0x([0-9a-f]+) 0x([0-9a-f]+)$/.exec(line);
    if (match === null) continue;
    const [start, end] = [parseInt(match[1]!, 16), parseInt(match[2]!, 16)];
    const flags = parseInt(match[3]!, 16);
    const space = (flags & RESOURCE.IO) !== 0 ? "io" : "memory";
    if ((flags & (RESOURCE.IO | RESOURCE.MEMORY)) === 0 || end <= start) continue;
    bars.push({ index, space, address: start, size: end - start + 1 });
  }
  return bars;
}

/**
 * The Linux driver that a function is bound to, if any.
 *
 * @example
 * ```ts
 * import { sysfsDriver } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * const folder = await Deno.makeTempDir();
 * assertEquals(sysfsDriver(folder), undefined);
 * await Deno.symlink("../../drivers/virtio-pci", `${folder}/driver`);
 * assertEquals(sysfsDriver(folder), "virtio-pci");
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export function sysfsDriver(path: string): string | undefined {
  try {
    return Deno.readLinkSync(`${path}/driver`).split("/").at(-1);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Whether there is a file or folder of this path; a function's folder goes with the function.
 *
 * @example
 * ```ts
 * import { isThere } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([isThere("/proc/self"), isThere("/proc/none")], [true, false]);
 * ```
 */
export function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Registers behind a file. Each access is one read or write of its width at its offset, as for sysfs's
 * configuration space (`config`) and I/O ports (`resource0`). Of a function that Linux has removed, reads
 * are all ones and writes are lost, as on the bus.
 *
 * @example
 * ```ts
 * import { FileMmio } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * const path = await Deno.makeTempFile();
 * using registers = new FileMmio("registers", path, 256);
 * registers.write32(4, 0x1af4);
 * assertEquals([registers.size, registers.read16(4)], [256, 0x1af4]);
 * await Deno.remove(path);
 * ```
 */
export class FileMmio implements Mmio, Disposable {
  /** Name for messages. */
  readonly name: string;
  /** Bytes of the window. */
  readonly size: number;
  readonly #file: Deno.FsFile;
  readonly #bytes: readonly [Uint8Array, Uint8Array, Uint8Array];
  readonly #view: DataView;
  #closed = false;

  /**
   * Opens the file.
   *
   * @param size Bytes of the window; the length of the file by default.
   * @throws {VireoError} `BAD_ACCESS` If the file cannot be opened.
   */
  constructor(name: string, path: string, size?: number) {
    try {
      this.#file = Deno.openSync(path, { read: true, write: true });
    } catch (cause) {
      throw new VireoError("BAD_ACCESS", "Cannot open a register file", {
        device: name,
        seen: cause instanceof Error ? cause.message : String(cause),
        cause,
      });
    }
    this.name = name;
    this.size = size ?? this.#file.statSync().size;
    const bytes = new Uint8Array(4);
    this.#bytes = [bytes.subarray(0, 1), bytes.subarray(0, 2), bytes];
    this.#view = new DataView(bytes.buffer);
  }

  /** Implements {@linkcode Mmio.read8}. */
  read8(offset: number): number {
    this.#read(offset, 1, this.#bytes[0]);
    return this.#view.getUint8(0);
  }

  /** Implements {@linkcode Mmio.read16}. */
  read16(offset: number): number {
    this.#read(offset, 2, this.#bytes[1]);
    return this.#view.getUint16(0, true);
  }

  /** Implements {@linkcode Mmio.read32}. */
  read32(offset: number): number {
    this.#read(offset, 4, this.#bytes[2]);
    return this.#view.getUint32(0, true);
  }

  /** Implements {@linkcode Mmio.write8}. */
  write8(offset: number, value: number): void {
    this.#view.setUint8(0, value);
    this.#write(offset, 1, this.#bytes[0]);
  }

  /** Implements {@linkcode Mmio.write16}. */
  write16(offset: number, value: number): void {
    this.#view.setUint16(0, value, true);
    this.#write(offset, 2, this.#bytes[1]);
  }

  /** Implements {@linkcode Mmio.write32}. */
  write32(offset: number, value: number): void {
    this.#view.setUint32(0, value, true);
    this.#write(offset, 4, this.#bytes[2]);
  }

  /** Closes the file; every further access is an error. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#file.close();
  }

  #read(offset: number, width: number, bytes: Uint8Array): void {
    const read = this.#access(offset, width, () => this.#file.readSync(bytes));
    if (read === undefined) bytes.fill(0xff);
    else if (read !== width) throw this.#failed(offset, "nothing");
  }

  #write(offset: number, width: number, bytes: Uint8Array): void {
    const written = this.#access(offset, width, () => this.#file.writeSync(bytes));
    if (written !== undefined && written !== width) {
      throw this.#failed(offset, "a part of it written");
    }
  }

  /** The result of a call at an offset, or undefined if Linux has removed the function. */
  #access(offset: number, width: number, call: () => number | null): number | null | undefined {
    if (this.#closed) {
      throw new VireoError("BAD_ACCESS", "Cannot access a register: the window is closed", {
        device: this.name,
      });
    }
    checkAccess(this, offset, width);
    try {
      this.#file.seekSync(offset, Deno.SeekMode.Start);
      return call();
    } catch (error) {
      // Deno's error has no code for it.
      if (error instanceof Error && ENODEV.test(error.message)) return undefined;
      throw error;
    }
  }

  #failed(offset: number, seen: string): VireoError {
    return new VireoError("BAD_ACCESS", "Cannot access a register: the file ended", {
      device: this.name,
      register: `0x${offset.toString(16)}`,
      seen,
    });
  }
}

/** Whether an error says that a function has no files any more. */
function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound ||
    error instanceof Error && ENODEV.test(error.message);
}

function readNumber(path: string): number {
  return Number(Deno.readTextFileSync(path).trim());
}
