import { VireoError } from "@vireo/hal";
import type { MmioSlot } from "./slot.ts";

/** A device that the kernel command line names. */
export interface CommandLineSlot extends MmioSlot {
  /** Number of the platform device, `virtio-mmio.<id>`. */
  readonly id: number;
}

const NUMBER = "0[xX][0-9a-fA-F]+|\\d+";
const PARAMETER = new RegExp(`^(${NUMBER})([KMGTPEkmgtpe]?)@(${NUMBER}):(\\d+)(?::([+-]?\\d+))?$`);

/**
 * Finds the devices that `virtio_mmio.device=<size>@<base>:<irq>[:<id>]` names on a kernel command
 * line, as Linux's drivers/virtio/virtio_mmio.c reads it.
 *
 * Numbers are decimal, `0x` hex or `0` octal. The size may have a suffix K, M or G (and T, P, E, as in
 * Linux's `memparse`), the interrupt must be at least 1, and a missing id is the previous one plus 1.
 *
 * @param text The command line, for example the contents of `/proc/cmdline`.
 * @returns The devices in order; none if there is no such parameter.
 * @throws {VireoError} `CONFIG_INVALID` If a parameter is malformed.
 *
 * @example
 * ```ts
 * import { parseCommandLine } from "@vireo/hal/discover";
 * import { assertEquals } from "@std/assert";
 *
 * const [slot] = parseCommandLine("quiet virtio_mmio.device=4K@0x10001000:1");
 * assertEquals([slot!.base, slot!.size, slot!.irq, slot!.id], [0x1000_1000, 4096, 1, 0]);
 * ```
 */
export function parseCommandLine(text: string): CommandLineSlot[] {
  const slots: CommandLineSlot[] = [];
  for (const word of splitWords(text)) {
    // Linux treats `-` and `_` in a parameter's name as the same character.
    const match = /^virtio[-_]mmio\.device=(.*)$/.exec(word);
    if (match === null) continue;
    slots.push(parseDevice(match[1]!, (slots.at(-1)?.id ?? -1) + 1));
  }
  return slots;
}

function parseDevice(text: string, nextId: number): CommandLineSlot {
  const bad = (expected: string): VireoError =>
    new VireoError("CONFIG_INVALID", "Cannot parse a device on the kernel command line", {
      device: "virtio_mmio.device",
      seen: text,
      expected,
    });
  const match = PARAMETER.exec(text);
  if (match === null) throw bad("<size>[KMG]@<base>:<irq>[:<id>]");
  const [size, suffix, base, irq, id] = match.slice(1);
  const power = suffix === "" ? 0 : "kmgtpe".indexOf(suffix!.toLowerCase()) + 1;
  const slot = {
    size: parseNumber(size!) * 1024 ** power,
    base: parseNumber(base!),
    irq: parseNumber(irq!),
    id: id === undefined ? nextId : Number(id),
  };
  if (!(slot.irq >= 1 && slot.irq <= 0xffff_ffff)) throw bad("an interrupt of at least 1");
  if (!(slot.size >= 1) || !Number.isSafeInteger(slot.base + slot.size)) {
    throw bad("a window of at least 1 byte below 2^53");
  }
  if (!(Math.abs(slot.id) <= 0x7fff_ffff)) throw bad("an id of 32 bits");
  return slot;
}

/** As C's `strtoull` with base 0; NaN for an octal number with an 8 or 9. */
function parseNumber(text: string): number {
  if (!/^0\d/.test(text)) return Number(text);
  return /^[0-7]+$/.test(text) ? parseInt(text, 8) : NaN;
}

/** Splits at blanks outside double quotes and drops the quotes; ends at ` -- `, as Linux does. */
function splitWords(text: string): string[] {
  const words: string[] = text.match(/(?:[^\s"]|"[^"]*"?)+/g) ?? [];
  const end = words.indexOf("--");
  return (end === -1 ? words : words.slice(0, end)).map((word) => word.replaceAll('"', ""));
}
