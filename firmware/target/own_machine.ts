import { DevmemPlatform } from "@vireo/hal/devmem";
import { isThere, parseMmioOption } from "@vireo/hal/discover";
import type { Qmp } from "@vireo/hal/qtest";
import { guestMonitor } from "./guest_monitor.ts";
import { inGuest } from "../terminal/environment.ts";
import type { BoardOptions } from "./options.ts";

/** The machine that this process runs on, as a board. */
export class OwnMachine implements AsyncDisposable {
  /** The machine. */
  readonly platform: DevmemPlatform;
  /** No process here is at the other end of the console's ports. */
  readonly hostPort = undefined;
  #qmp: Qmp | undefined;

  private constructor(platform: DevmemPlatform) {
    this.platform = platform;
  }

  /**
   * Opens the machine; compiles the C shim first where the project's image has not brought one.
   *
   * @throws {VireoError} `HOST_ERROR` Without root, `/dev/mem` or a C compiler; the message says what
   * to do.
   */
  static async open(options: Pick<BoardOptions, "mmio" | "unbind" | "poll">): Promise<OwnMachine> {
    const { mmio } = options;
    // A guest is there for Vireo alone.
    const unbind = options.unbind || inGuest();
    const poll = options.poll ? {} : undefined;
    const slots = mmio === undefined ? undefined : parseMmioOption(mmio);
    if (!inGuest() && Deno.env.get("VIREO_SHIM") === undefined) {
      const { hostShim } = await import("../image/mod.ts");
      return new OwnMachine(DevmemPlatform.open({ slots, unbind, poll, shim: await hostShim() }));
    }
    return new OwnMachine(DevmemPlatform.open({ slots, unbind, poll, modules: guestModules() }));
  }

  /** The monitor of the QEMU that this machine is; undefined where Vireo's host side is not behind it. */
  get qmp(): Qmp | undefined {
    return this.#qmp ??= inGuest() ? guestMonitor() : undefined;
  }

  /** Closes the machine. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#qmp?.close();
    await this.platform[Symbol.asyncDispose]();
  }
}

/** The modules that the guest of a board with PCI has, in the order in which they are loaded. */
export function guestModules(): string[] {
  const paths = ["/vireo/uio.ko", "/vireo/uio_pci_generic.ko"];
  return paths.every(isThere) ? paths : [];
}
