import { parseIomem, readAcpi } from "./acpi.ts";
import { parseCommandLine } from "./command_line.ts";
import { readDeviceTree } from "./device_tree.ts";
import type { MmioSlot } from "./slot.ts";

/** Where to look; the defaults are the running system's. */
export interface DiscoverPaths {
  /** The device tree as files. */
  readonly deviceTree?: string;
  /** The ACPI devices in sysfs. */
  readonly acpi?: string;
  /** The kernel's list of physical ranges. */
  readonly iomem?: string;
  /** The kernel command line. */
  readonly commandLine?: string;
}

/**
 * Finds the virtio-mmio slots of this system: those of the device tree, of ACPI and of the kernel
 * command line, in this order, each window once. A slot may be empty; its DeviceID register says so.
 *
 * @param paths Where to look.
 * @throws {VireoError} `CONFIG_INVALID` If a source is malformed.
 *
 * @example
 * ```ts
 * import { discover } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * const root = await Deno.makeTempDir();
 * const commandLine = `${root}/cmdline`;
 * await Deno.writeTextFile(commandLine, "quiet virtio_mmio.device=512@0xa000000:47\n");
 * const paths = { deviceTree: `${root}/tree`, acpi: root, iomem: commandLine, commandLine };
 * assertEquals(discover(paths).map(({ base }) => base), [0xa000000]);
 * await Deno.remove(root, { recursive: true });
 * ```
 */
export function discover(paths: DiscoverPaths = {}): MmioSlot[] {
  const acpi = readAcpi(paths.acpi);
  const found = [
    ...readDeviceTree(paths.deviceTree),
    ...acpi,
    ...parseIomem(readText(paths.iomem ?? "/proc/iomem")),
    ...parseCommandLine(readText(paths.commandLine ?? "/proc/cmdline")),
  ];
  const slots = new Map<number, MmioSlot>();
  for (const { base, size, irq } of found) {
    if (!slots.has(base)) slots.set(base, { base, size, irq });
  }
  return [...slots.values()];
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
