import type { MmioSlot } from "./slot.ts";

/** The ACPI hardware id of a virtio-mmio slot. */
const HARDWARE_ID = "LNRO0005";

/**
 * Finds the slots that ACPI declares, by the resources that Linux lists as `LNRO0005:NN`.
 *
 * Only root sees the addresses; for other users every range reads 0, and this reports none.
 *
 * @param text The contents of `/proc/iomem`.
 * @returns The slots by rising address.
 *
 * @example
 * ```ts
 * import { parseIomem } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * const [slot] = parseIomem("feb00000-feb001ff : LNRO0005:00\n");
 * assertEquals([slot!.base, slot!.size], [0xfeb0_0000, 0x200]);
 * ```
 */
export function parseIomem(text: string): MmioSlot[] {
  const slots: MmioSlot[] = [];
  for (const line of text.split("\n")) {
    const match = /^\s*([0-9a-f]+)-([0-9a-f]+) : LNRO0005:[0-9a-f]+(?:\s.*)?$/.exec(line);
    if (match === null) continue;
    const base = parseInt(match[1]!, 16);
    const size = parseInt(match[2]!, 16) - base + 1;
    // Linux lists a claimed window twice: for the device, and inside it for the driver.
    if (base !== 0 && !slots.some((slot) => slot.base === base)) {
      slots.push({ base, size, irq: undefined });
    }
  }
  return slots.sort((a, b) => a.base - b.base);
}

/**
 * Finds the slots that ACPI declares, by the resources of the platform devices in sysfs.
 *
 * @param root The devices, `/sys/bus/acpi/devices` by default.
 * @returns The slots by rising address; none if the kernel has no ACPI or lists no resources.
 *
 * @example
 * ```ts
 * import { readAcpi } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * const root = await Deno.makeTempDir();
 * assertEquals(readAcpi(root), []);
 * await Deno.remove(root);
 * ```
 */
export function readAcpi(root = "/sys/bus/acpi/devices"): MmioSlot[] {
  const slots: MmioSlot[] = [];
  let names: string[] = [];
  try {
    names = [...Deno.readDirSync(root)].map((entry) => entry.name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  for (const name of names) {
    if (!name.startsWith(`${HARDWARE_ID}:`)) continue;
    for (const file of ["physical_node/resources", "resources"]) {
      const slot = parseResources(readText(`${root}/${name}/${file}`));
      if (slot === undefined) continue;
      slots.push(slot);
      break;
    }
  }
  return slots.sort((a, b) => a.base - b.base);
}

/** Reads `mem 0x..-0x..` and `irq N` lines, as Linux's PNP layer writes them. */
function parseResources(text: string): MmioSlot | undefined {
  const memory = /^mem (0x[0-9a-f]+)-(0x[0-9a-f]+)/m.exec(text);
  if (memory === null) return undefined;
  const base = Number(memory[1]);
  const irq = /^irq (\d+)/m.exec(text);
  return {
    base,
    size: Number(memory[2]) - base + 1,
    irq: irq === null ? undefined : Number(irq[1]),
  };
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return "";
    }
    throw error;
  }
}
