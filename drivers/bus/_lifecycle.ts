import { asError, Feature, FeatureSet, Status, VireoError } from "@vireo/hal";
import type { BusDevice } from "./_bus_device.ts";
import {
  checkAccess,
  checkValidated,
  driverTable,
  featuresRefused,
  isLegacy,
  reduceTransportBits,
  transportOffer,
} from "./_features.ts";
import type { DriverInstance, VirtioDriver } from "../driver.ts";
import { checkInstance } from "./_driver_shape.ts";

/** Adds status bits, as Linux's `virtio_add_status`. */
function addStatus(device: BusDevice, bits: number): void {
  device.transport.writeStatus(device.transport.readStatus() | bits);
}

/** Sets FAILED in the status, if the machine still answers. */
export function setFailed(device: BusDevice, error: Error): void {
  device.error = error;
  try {
    addStatus(device, Status.FAILED);
  } catch {
    // The first error says more than the failure to write the status.
  }
}

/** Resets and acknowledges a device, as Linux's `register_virtio_device` does. */
export async function acknowledge(device: BusDevice): Promise<void> {
  await device.reset();
  addStatus(device, Status.ACKNOWLEDGE);
}

function finalize(device: BusDevice, features: FeatureSet, filter: FeatureSet): FeatureSet {
  const reduced = reduceTransportBits(device.transport, features).minus(filter);
  device.transport.writeFeatures(reduced);
  device.features = reduced;
  return reduced;
}

/** Sets FEATURES_OK and reads it back (virtio 1.4 §3.1.1 steps 5 and 6), except on a legacy device. */
function confirmFeatures(device: BusDevice): void {
  if (!device.features.has(Feature.VERSION_1)) return;
  addStatus(device, Status.FEATURES_OK);
  const status = device.transport.readStatus();
  if ((status & Status.FEATURES_OK) === 0) {
    throw featuresRefused(device.name, status, device.features);
  }
}

/** Steps 1 to 10 of Linux's `virtio_dev_probe`. */
function negotiate(device: BusDevice, driver: VirtioDriver, filter: FeatureSet): void {
  const { transport } = device;
  addStatus(device, Status.DRIVER); // 1
  const offered = transport.readFeatures(); // 2
  device.offered = offered;
  const legacy = isLegacy(transport, offered);
  const table = driverTable(driver, legacy); // 3
  let features = offered.and(table).minus(filter); // 4, 5
  features = features.or(transportOffer(offered, legacy)); // 6
  features = finalize(device, features, filter); // 7
  if (driver.validate !== undefined) {
    const validated = driver.validate(device, features); // 8
    checkValidated(driver, features, validated);
    if (!validated.equals(features)) finalize(device, validated, filter);
  }
  checkAccess(transport, device.features); // 9
  confirmFeatures(device); // 10
}

/** Sets DRIVER_OK, unless the driver did. */
function ensureReady(device: BusDevice): void {
  const status = device.transport.readStatus();
  const { running } = device;
  // The device's word is compared with what we know, so that a lie is not taken for a driver's mistake.
  if (((status & Status.DRIVER_OK) !== 0) !== running) {
    const what = running ? "Device lost DRIVER_OK" : "Device has DRIVER_OK before it was set";
    throw new VireoError("DEVICE_STATE", what, {
      device: device.name,
      register: "Status",
      seen: status,
    });
  }
  if (!running) device.ready();
}

/**
 * Binds a driver to an acknowledged device: Linux's `virtio_dev_probe`.
 *
 * @throws The error of the failed step; the driver is then not bound, and FAILED is set.
 */
export async function probe(
  device: BusDevice,
  driver: VirtioDriver,
  filter: FeatureSet,
): Promise<void> {
  // After FAILED the device needs a reset (virtio 1.4 §2.1.1); Linux omits it.
  // One that would not be reset when its last driver went has that driver's queues until it is.
  const kept = device.queues.length > 0;
  if (device.error !== undefined || kept) await acknowledge(device);
  if (kept) device.deleteQueues();
  device.error = undefined;
  device.driver = driver;
  try {
    negotiate(device, driver, filter);
    device.instance = checkInstance(driver, device.name, await driver.probe(device)); // 11
    ensureReady(device); // 12
    await device.instance.scan?.(); // 13
    device.gate.setCore(true); // 14
    device.tellBroken();
  } catch (cause) {
    const error = probeError(device, driver, cause);
    await cleanUp(device, error);
    setFailed(device, error);
    throw error;
  }
}

function probeError(device: BusDevice, driver: VirtioDriver, cause: unknown): Error {
  if (cause instanceof VireoError || cause instanceof TypeError) {
    explain(cause, device.diagnose());
    return cause;
  }
  return new VireoError("PROBE_FAILED", `${driver.name} cannot drive the device`, {
    device: device.name,
    cause,
  });
}

/** Gives an error a cause, unless it has one. */
export function explain(error: Error, cause: Error | undefined): void {
  if (cause !== undefined && error.cause === undefined && error !== cause) error.cause = cause;
}

