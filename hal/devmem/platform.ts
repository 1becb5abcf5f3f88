import {
  type DeviceNode,
  type Dma,
  hex,
  type MemoryWindow,
  type Mmio,
  type MmioLease,
  type MmioNode,
  type PciNode,
  type Platform,
  Poller,
  type PollPolicy,
  VireoError,
} from "@vireo/hal";
import { discover, type MmioSlot, readSysfsPci, type SysfsPciFunction } from "../discover/mod.ts";
import { HugepageDma } from "./dma.ts";
import { errnoError, errnoName } from "./errno.ts";
import { DevmemMmio } from "./mmio.ts";
import { type Kicks, type MappedWindow, type PciHost, type PciLine, sysfsNode } from "./_pci.ts";
import { loadShim, type Shim } from "./_shim.ts";
import { bindUio, UioLine } from "./_uio.ts";

const PAGE = 4096;

/** How to open the machine. */
export interface DevmemOptions {
  /** Path of the compiled shim; the environment's `VIREO_SHIM` by default. */
  readonly shim?: string | undefined;
  /** Where the devices are; found by {@linkcode discover} by default, and the PCI functions too. */
  readonly slots?: readonly MmioSlot[] | undefined;
  /**
   * Where Linux lists PCI functions; `/sys/bus/pci/devices` by default, unless slots are given.
   */
  readonly pci?: string | undefined;
  /**
   * Whether to take PCI functions from their Linux drivers, and to give them back when their lease is
   * disposed of. False by default: the function may be the disk that this system runs from.
   */
  readonly unbind?: boolean | undefined;
  /** Hugepages of 2 MiB for DMA; 16 by default. */
  readonly hugepages?: number | undefined;
  /**
   * How to poll in place of interrupts. If it is given, PCI functions are polled too; otherwise they use
   * INTx where Linux has the driver `uio_pci_generic`.
   */
  readonly poll?: PollPolicy | undefined;
  /** Paths of kernel modules to load first, each after the modules that it needs. */
  readonly modules?: readonly string[] | undefined;
  /** Physical memory; `/dev/mem` by default. */
  readonly memory?: string | undefined;
}

/**
 * The machine that this process runs on: registers through `/dev/mem`, DMA in hugepages, polling.
 *
 * @example
 * ```ts ignore
 * import { Bus } from "@vireo/drivers";
 * import { DevmemPlatform } from "@vireo/hal/devmem";
 *
 * await using platform = DevmemPlatform.open();
 * await using bus = new Bus();
 * await bus.addPlatform(platform);
 * ```
 */
export class DevmemPlatform implements Platform {
  /** The target string. */
  readonly name = "devmem";
  readonly #shim: Shim;
  readonly #fd: number;
  readonly #memory: string;
  /** The virtio-mmio slots, found or given. */
  readonly slots: readonly MmioNode[];
  #functions: readonly PciNode[];
  readonly #listFunctions: () => readonly SysfsPciFunction[];
  readonly #host: PciHost;
  readonly #poller: Poller;
  readonly #pages: number;
  readonly #mappings: Set<Mapping> = new Set();
  /** Promises that resolve when no thread is in the shim for a closed line any more. */
  readonly #closing: Set<Promise<void>> = new Set();
  #dma: HugepageDma | undefined;
  #closed = false;

  private constructor(shim: Shim, fd: number, memory: string, options: DevmemOptions) {
    this.#shim = shim;
    this.#fd = fd;
    this.#memory = memory;
    this.#pages = options.hugepages ?? 16;
    for (const path of options.modules ?? []) this.#loadModule(path);
    const relax = (): void => shim.symbols.vireo_relax();
    this.#poller = new Poller({ relax, ...options.poll });
    this.slots = (options.slots ?? discover()).map((slot) => this.#node(slot));
    this.#host = {
      unbind: options.unbind === true,
      mapFile: (...args) => this.#mapFile(...args),
      line: (fn, config) => this.#line(fn, config, options.poll !== undefined),
    };
    const skip = options.slots !== undefined && options.pci === undefined;
    this.#listFunctions = () => skip ? [] : readSysfsPci(options.pci);
    this.#functions = this.#listFunctions().map((fn) => sysfsNode(fn, this.#host));
  }

