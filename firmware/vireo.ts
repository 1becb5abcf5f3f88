import type { Blk } from "@vireo/drivers/blk";
import type { Bus, RescanResult } from "@vireo/drivers/bus";
import type { Console } from "@vireo/drivers/console";
import type { DriverInstance, VirtioDriver } from "@vireo/drivers/core";
import type { Net } from "@vireo/drivers/net";
import type { Rng } from "@vireo/drivers/rng";
import type { WaitOptions } from "@vireo/drivers/wait";
import type { Platform } from "@vireo/hal";
import type { Qmp } from "@vireo/hal/qtest";
import type { StreamPort } from "@vireo/emu";
import type { DeviceInspection } from "./inspect/inspect_board.ts";
import type { EmulatedBoard } from "./target/emulated_board.ts";

/** Default export of a script. */
export type VireoMain = (vireo: Vireo) => void | Promise<void>;

/**
 * A board with the bus probed and the bundled drivers bound: what commands, scripts and the REPL use.
 */
export interface Vireo extends AsyncDisposable {
  /** The target string. */
  readonly target: string;
  /** The machine. */
  readonly platform: Platform;
  /** The virtio bus of the machine. */
  readonly bus: Bus;
  /** The emulated board's host side; undefined on other targets. */
  readonly emulated: EmulatedBoard | undefined;
  /** QEMU's monitor on targets that run QEMU; undefined on others. */
  readonly qmp: Qmp | undefined;
  /**
   * The host's end of the console port named `host`, where the host's side is in this process. A recording has what is
   * read here, and a replay gives it again.
   */
  readonly hostPort: StreamPort | undefined;
  /** Arguments of the script. */
  readonly args: readonly string[];
  /** Aborted when the program is interrupted. */
  readonly signal: AbortSignal;
  /** Aborts {@linkcode Vireo.signal}. */
  abort(reason: Error): void;
  /**
   * Finds the object that a driver made for the first of its devices.
   *
   * @throws {VireoError} `NO_DEVICE` If there is none; why its probe failed, if it did.
   */
  get<T extends DriverInstance>(driver: VirtioDriver<T>): T;
  /**
   * Binds a driver to the devices that it matches, instead of the drivers that have them.
   *
   * @returns What it made of the first of them.
   * @throws {VireoError} `NO_DEVICE` If it matches none; why its probe failed, if it did.
   *
   * @example
   * ```ts ignore
   * export default async function main(vireo: Vireo) {
   *   const dice = await vireo.use(diceDriver);
   *   console.log(await dice.roll());
   * }
   * ```
   */
  use<T extends DriverInstance>(driver: VirtioDriver<T>): Promise<T>;
  /**
   * Says what is in the rings of all devices at this moment: what the driver knows itself, what is in memory that the
   * device can change, and on QEMU targets what QEMU has of it, with the differences.
   *
   * @example
   * ```ts
   * import { openVireo } from "@vireo/firmware";
   * import { assertEquals } from "@std/assert";
   *
   * await using vireo = await openVireo();
   * const rng = (await vireo.inspect()).find(({ type }) => type === "rng")!;
   * assertEquals([rng.queues[0]!.inFlight, rng.queues[0]!.wrong], [0, []]);
   * ```
   */
  inspect(): Promise<readonly DeviceInspection[]>;
  /**
   * Looks at the board again after devices were plugged or unplugged, as `Bus.rescan`, and imports the drivers of new
   * devices. A `qtest` target that was reset is looked at again by itself.
   *
   * On other targets a look is enough. Where Linux owns the bus (`qemu` on PCI, `devmem`), it takes its time to find
   * what was plugged and to let go of what is unplugged: give a deadline there, and the call looks until something
   * changed.
   *
   * @param wait How long to look; once by default.
   * @throws {VireoError} `HOST_ERROR` If the machine does not answer; `TIMEOUT` If nothing changed by the deadline.
   * The signal's reason if it is aborted.
   * @throws {TypeError} If the board was closed.
   *
   * @example
   * ```ts ignore
   * export default async function main(vireo: Vireo) {
   *   await vireo.qmp?.execute("device_add", { driver: "virtio-rng-pci", bus: "port0" });
   *   const { added } = await vireo.rescan({ deadline: 10_000 });
   *   console.log(added.map((device) => device.name));
   * }
   * ```
   */
  rescan(wait?: WaitOptions): Promise<RescanResult>;
  /** The first block device. @throws {VireoError} `NO_DEVICE` If there is none. */
  readonly blk: Blk;
  /** The first network device. @throws {VireoError} `NO_DEVICE` If there is none. */
  readonly net: Net;
  /** The first console. @throws {VireoError} `NO_DEVICE` If there is none. */
  readonly console: Console;
  /** The first entropy device. @throws {VireoError} `NO_DEVICE` If there is none. */
  readonly rng: Rng;
}