/** Undoes a failed probe: the device must keep nothing that it could still write to. */
async function cleanUp(device: BusDevice, reason: Error): Promise<void> {
  const { instance } = device;
  try {
    device.tell(reason);
    await instance?.remove();
    await releaseQueues(device);
  } catch {
    // The first error stays the reason. Memory that the device may still use is not freed.
  }
  await unbind(device);
}

async function releaseQueues(device: BusDevice): Promise<void> {
  if (device.queues.length === 0) return;
  await device.reset();
  device.deleteQueues();
}

async function unbind(device: BusDevice): Promise<void> {
  await device.stopInterrupts();
  device.gate.clear();
  device.driver = undefined;
  device.instance = undefined;
}

/**
 * Unbinds the driver of a device: Linux's `virtio_dev_remove`. The device can be bound again.
 *
 * @returns The errors on the way; the driver is unbound in any case.
 */
export async function remove(device: BusDevice): Promise<Error[]> {
  const errors: Error[] = [];
  const attempt = async (step: () => void | Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      errors.push(asError(error));
    }
  };
  const { instance, driver } = device;
  device.gate.setCore(false);
  device.resetReason = "DEVICE_REMOVED";
  await attempt(() => instance?.remove());
  const present = device.transport.isPresent();
  await attempt(async () => {
    // The device was unplugged, so it can no longer reach the queues.
    if (!present) return device.deleteQueues();
    const status = device.transport.readStatus();
    const queues = device.queues.length;
    if (status === 0 && queues === 0) return;
    await device.reset();
    device.deleteQueues();
    if (errors.length > 0) return;
    const [left, register, seen] = status === 0
      ? [
        `${driver?.name} left the queues of the device: remove() must call deleteQueues()`,
        undefined,
        queues,
      ]
      : [`${driver?.name} left the device running: remove() must reset it`, "Status", status];
    throw new VireoError("DEVICE_STATE", left, {
      device: device.name,
      register,
      seen,
      expected: 0,
    });
  });
  await unbind(device);
  device.waiters.fail(removed(device));
  device.resetReason = "DEVICE_STATE";
  device.features = FeatureSet.NONE;
  if (present) await attempt(() => addStatus(device, Status.ACKNOWLEDGE));
  return errors;
}

/** The error for waiters on a device that was removed. */
export function removed(device: BusDevice): VireoError {
  return new VireoError("DEVICE_REMOVED", "Device was removed", { device: device.name });
}

/**
 * Linux's `virtio_device_freeze`, and the reset that its drivers make themselves.
 *
 * @throws The error of the driver's `freeze`; the device then keeps running.
 */
export async function freeze(device: BusDevice): Promise<void> {
  device.gate.setCore(false);
  device.frozenFailed = (device.transport.readStatus() & Status.FAILED) !== 0;
  if (device.instance === undefined) return;
  try {
    await device.instance.freeze?.();
  } catch (error) {
    device.gate.setCore(true);
    throw error;
  }
  if (device.transport.readStatus() !== 0) await device.reset();
}

/**
 * Linux's `virtio_device_restore`: negotiates the same features again, without `validate`.
 *
 * @throws The error of the failed step; FAILED is then set.
 */
export async function restore(device: BusDevice): Promise<void> {
  try {
    await device.reset();
    addStatus(device, Status.ACKNOWLEDGE);
    if (device.frozenFailed) addStatus(device, Status.FAILED);
    const { instance } = device;
    if (instance === undefined) return;
    await bringBack(device, instance);
  } catch (error) {
    setFailed(device, asError(error));
    throw error;
  }
}

async function bringBack(device: BusDevice, instance: DriverInstance): Promise<void> {
  if (instance.restore === undefined) {
    throw new VireoError(
      "UNSUPPORTED",
      `Cannot restore the device: ${device.driver?.name} has no restore()`,
      {
        device: device.name,
      },
    );
  }
  await device.stopInterrupts();
  device.retireQueues();
  try {
    addStatus(device, Status.DRIVER);
    device.transport.writeFeatures(device.features);
    confirmFeatures(device);
    await instance.restore();
  } finally {
    device.freeRetired();
  }
  ensureReady(device);
  device.error = undefined;
  device.gate.setCore(true);
}

/**
 * Tries once to recover a device that set NEEDS_RESET (virtio 1.4 §2.1.2). It works like a restore, but the
 * driver does not freeze first, because the device no longer answers.
 */
export async function recoverOnce(device: BusDevice): Promise<void> {
  const { instance } = device;
  if (instance === undefined) return;
  device.gate.setCore(false);
  await device.reset();
  addStatus(device, Status.ACKNOWLEDGE);
  await bringBack(device, instance);
}

/** Linux's `virtio_dev_shutdown`: the driver's own `shutdown`, or else break and reset. */
export async function shutdown(device: BusDevice): Promise<void> {
  const { instance } = device;
  if (instance === undefined) return;
  device.gate.setCore(false);
  if (instance.shutdown !== undefined) return await instance.shutdown();
  device.break(
    new VireoError("DEVICE_STATE", "Device was shut down", { device: device.name }),
  );
  await device.stopInterrupts();
  await device.reset();
}
