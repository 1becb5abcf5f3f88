import { deviceName, featureName, type FeatureSet, hex, statusText } from "@vireo/hal";
import type { VirtioDevice } from "@vireo/drivers";
import { openVireo, type Vireo } from "../vireo.ts";
import type { BoardOptions } from "../options.ts";

/** What `probe` tells of one device. */
export interface DeviceReport {
  /** `virtio<n>`. */
  readonly name: string;
  /** Name of its slot. */
  readonly slot: string;
  /** Kind and version of the transport, for example `mmio-2`. */
  readonly transport: string;
  /** Virtio device id. */
  readonly id: number;
  /** Short name of the device type. */
  readonly type: string;
  /** Vendor id in hex. */
  readonly vendor: string;
  /** Name of the driver bound to it. */
  readonly driver: string | null;
  /** Names of the status bits, joined by `|`. */
  readonly status: string;
  /** As Linux writes it: `virtio:d<id>v<vendor>`. */
  readonly modalias: string;
  /** Names of the features that the device offered. */
  readonly offered: readonly string[];
  /** Names of the features that were agreed. */
  readonly negotiated: readonly string[];
  /** Its queues, with sizes in descriptors. */
  readonly queues: readonly { readonly name: string; readonly size: number }[];
}

/** What `probe` tells of a board. */
export interface BoardReport {
  /** The target string. */
  readonly target: string;
  /** Number of slots, empty ones included. */
  readonly slots: number;
  /** The devices, by index. */
  readonly devices: readonly DeviceReport[];
  /** Slots whose device could not be driven, and why. */
  readonly errors: readonly { readonly slot: string; readonly message: string }[];
}

/** Describes a device as it stands. */
export function describeDevice(vireo: Vireo, device: VirtioDevice): DeviceReport {
  const names = device.driver?.featureNames ?? {};
  const list = (set: FeatureSet): string[] => [...set].map((bit) => featureName(bit, names));
  return {
    name: device.name,
    slot: device.transport.name,
    transport: device.transport.kind,
    id: device.deviceId,
    type: deviceName(device.deviceId),
    vendor: hex(device.vendorId),
    driver: device.driver?.name ?? null,
    status: statusText(device.transport.readStatus()),
    modalias: vireo.bus.attributes(device).modalias.trim(),
    offered: list(device.offered),
    negotiated: list(device.features),
    queues: device.queues.map((queue) => ({ name: queue.name, size: queue.size })),
  };
}

/** Describes every device of a board. */
export function describeBoard(vireo: Vireo): BoardReport {
  return {
    target: vireo.target,
    slots: vireo.platform.nodes().length,
    devices: vireo.bus.devices.map((device) => describeDevice(vireo, device)),
    errors: vireo.bus.slotErrors.map(({ slot, error }) => ({ slot, message: error.message })),
  };
}

/** Writes a board's report as text. */
export function boardText(report: BoardReport): string {
  const empty = report.slots - report.devices.length - report.errors.length;
  const lines = [`${report.target}: ${report.devices.length} devices, ${empty} empty slots`];
  for (const device of report.devices) {
    lines.push(
      `${device.name}  ${device.type} (id ${device.id}) at ${device.slot}, ${device.transport}, ` +
        `driver ${device.driver ?? "none"}`,
      `  status      ${device.status.replaceAll("|", " ")}`,
      `  offered     ${device.offered.join(" ") || "nothing"}`,
      `  negotiated  ${device.negotiated.join(" ") || "nothing"}`,
      `  queues      ${device.queues.map((q) => `${q.name}[${q.size}]`).join(" ") || "none"}`,
    );
  }
  for (const { slot, message } of report.errors) lines.push(`${slot}  ${message}`);
  return lines.join("\n");
}

/** `vireo probe`: lists the devices of a board. */
export async function probe(board: BoardOptions, flags: { json?: true }): Promise<void> {
  await using vireo = await openVireo(board);
  const report = describeBoard(vireo);
  console.log(flags.json ? JSON.stringify(report, null, 2) : boardText(report));
  if (report.errors.length > 0) throw new Error(`${report.errors.length} slots failed`);
}
