import type { DeviceInterfaces } from "@vireo/hal/qtest";
import { boardDevice } from "../devices/table.ts";
import type { BlkOption } from "./option_values.ts";
import type { BoardOptions } from "./options.ts";
import { parseTarget } from "./target.ts";
import { doubleCommas } from "../terminal/commas.ts";
import { NO_HUB, UsageError } from "../terminal/usage.ts";
import type { QemuArguments } from "../devices/board_device.ts";

/** Size of the disk that a board has when none was named, in bytes: it reads as zeroes. */
const DEFAULT_DISK = 16 * 1024 * 1024;
/** The guest's Ethernet address. */
const GUEST_MAC = "52:54:00:12:34:56";

/** A character device of QEMU and the port that it is behind. */
export interface QemuPort {
  /** The port's name. */
  readonly name: string;
  /** Path of the unix socket on which this process listens. */
  readonly socket: string;
  /** Whether it is a text console. */
  readonly console: boolean;
}

/** No device is served. */
const NONE: QemuArguments = { backends: [], devices: [] };

/**
 * Says a board's devices in QEMU's words: disks, the wire, a console with these ports, and entropy.
 *
 * @param served Devices that are served, in place of those of the same name.
 * @throws {UsageError} If QEMU has no such wire.
 */
export function qemuArguments(
  options: BoardOptions,
  ports: readonly QemuPort[],
  served: QemuArguments = NONE,
): QemuArguments {
  const own = (name: string): boolean => !options.served.includes(name);
  const backends: string[] = [];
  const devices: string[] = [];
  const wire = options.net ?? { kind: "user" };
  if (wire.kind === "hub") {
    throw new UsageError(`--net: ${NO_HUB}`);
  }
  if (wire.kind !== "none" && own("net")) {
    backends.push(
      "-netdev",
      wire.kind === "user"
        ? "user,id=net0"
        : `tap,id=net0,ifname=${wire.name},script=no,downscript=no`,
    );
    devices.push(`virtio-net-device,netdev=net0,mac=${GUEST_MAC}`);
  }
  for (const [i, blk] of own("blk") ? options.blk.entries() : []) {
    backends.push("-blockdev", blockdev(`disk${i}`, blk));
    devices.push(blkDevice(`disk${i}`, blk));
  }
  devices.push("virtio-serial-device");
  for (const [i, port] of ports.entries()) {
    backends.push("-chardev", `socket,id=port${i},path=${doubleCommas(port.socket)}`);
    const type = port.console ? "virtconsole" : "virtserialport";
    devices.push(`${type},chardev=port${i},name=${port.name}`);
  }
  if (own("rng")) devices.push("virtio-rng-device");
  for (const [i, { name, value }] of options.with.entries()) {
    if (!own(name)) continue;
    const device = boardDevice(name);
    if (device.qemu === undefined) throw new UsageError(`--with: QEMU has no ${name} device`);
    // QEMU's names start with a letter.
    const added = device.qemu(value, name.replace(/^(?=\d)/, "v") + i);
    backends.push(...added.backends);
    devices.push(...added.devices);
  }
  const onPci = isOnPci(options);
  return {
    backends: [...backends, ...served.backends, ...options.qemuArgs],
    devices: [
      ...(onPci ? devices.map(pciDevice) : devices),
      ...served.devices,
      ...options.devices,
    ],
  };
}

/** Whether a QEMU board has its devices on PCI. */
export function isOnPci({ target }: Pick<BoardOptions, "target">): boolean {
  return parseTarget(target).board?.pci !== undefined;
}

/** Arguments for all virtio devices of a board. */
export function deviceInterfaces(options: BoardOptions): DeviceInterfaces {
  const { legacy, transitional, packed, platformIommu } = options;
  return { legacy, transitional, packed, platformIommu };
}

/** The same device on PCI. */
function pciDevice(device: string): string {
  return device.replace(/^(virtio-[\w-]+)-device(?=,|$)/, "$1-pci");
}

function blockdev(id: string, { path, readOnly }: BlkOption): string {
  if (path === undefined) return `null-co,node-name=${id},size=${DEFAULT_DISK},read-zeroes=on`;
  const file = `file.driver=file,file.filename=${doubleCommas(path)},file.discard=unmap`;
  return `raw,node-name=${id},discard=unmap,read-only=${readOnly ? "on" : "off"},${file}`;
}

function blkDevice(id: string, { serial, blockSize }: BlkOption): string {
  let text = `virtio-blk-device,drive=${id},serial=${doubleCommas(serial ?? "vireo-qemu")}`;
  if (blockSize !== undefined) {
    text += `,logical_block_size=${blockSize},physical_block_size=${blockSize}`;
  }
  return text;
}
