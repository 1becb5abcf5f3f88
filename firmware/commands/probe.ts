import {
  deviceFeatureNames,
  deviceName,
  Feature,
  featureName,
  FeatureSet,
  hex,
  pciName,
  type PciNode,
  statusText,
  VireoError,
} from "@vireo/hal";
import { capabilityText, type PciDetails, type VirtioDevice } from "@vireo/drivers/core";
import type { Vireo } from "../vireo.ts";
import { openVireo } from "../session.ts";
import type { BoardOptions } from "../target/options.ts";

/** Report of `probe` about one device. */
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
  /** The ring and transport features among these, and those that the options ask for. */
  readonly rings: RingReport;
  /** How its interrupts come. */
  readonly interrupts: InterruptReport;
  /** Its PCI function, if it is one. */
  readonly pci: PciReport | null;
  /** Its queues, with sizes in descriptors. */
  readonly queues: readonly { readonly name: string; readonly size: number }[];
}

/** Names of ring and transport features. */
export interface RingReport {
  /** Features that the device offered. */
  readonly offered: readonly string[];
  /** Features that the options ask for. */
  readonly asked: readonly string[];
  /** Negotiated features. */
  readonly agreed: readonly string[];
}

/** How a device's interrupts come. */
export interface InterruptReport {
  /** Chosen way of interrupts, for example `msix-per-queue`; `none` before there are queues. */
  readonly policy: string;
  /** Why better ones could not be had. */
  readonly refused: readonly string[];
}

/** Report of `probe` about a virtio device on PCI. */
export interface PciReport {
  /** Its address as Linux writes it. */
  readonly address: string;
  /** Vendor and device id in hex, `1af4:1041`. */
  readonly ids: string;
  /** Revision id. */
  readonly revision: number;
  /** The base address registers that decode something, one line each. */
  readonly bars: readonly string[];
  /** The virtio capabilities, one line each. */
  readonly capabilities: readonly string[];
  /** Number of MSI-X vectors. */
  readonly vectors: number;
  /** Which interface is driven, `modern` or `legacy`. */
  readonly chosen: string;
  /** Why. */
  readonly why: string;
}

/** Report of `probe` about a PCI function, virtio or not. */
export interface FunctionReport {
  /** Its address as Linux writes it. */
  readonly name: string;
  /** Vendor and device id in hex, `1af4:1041`. */
  readonly ids: string;
  /** Name of the virtio device that it is, if one was made of it. */
  readonly device: string | null;
}

/** Report of `probe` about a board. */
export interface BoardReport {
  /** The target string. */
  readonly target: string;
  /** Number of slots, empty ones included. */
  readonly slots: number;
  /** The PCI functions, by address. */
  readonly functions: readonly FunctionReport[];
  /** The devices, by index. */
  readonly devices: readonly DeviceReport[];
  /** Slots whose device could not be driven, and why. */
  readonly errors: readonly { readonly slot: string; readonly message: string }[];
}

/** The features that rings and transports have to do with. */
const RING_FEATURES: FeatureSet = FeatureSet.of(
  Feature.INDIRECT_DESC,
  Feature.EVENT_IDX,
  Feature.VERSION_1,
  Feature.ACCESS_PLATFORM,
  Feature.RING_PACKED,
  Feature.IN_ORDER,
  Feature.NOTIFICATION_DATA,
  Feature.RING_RESET,
);

/** The ring and transport features that a board's options ask for. */
export function askedFeatures(board: BoardOptions): FeatureSet {
  const { legacy, indirect, eventIdx, packed, inOrder, notificationData, platformIommu } = board;
  const asked: [boolean, number][] = [
    [indirect, Feature.INDIRECT_DESC],
    [eventIdx, Feature.EVENT_IDX],
    [!legacy, Feature.VERSION_1],
    [platformIommu, Feature.ACCESS_PLATFORM],
    [packed, Feature.RING_PACKED],
    [inOrder, Feature.IN_ORDER],
    [notificationData, Feature.NOTIFICATION_DATA],
    [!legacy, Feature.RING_RESET],
  ];
  return FeatureSet.of(...asked.filter(([on]) => on).map(([, bit]) => bit));
}

/** Describes a device as it stands. */
export function describeDevice(
  vireo: Vireo,
  device: VirtioDevice,
  board: BoardOptions,
): DeviceReport {
  const names = { ...deviceFeatureNames(device.deviceId), ...device.driver?.featureNames };
  const list = (set: FeatureSet): string[] => [...set].map((bit) => featureName(bit, names));
  // The bus reads what a device offers when it has a driver for it.
  const unread = device.driver === undefined && device.offered.isEmpty;
  const offered = unread ? device.transport.readFeatures() : device.offered;
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
    offered: list(offered),
    negotiated: list(device.features),
    rings: {
      offered: list(offered.and(RING_FEATURES)),
      asked: list(askedFeatures(board)),
      agreed: list(device.features.and(RING_FEATURES)),
    },
    interrupts: {
      policy: device.transport.route?.policy ?? "none",
      refused: device.transport.route?.refused ?? [],
    },
    pci: device.transport.pci === undefined ? null : describePci(device.transport.pci),
    queues: device.queues.map((queue) => ({ name: queue.name, size: queue.size })),
  };
}

