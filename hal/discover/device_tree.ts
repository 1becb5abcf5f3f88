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
  const tree = list(root);
  if (tree !== undefined) walk(tree, { address: 2, size: 1 }, 0, slots);
  return slots.sort((a, b) => a.base - b.base);
}

/** The number of 32-bit cells in the address and in the size of a node's children. */
interface Cells {
  readonly address: number;
  readonly size: number;
}

/** A node: a folder with a file for each property. A list says which there are; to look for each would take longer. */
interface TreeNode {
  readonly path: string;
  readonly properties: ReadonlySet<string>;
  readonly children: readonly string[];
}

function list(path: string): TreeNode | undefined {
  const properties = new Set<string>();
  const children: string[] = [];
  try {
    for (const { name, isDirectory } of Deno.readDirSync(path)) {
      if (isDirectory) children.push(name);
      else properties.add(name);
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  return { path, properties, children };
}

function walk(node: TreeNode, cells: Cells, depth: number, slots: MmioSlot[]): void {
  const own = {
    address: readCells(node, "#address-cells")?.[0] ?? cells.address,
    size: readCells(node, "#size-cells")?.[0] ?? cells.size,
  };
  for (const name of node.children) {
    const child = list(`${node.path}/${name}`);
    if (child === undefined) continue;
    if (isVirtio(child)) slots.push(readSlot(child, own));
    else if (depth + 1 < MAX_DEPTH) walk(child, own, depth + 1, slots);
  }
}

function isVirtio(node: TreeNode): boolean {
  if (!readText(node, "compatible").split("\0").includes("virtio,mmio")) return false;
  const status = readText(node, "status");
  return status === "" || status === "okay\0" || status === "ok\0";
}

function readSlot(node: TreeNode, cells: Cells): MmioSlot {
  const reg = readCells(node, "reg") ?? [];
  const base = join(reg.slice(0, cells.address));
  const size = join(reg.slice(cells.address, cells.address + cells.size));
  if (reg.length < cells.address + cells.size || !(size >= 1) || !Number.isSafeInteger(base)) {
    throw new VireoError("CONFIG_INVALID", "Cannot use 'reg' of a device tree node", {
      device: node.path,
      seen: reg.map((cell) => `0x${cell.toString(16)}`).join(" ") || "nothing",
      expected: `${cells.address} cells of address and ${cells.size} of size`,
    });
  }
  return { base, size, irq: interrupt(readCells(node, "interrupts") ?? []) };
}

/** A GIC's three cells are type, number and flags, and SPI n is line n + 32; elsewhere the line is first. */
function interrupt(cells: readonly number[]): number | undefined {
  return cells.length === 3 && cells[0] === 0 ? cells[1]! + 32 : cells[0];
}

function join(cells: readonly number[]): number {
  return cells.reduce((value, cell) => value * 0x1_0000_0000 + cell, 0);
}

function readCells(node: TreeNode, name: string): number[] | undefined {
  const bytes = read(node, name);
  if (bytes === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length >>> 2 }, (_, i) => view.getUint32(i * 4, false));
}

/** A property as text, with its zero bytes; empty if the node does not have it. */
function readText(node: TreeNode, name: string): string {
  return new TextDecoder().decode(read(node, name));
}

function read({ path, properties }: TreeNode, name: string): Uint8Array<ArrayBuffer> | undefined {
  return properties.has(name) ? Deno.readFileSync(`${path}/${name}`) : undefined;
}
