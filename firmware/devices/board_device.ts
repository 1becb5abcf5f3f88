import type { DeviceModel } from "@vireo/emu";
import type { DriverInstance, VirtioDriver } from "@vireo/drivers/core";

/** A device that was asked for. */
export interface WithOption {
  /** The name of a `BoardDevice`. */
  readonly name: string;
  /** Text after `NAME=`. */
  readonly value: string | undefined;
}

/** QEMU's arguments for a board's devices. */
export interface QemuArguments {
  /** Back ends: `-blockdev`, `-netdev`, `-chardev` and what the user gave. */
  readonly backends: readonly string[];
  /** A `-device` argument each, on the bus that the board has its devices on. */
  readonly devices: readonly string[];
}

/**
 * A device that boards have when they are asked for it with `--with`. One file a device; `table.ts`
 * lists them.
 */
export interface BoardDevice {
  /** Name after `--with`, and of the group of its commands. */
  readonly name: string;
  /** Virtio device id. */
  readonly deviceId: number;
  /** Form of the text after `NAME=`, for the help, for example `FILE[,ro]`. */
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
}
