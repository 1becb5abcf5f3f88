/** Interface and ring properties that all virtio devices of a QEMU machine share. */
export interface DeviceInterfaces {
  /**
   * Whether devices have the legacy interface only: version 1 of the registers of slots, and on PCI
   * no capabilities. False by default: the modern interface.
   */
  readonly legacy?: boolean;
  /** Whether devices on PCI have both interfaces. */
  readonly transitional?: boolean;
  /** Whether devices offer RING_PACKED. */
  readonly packed?: boolean;
  /** Whether devices offer ACCESS_PLATFORM. */
  readonly platformIommu?: boolean;
}

/** A property of a device, as a switch or as text. */
type Properties = Readonly<Record<string, boolean | string>>;

/** A virtio device, whatever it is plugged into; and the ones that are plugged into PCI. */
const VIRTIO_DEVICE = /^(?:virtio|vhost|vhost-user)-[\w-]+-(?:device|pci)$|^virtio-vga(?:-gl)?$/;
const PCI_DEVICE = /-pci$|^virtio-vga/;
/** Devices on PCI that have the modern interface only, and so no properties to choose by. */
const MODERN_ONLY = /^vhost-user-(?:rng|input|fs|gpio|i2c|snd)-pci$/;

/**
 * Says in QEMU's words which interfaces and ring features the virtio devices of a command line have.
 *
 * Each `-device` gets the properties itself, because QEMU 10 refuses `-global` on an abstract type such as
 * `virtio-pci` if one derived type lacks the property. Properties that the command line already sets stay.
 * A device that `device_add` plugs in later has QEMU's defaults.
 *
 * @param args The command line; `-device` takes QEMU's text or JSON form.
 * @returns The command line with the properties, and with the option for the slots of virtio-mmio.
 *
 * @example
 * ```ts
 * import { interfaceArgs } from "@vireo/hal/qtest";
 * import { assertEquals } from "@std/assert";
 *
 * const args = interfaceArgs({ packed: true }, ["-device", "virtio-rng-device"]);
 * assertEquals(args.at(-1), "virtio-rng-device,packed=on");
 * ```
 */
export function interfaceArgs(options: DeviceInterfaces, args: readonly string[]): string[] {
  return [
    ...["-global", `virtio-mmio.force-legacy=${options.legacy ? "on" : "off"}`],
    ...args.map((text, i) => args[i - 1] === "-device" ? describe(text, options) : text),
  ];
}

function describe(text: string, options: DeviceInterfaces): string {
  if (text.startsWith("{")) return describeJson(text, options);
  const driver = text.replace(/,.*/s, "");
  const added = Object.entries(properties(driver, options))
    .filter(([name]) => !text.includes(`,${name}=`))
    .map(([name, value]) => `,${name}=${value === true ? "on" : value === false ? "off" : value}`);
  return driver + added.join("") + text.slice(driver.length);
}

/** QEMU's JSON form of `-device`; QEMU itself refuses text that is not an object. */
function describeJson(text: string, options: DeviceInterfaces): string {
  let device: { readonly driver?: unknown };
  try {
    device = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return text;
  }
  const { driver } = device;
  if (typeof driver !== "string") return text;
  const added: Record<string, boolean | string> = { ...properties(driver, options) };
  // QEMU wants this property as "on", "off" or "auto".
  if ("disable-legacy" in added) added["disable-legacy"] = added["disable-legacy"] ? "on" : "off";
  return JSON.stringify({ ...added, ...device });
}

function properties(driver: string, options: DeviceInterfaces): Properties {
  if (!VIRTIO_DEVICE.test(driver)) return {};
  const { legacy = false, transitional = false, packed = false, platformIommu = false } = options;
  return {
    ...(PCI_DEVICE.test(driver) && !MODERN_ONLY.test(driver) &&
      { "disable-legacy": !legacy && !transitional, "disable-modern": legacy }),
    // Vireo never boots from the network, and some hosts lack the ROM file.
    ...(driver === "virtio-net-pci" && { romfile: "" }),
    ...(packed && { packed }),
    ...(platformIommu && { "iommu_platform": true }),
  };
}