  /**
   * Opens physical memory and finds the devices; DMA memory is taken at its first use.
   *
   * @throws {VireoError} `HOST_ERROR` If the shim or `/dev/mem` cannot be opened, or a source of
   * device addresses is malformed; the message says what to do.
   */
  static open(options: DevmemOptions = {}): DevmemPlatform {
    const shim = loadShim(options.shim ?? Deno.env.get("VIREO_SHIM") ?? defaultShim());
    try {
      const memory = options.memory ?? "/dev/mem";
      const fd = shim.symbols.vireo_open_mem(new TextEncoder().encode(`${memory}\0`));
      if (fd < 0) throw errnoError("open", "Cannot open physical memory", -fd, memory);
      try {
        return new DevmemPlatform(shim, fd, memory, options);
      } catch (error) {
        shim.symbols.vireo_close(fd);
        throw error;
      }
    } catch (error) {
      shim[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Memory in hugepages, taken at its first use.
   *
   * @throws {VireoError} `OUT_OF_MEMORY` If too few are free, `HOST_ERROR` If the user is not root.
   */
  get dma(): Dma {
    this.#checkOpen();
    return this.#dma ??= new HugepageDma(this.#pages, this.#shim.symbols);
  }

  /** The PCI functions that Linux has found, of any vendor. */
  get functions(): readonly PciNode[] {
    return this.#functions;
  }

  /** Implements {@linkcode Platform.rescan}: the functions that Linux has now, which it finds by itself. */
  rescan(): void {
    const before = this.#functions;
    this.#functions = this.#listFunctions().map((fn) =>
      before.find((node) =>
        node.name === fn.name && node.vendor === fn.vendor && node.device === fn.device
      ) ?? sysfsNode(fn, this.#host)
    );
  }

  /** Implements {@linkcode Platform.nodes}: the slots, then the PCI functions. */
  nodes(): readonly DeviceNode[] {
    return [...this.slots, ...this.functions];
  }

  /**
   * Maps a physical range.
   *
   * @throws {VireoError} `BAD_ACCESS` If the kernel does not allow it.
   */
  openMemory(address: number, length: number): MemoryWindow {
    const mapping = this.#map({
      name: `memory@${address.toString(16)}`,
      base: address,
      size: length,
    });
    const buffer = Deno.UnsafePointerView.getArrayBuffer(mapping.pointer, length);
    mapping.onClose = () => buffer.transfer(0);
    return { bytes: new Uint8Array(buffer), [Symbol.dispose]: () => mapping[Symbol.dispose]() };
  }

  /** Unmaps everything and closes physical memory; devices must have been reset before. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#poller[Symbol.dispose]();
    for (const mapping of this.#mappings) mapping[Symbol.dispose]();
    this.#dma?.[Symbol.dispose]();
    this.#shim.symbols.vireo_close(this.#fd);
    await Promise.all(this.#closing);
    this.#shim[Symbol.dispose]();
  }

  #node(slot: MmioSlot): MmioNode {
    const { base, size, irq } = slot;
    const name = `virtio-mmio@${base.toString(16)}`;
    return { kind: "mmio", name, base, size, irq, open: () => this.#open({ name, base, size }) };
  }

  #open(window: Window): MmioLease {
    const mapping = this.#map(window);
    const interrupt = this.#poller.line();
    const { symbols } = this.#shim;
    const mmio = new DevmemMmio(window, mapping.pointer, symbols, interrupt.kicked);
    mapping.onClose = () => mmio.close();
    return { mmio, interrupt, [Symbol.dispose]: () => mapping[Symbol.dispose]() };
  }

  #loadModule(path: string): void {
    const result = this.#shim.symbols.vireo_load_module(new TextEncoder().encode(`${path}\0`));
    const name = errnoName(-result);
    if (result >= 0 || name === "EEXIST") return;
    throw new VireoError("HOST_ERROR", "Cannot load a kernel module", {
      device: path,
      seen: name === "ENOENT" ? "ENOENT (no such file, or it needs a module first)" : name,
    });
  }

  /** The interrupt of a PCI function: INTx where Linux hands it out, polling elsewhere. */
  #line(fn: SysfsPciFunction, config: Mmio, poll: boolean): PciLine {
    const { symbols } = this.#shim;
    const binding = poll ? undefined : bindUio(fn);
    if (binding !== undefined) {
      const onClosed = (closed: Promise<void>): void => {
        this.#closing.add(closed);
        closed.finally(() => this.#closing.delete(closed));
      };
      try {
        return new UioLine(binding, config, symbols, onClosed);
      } catch (error) {
        binding[Symbol.dispose]();
        throw error;
      }
    }
    const interrupt = this.#poller.line();
    const { kicked } = interrupt;
    return { interrupt, delivered: false, kicked, [Symbol.dispose]() {} };
  }

  /** Maps the file of a PCI function's base address register. */
  #mapFile(name: string, path: string, size: number, kicks: Kicks): MappedWindow {
    this.#checkOpen();
    const { symbols } = this.#shim;
    const fd = symbols.vireo_open_mem(new TextEncoder().encode(`${path}\0`));
    if (fd < 0) {
      throw new VireoError("BAD_ACCESS", "Cannot open a register file", {
        device: name,
        seen: `${path}: ${errnoName(-fd)}`,
      });
    }
    try {
      const mapping = this.#map({ name, base: 0, size }, { fd, path });
      const mmio = new DevmemMmio({ name, size }, mapping.pointer, symbols, kicks.kicked, kicks);
      mapping.onClose = () => mmio.close();
      return { mmio, [Symbol.dispose]: () => mapping[Symbol.dispose]() };
    } finally {
      symbols.vireo_close(fd);
    }
  }

