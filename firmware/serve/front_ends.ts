import { DeviceId } from "@vireo/hal/ids";
import type { TransportOption } from "../target/option_values.ts";
import { UsageError } from "../terminal/usage.ts";

/** A device of QEMU that has its model from a vhost-user socket. */
interface FrontEnd {
  /** Name of the model. */
  readonly name: string;
  /** Virtio device id. */
  readonly deviceId: number;
  /** QEMU's device on PCI. */
  readonly pci: string;
  /** QEMU's device on virtio-mmio, if that passes on what is notified without KVM. */
  readonly mmio?: string;
  /** Whether it starts with KVM only. */
  readonly kvm?: true;
}

/** QEMU's front ends; it has none for other devices. */
export const FRONT_ENDS: readonly FrontEnd[] = [
  { name: "blk", deviceId: DeviceId.BLOCK, pci: "vhost-user-blk-pci", mmio: "vhost-user-blk" },
  { name: "net", deviceId: DeviceId.NET, pci: "virtio-net-pci" },
  { name: "rng", deviceId: DeviceId.RNG, pci: "vhost-user-rng-pci" },
  { name: "scsi", deviceId: DeviceId.SCSI, pci: "vhost-user-scsi-pci" },
  { name: "vsock", deviceId: DeviceId.VSOCK, pci: "vhost-user-vsock-pci" },
  { name: "gpu", deviceId: DeviceId.GPU, pci: "vhost-user-gpu-pci", kvm: true },
  { name: "input", deviceId: DeviceId.INPUT, pci: "vhost-user-input-pci", kvm: true },
];

/** Names of the devices that `--served` takes: boards without a guest have no KVM. */
export const SERVED_NAMES: readonly string[] = FRONT_ENDS.filter(({ kvm }) => !kvm)
  .map(({ name }) => name);

/** QEMU's front end of a device. @throws {UsageError} If `--served` does not take the name. */
export function frontEnd(name: string): FrontEnd {
  const found = FRONT_ENDS.find((front) => front.name === name);
  if (found !== undefined && !found.kvm) return found;
  throw new UsageError(`--served: expected ${SERVED_NAMES.join(", ")}, got '${name}'`);
}

/** Takes a name of `--served`. @throws {UsageError} If there is no such front end. */
export function parseServed(name: string): string {
  return frontEnd(name).name;
}

/**
 * Says why a QEMU board cannot have these devices served.
 *
 * @param bus The bus of the board's devices.
 * @returns The reason; undefined if it can.
 */
export function refuseServed(
  names: readonly string[],
  bus: TransportOption | undefined,
): string | undefined {
  const without = names.find((name) => bus === "mmio" && frontEnd(name).mmio === undefined);
  return without === undefined ? undefined : `QEMU has a front end for ${without} on PCI only`;
}
