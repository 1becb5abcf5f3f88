import {
  type Interrupt,
  type InterruptWait,
  type Mmio,
  PciCommand,
  PciRegister,
  VireoError,
} from "@vireo/hal";
import { isThere, sysfsDriver, type SysfsPciFunction } from "../discover/mod.ts";
import { errnoName } from "./errno.ts";
import type { PciLine } from "./_pci.ts";
import type { ShimSymbols } from "./_shim.ts";

/** The Linux driver that hands a PCI function's INTx to a process. */
const UIO_DRIVER = "uio_pci_generic";

/** A function bound to {@linkcode UIO_DRIVER}, and its device; disposing of it unbinds the function. */
interface UioBinding extends Disposable {
  /** Path of the device. */
  readonly device: string;
}

/**
 * Binds a function that has no driver to Linux's driver for processes.
 *
 * @returns The binding; undefined if the kernel lacks that driver, or the driver refuses the function.
 */
export function bindUio({ name, path }: SysfsPciFunction): UioBinding | undefined {
  // The bus's drivers are beside its devices.
  const driver = `${path.slice(0, path.lastIndexOf("/devices/"))}/drivers/${UIO_DRIVER}`;
  if (!isThere(driver) || sysfsDriver(path) !== undefined) return undefined;
  const unbind = (): void => {
    if (!isThere(path)) return;
    if (sysfsDriver(path) === UIO_DRIVER) Deno.writeTextFileSync(`${driver}/unbind`, name);
    Deno.writeTextFileSync(`${path}/driver_override`, "\n");
  };
  try {
    Deno.writeTextFileSync(`${path}/driver_override`, UIO_DRIVER);
    Deno.writeTextFileSync(`${driver}/bind`, name);
    const [entry] = Deno.readDirSync(`${path}/uio`);
    if (entry !== undefined) {
      return { device: `/dev/${entry.name}`, [Symbol.dispose]: unbind };
    }
  } catch {
    // The driver refuses functions whose INTx cannot be masked; those are polled.
  }
  unbind();
  return undefined;
}

/**
 * A function's INTx through Linux's UIO. The kernel's handler masks the line in the command register, so
 * each wait starts by unmasking it. The waiting call is parked on a thread of its own.
 */
export class UioLine implements PciLine {
  readonly interrupt: Interrupt;
  readonly delivered = true;
  readonly #symbols: ShimSymbols;
  readonly #config: Mmio;
  readonly #binding: UioBinding;
  readonly #fd: number;
  readonly #event: number;
  readonly #waiters = new Set<PromiseWithResolvers<void>>();
  readonly #onClosed: (closed: Promise<void>) => void;
  #parked: Promise<void> | undefined;
  #closed = false;

  /**
   * Opens the device.
   *
   * @param binding The function's binding, which ends with the line.
   * @param config Configuration space of the function.
   * @param onClosed Gets, at disposal, a promise that resolves when no thread uses the shim any more.
   * @throws {VireoError} `HOST_ERROR` If it cannot be opened.
   */
  constructor(
    binding: UioBinding,
    config: Mmio,
    symbols: ShimSymbols,
    onClosed: (closed: Promise<void>) => void,
  ) {
    const { device } = binding;
    this.#binding = binding;
    this.#symbols = symbols;
    this.#config = config;
    this.#onClosed = onClosed;
    this.#fd = symbols.vireo_open_mem(new TextEncoder().encode(`${device}\0`));
    if (this.#fd < 0) throw failed("Cannot open a UIO device", device, this.#fd);
    this.#event = symbols.vireo_event();
    if (this.#event < 0) {
      symbols.vireo_close(this.#fd);
      throw failed("Cannot make an event", device, this.#event);
    }
    this.interrupt = { polled: false, wait: (options) => this.#wait(options) };
  }

  kicked(): void {}

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    const error = new VireoError("BAD_ACCESS", "Cannot wait for an interrupt: the line is closed", {
      device: this.#config.name,
    });
    this.#settle((waiter) => waiter.reject(error));
    const end = (this.#parked ?? Promise.resolve()).then(() => {
      this.#symbols.vireo_close(this.#fd);
      this.#symbols.vireo_close(this.#event);
    });
    this.#onClosed(end);
    this.#binding[Symbol.dispose]();
  }

  async #wait({ signal }: InterruptWait): Promise<void> {
    if (signal.aborted) throw signal.reason;
    if (this.#closed) {
      throw new VireoError("BAD_ACCESS", "Cannot wait for an interrupt: the line is closed", {
        device: this.#config.name,
      });
    }
    const waiter = Promise.withResolvers<void>();
    this.#waiters.add(waiter);
    const abort = (): void => {
      if (!this.#waiters.delete(waiter)) return;
      if (this.#waiters.size === 0) this.#symbols.vireo_signal(this.#event);
      waiter.reject(signal.reason);
    };
    signal.addEventListener("abort", abort);
    const command = this.#config.read16(PciRegister.COMMAND);
    if ((command & PciCommand.INTX_DISABLE) !== 0) {
      this.#config.write16(PciRegister.COMMAND, command & ~PciCommand.INTX_DISABLE);
    }
    this.#parked ??= this.#watch();
    try {
      await waiter.promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #settle(settle: (waiter: PromiseWithResolvers<void>) => void): void {
    if (this.#waiters.size > 0) this.#symbols.vireo_signal(this.#event);
    this.#waiters.forEach(settle);
    this.#waiters.clear();
  }

  async #watch(): Promise<void> {
    while (this.#waiters.size > 0) {
      const result = await this.#symbols.vireo_wait_interrupt(this.#fd, this.#event);
      if (result === 0) continue;
      const waiters = [...this.#waiters];
      this.#waiters.clear();
      for (const waiter of waiters) {
        if (result > 0) waiter.resolve();
        else waiter.reject(this.#failed(result));
      }
    }
    this.#parked = undefined;
  }

  #failed(result: number): VireoError {
    const { name } = this.#config;
    // Linux answers so when it has removed the function.
    return errnoName(-result) === "EIO"
      ? new VireoError("DEVICE_REMOVED", "The device is not there any more", { device: name })
      : failed("Cannot wait for interrupts", name, result);
  }
}

function failed(what: string, device: string, result: number): VireoError {
  return new VireoError("HOST_ERROR", what, { device, seen: errnoName(-result) });
}