const hex4 = (value: number): string => value.toString(16).padStart(4, "0");

function describePci(details: PciDetails): PciReport {
  const { address, vendor, device, revision, bars, capabilities, vectors, chosen, why } = details;
  return {
    address: pciName(address),
    ids: `${hex4(vendor)}:${hex4(device)}`,
    revision,
    bars: bars.map(({ index, space, address, size }) =>
      `BAR${index} ${space} ${hex(address)}, ${hex(size)} bytes`
    ),
    capabilities: capabilities.map(capabilityText),
    vectors,
    chosen,
    why,
  };
}

/** Describes every device of a board. */
export function describeBoard(vireo: Vireo, board: BoardOptions): BoardReport {
  const nodes = vireo.platform.nodes();
  const functions = nodes.filter((node) => node.kind === "pci");
  return {
    target: vireo.target,
    slots: nodes.length - functions.length,
    functions: functions.map((node) => describeFunction(vireo, node)),
    devices: vireo.bus.devices.map((device) => describeDevice(vireo, device, board)),
    errors: vireo.bus.slotErrors.map(({ slot, error }) => ({ slot, message: error.message })),
  };
}

function describeFunction(vireo: Vireo, { name, vendor, device }: PciNode): FunctionReport {
  const found = vireo.bus.devices.find(({ transport }) => transport.name === name);
  return { name, ids: `${hex4(vendor)}:${hex4(device)}`, device: found?.name ?? null };
}

function pciLines(
  { ids, revision, bars, capabilities, vectors, chosen, why }: PciReport,
): string[] {
  const block = (title: string, lines: readonly string[]): string[] =>
    (lines.length > 0 ? lines : ["none"]).map((text, i) =>
      `  ${(i === 0 ? title : "").padEnd(11)} ${text}`
    );
  return [
    `  pci         ${ids} revision ${revision}, ${vectors} MSI-X vectors, ${chosen}: ${why}`,
    ...block("bars", bars),
    ...block("structures", capabilities),
  ];
}

/** Writes a board's report as text. */
export function boardText(report: BoardReport): string {
  const { slots, functions, devices, errors } = report;
  const onPci = functions.filter(({ device }) => device !== null).length;
  const failed = errors.filter(({ slot }) => functions.every(({ name }) => name !== slot)).length;
  const places = [
    ...(slots > 0 ? [`${slots - (devices.length - onPci) - failed} empty slots`] : []),
    ...(functions.length > 0 ? [`${functions.length} PCI functions`] : []),
  ];
  const lines = [[`${report.target}: ${devices.length} devices`, ...places].join(", ")];
  for (const device of report.devices) {
    lines.push(
      `${device.name}  ${device.type} (id ${device.id}) at ${device.slot}, ${device.transport}, ` +
        `driver ${device.driver ?? "none"}`,
      `  status      ${device.status.replaceAll("|", " ")}`,
      `  offered     ${device.offered.join(" ") || "nothing"}`,
      `  negotiated  ${device.negotiated.join(" ") || "nothing"}`,
      `  rings       offered ${device.rings.offered.join(" ") || "nothing"}`,
      `              asked   ${device.rings.asked.join(" ") || "nothing"}`,
      `              agreed  ${device.rings.agreed.join(" ") || "nothing"}`,
      `  queues      ${device.queues.map((q) => `${q.name}[${q.size}]`).join(" ") || "none"}`,
      `  interrupts  ${[device.interrupts.policy, ...device.interrupts.refused].join("; not ")}`,
      ...(device.pci === null ? [] : pciLines(device.pci)),
    );
  }
  for (const { name, ids, device } of functions) {
    lines.push(`${name}  PCI function ${ids}${device === null ? "" : `, ${device}`}`);
  }
  for (const { slot, message } of report.errors) lines.push(`${slot}  ${message}`);
  return lines.join("\n");
}

/** `vireo probe`: lists the devices of a board. */
export async function probe(board: BoardOptions, flags: { json?: true }): Promise<void> {
  await using vireo = await openVireo(board);
  const report = describeBoard(vireo, board);
  console.log(flags.json ? JSON.stringify(report, null, 2) : boardText(report));
  const { length } = report.errors;
  if (length === 0) return;
  throw new VireoError(
    "PROBE_FAILED",
    `The bus refused ${length} ${length === 1 ? "slot" : "slots"}`,
    {
      device: vireo.target,
    },
  );
}