  #map(
    { name, base, size }: Window,
    { fd, path } = { fd: this.#fd, path: this.#memory },
  ): Mapping {
    this.#checkOpen();
    if (!Number.isSafeInteger(base) || base < 0 || !Number.isSafeInteger(size) || size < 1) {
      throw new RangeError(
        `Cannot map ${size} bytes of physical memory at ${
          hex(base)
        }: both must be integers from 0 on`,
      );
    }
    const start = Math.floor(base / PAGE) * PAGE;
    const length = Math.ceil((base + size - start) / PAGE) * PAGE;
    const { symbols } = this.#shim;
    const address = symbols.vireo_map(fd, BigInt(start), BigInt(length));
    if (address < 0n) {
      const what = `Cannot map ${length} bytes of ${path} at ${hex(start)}`;
      throw errnoError("map", what, Number(-address), name, "BAD_ACCESS");
    }
    const mapping: Mapping = {
      pointer: Deno.UnsafePointer.create(address + BigInt(base - start))!,
      onClose: undefined,
      [Symbol.dispose]: () => {
        if (!this.#mappings.delete(mapping)) return;
        mapping.onClose?.();
        symbols.vireo_unmap(Deno.UnsafePointer.create(address), BigInt(length));
      },
    };
    this.#mappings.add(mapping);
    return mapping;
  }

  #checkOpen(): void {
    if (!this.#closed) return;
    throw new VireoError("BAD_ACCESS", "Cannot use the platform: it is closed", {
      device: this.name,
    });
  }
}

interface Window {
  readonly name: string;
  readonly base: number;
  readonly size: number;
}

interface Mapping extends Disposable {
  readonly pointer: Deno.PointerObject;
  onClose: (() => void) | undefined;
}

/** Where the build puts the shim for this machine; see `firmware/image/shim.ts`. */
function defaultShim(): string {
  return new URL(`../../.cache/shim/${Deno.build.arch}/libvireo.so`, import.meta.url).pathname;
}
