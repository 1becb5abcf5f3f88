import { VireoError } from "@vireo/hal";
import type { MmioSlot } from "./slot.ts";

/** The greatest depth below the root at which to look; real trees have virtio-mmio at 1 or 2. */
const MAX_DEPTH = 4;

/**
 * Finds the slots that a device tree names: nodes whose `compatible` has `virtio,mmio`.
 *
 * @param root The tree as files, `/proc/device-tree` by default.
 * @returns The slots by rising address; none if there is no device tree.
 * @throws {VireoError} `CONFIG_INVALID` If a node has no usable `reg`.
 *
 * @example
 * ```ts
 * import { readDeviceTree } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * // A machine without a device tree has no slots in it.
 * assertEquals(readDeviceTree("/nonexistent"), []);
 * ```
 */
export function readDeviceTree(root = "/proc/device-tree"): MmioSlot[] {
  const slots: MmioSlot[] = [];
  walk(root, { address: 2, size: 1 }, 0, slots);
  return slots.sort((a, b) => a.base - b.base);
}

/** The number of 32-bit cells in the address and in the size of a node's children. */
interface Cells {
  readonly address: number;
  readonly size: number;
}

function walk(path: string, cells: Cells, depth: number, slots: MmioSlot[]): void {
  let names: string[];
  try {
    names = [...Deno.readDirSync(path)].filter((e) => e.isDirectory).map((e) => e.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  const own = {
    address: readCells(`${path}/#address-cells`)?.[0] ?? cells.address,
    size: readCells(`${path}/#size-cells`)?.[0] ?? cells.size,
  };
  for (const name of names) {
    const child = `${path}/${name}`;
    if (isVirtio(child)) slots.push(readSlot(child, own));
    else if (depth + 1 < MAX_DEPTH) walk(child, own, depth + 1, slots);
  }
}

function isVirtio(path: string): boolean {
  const list = new TextDecoder().decode(readFile(`${path}/compatible`) ?? new Uint8Array());
  if (!list.split("\0").includes("virtio,mmio")) return false;
  const status = new TextDecoder().decode(readFile(`${path}/status`) ?? new Uint8Array());
  return status === "" || status === "okay\0" || status === "ok\0";
}

function readSlot(path: string, cells: Cells): MmioSlot {
  const reg = readCells(`${path}/reg`) ?? [];
  const base = join(reg.slice(0, cells.address));
  const size = join(reg.slice(cells.address, cells.address + cells.size));
  if (reg.length < cells.address + cells.size || !(size >= 1) || !Number.isSafeInteger(base)) {
    throw new VireoError("CONFIG_INVALID", "Cannot use 'reg' of a device tree node", {
      device: path,
      seen: reg.map((cell) => `0x${cell.toString(16)}`).join(" ") || "nothing",
      expected: `${cells.address} cells of address and ${cells.size} of size`,
    });
  }
  return { base, size, irq: interrupt(readCells(`${path}/interrupts`) ?? []) };
}

/** A GIC's three cells are type, number and flags, and SPI n is line n + 32; elsewhere the line is first. */
function interrupt(cells: readonly number[]): number | undefined {
  return cells.length === 3 && cells[0] === 0 ? cells[1]! + 32 : cells[0];
}

function join(cells: readonly number[]): number {
  return cells.reduce((value, cell) => value * 0x1_0000_0000 + cell, 0);
}

function readCells(path: string): number[] | undefined {
  const bytes = readFile(path);
  if (bytes === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length >>> 2 }, (_, i) => view.getUint32(i * 4, false));
}

function readFile(path: string): Uint8Array | undefined {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
