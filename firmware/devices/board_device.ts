import type { DeviceModel } from "@vireo/emu";
import type { DriverInstance, VirtioDriver } from "@vireo/drivers";
import type { Vireo } from "../vireo.ts";

/** What QEMU is told of a board's devices. */
export interface QemuArguments {
  /** Back ends: `-blockdev`, `-netdev`, `-chardev` and what the user gave. */
  readonly backends: readonly string[];
  /** A `-device` argument each, on the bus that the board has its devices on. */
  readonly devices: readonly string[];
}

/** What a subcommand of a device was given. */
export interface DeviceCall {
  /** The flags, by their names in camel case; `json` is there for every command. */
  readonly flags: Readonly<Record<string, string | true | undefined>>;
  /** The arguments, in order. */
  readonly args: readonly (string | undefined)[];
}

/** A subcommand of a device, as `vireo scsi list`. */
export interface DeviceCommand {
  /** Its name after the device's. */
  readonly name: string;
  /** One line for the help. */
  readonly summary: string;
  /** Arguments in commander's syntax (`<path>`, `[bytes]`), each with a line for the help. */
  readonly arguments?: readonly (readonly [syntax: string, text: string])[];
  /** Flags in commander's syntax (`--lun <n>`), with a line for the help and a default. */
  readonly options?: readonly (readonly [syntax: string, text: string, value?: string])[];
  /** A command line that works. */
  readonly example: string;
  /** Whether it reads standard input. */
  readonly stdin?: true;
  /** Carries it out; may print. */
  run(vireo: Vireo, call: DeviceCall): Promise<void>;
}

/**
 * A device that boards have when they are asked for it with `--with`, and what the command line can do
 * with it. One file a device; `mod.ts` lists them.
 */
export interface BoardDevice {
  /** What follows `--with`, and the name of the command. */
  readonly name: string;
  /** Virtio device id. */
  readonly deviceId: number;
  /** One line for the help. */
  readonly summary: string;
  /** What may follow `NAME=`, for the help, for example `FILE[,ro]`. */
  readonly value?: string;
  /** The driver, imported when such a device is found. */
  driver(): Promise<VirtioDriver<DriverInstance>>;
  /**
   * Makes the emulated device.
   *
   * @param value What followed `NAME=`.
   * @param cleanup Owns what the model does not.
   * @throws {UsageError} If the value is wrong.
   */
  emulate(
    value: string | undefined,
    cleanup: AsyncDisposableStack,
  ): DeviceModel | Promise<DeviceModel>;
  /**
   * Says it in QEMU's words, for the virtio-mmio bus (`virtio-NAME-device`); undefined if QEMU has no
   * such device.
   *
   * @param id Tells the back ends of several apart.
   * @throws {UsageError} If the value is wrong.
   */
  qemu?(value: string | undefined, id: string): QemuArguments;
  /** What `vireo NAME ...` can do. */
  readonly commands: readonly DeviceCommand[];
}
