import { nameAndWords } from "../terminal/commas.ts";
import { parseCount, UsageError } from "../terminal/usage.ts";

/** A disk of the board. */
export interface BlkOption {
  /** The image file, or undefined for an empty 16 MiB memory disk. */
  readonly path: string | undefined;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /** Answer to GET_ID, at most 20 bytes. */
  readonly serial: string | undefined;
  /** Optimal block size in bytes. */
  readonly blockSize: number | undefined;
}

/** How the disks of a board are zoned (virtio 1.4 §5.2.6). */
export interface ZonesOption {
  /** Whether zones must be written in order, or should be. */
  readonly model: "host-managed" | "host-aware";
  /** Bytes of a zone, a multiple of 512; 1 MiB if undefined. */
  readonly zoneSize?: number | undefined;
  /** Bytes of a host-managed zone that hold data; all if undefined. */
  readonly capacity?: number | undefined;
  /** Conventional zones, from the first one on; none if undefined. */
  readonly conventional?: number | undefined;
  /** Most zones that are open at a time; any number if undefined. */
  readonly maxOpen?: number | undefined;
  /** Most zones that are open or closed at a time; any number if undefined. */
  readonly maxActive?: number | undefined;
}

/** The wire of the board's network device. */
export type NetOption =
  | { readonly kind: "hub" }
  | { readonly kind: "user" }
  | { readonly kind: "tap"; readonly name: string }
  | { readonly kind: "none" };

/** A bus that devices are on. */
export type TransportOption = "mmio" | "pci";

/** Words that may stand behind an image's name. */
const BLK_WORD = /^(?:ro$|serial=.|block-size=.)/;

/**
 * Parses `FILE[,ro][,serial=..][,block-size=..]`; a comma in the file's name is written twice, or as it is if a file
 * of that name is there.
 *
 * @throws {UsageError} If a part is unknown.
 *
 * @example
 * ```ts
 * import { parseBlk } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * const { path, readOnly } = parseBlk("disk.img,ro");
 * assertEquals([path, readOnly], ["disk.img", true]);
 * ```
 */
export function parseBlk(text: string): BlkOption {
  const { name: path, words } = nameAndWords(text, (part) => BLK_WORD.test(part));
  if (path === "") throw new UsageError(`--blk: expected FILE[,ro][,...], got '${text}'`);
  let readOnly = false;
  let serial: string | undefined;
  let blockSize: number | undefined;
  for (const part of words) {
    const [key, value] = part.split("=", 2);
    if (part === "ro") readOnly = true;
    else if (key === "serial" && value) serial = checkSerial(value);
    else if (key === "block-size" && value) blockSize = checkBlockSize(value);
    else {
      throw new UsageError(
        `--blk: expected ro, serial=TEXT or block-size=BYTES after the file, got '${part}'; ` +
          `a comma in the file's name is written twice`,
      );
    }
  }
  return { path, readOnly, serial, blockSize };
}

/**
 * Parses the disks of a board: `none`, or each as {@linkcode parseBlk}; one memory disk if none was named.
 *
 * @throws {UsageError} If one is wrong.
 *
 * @example
 * ```ts
 * import { parseBlks } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(parseBlks(["a.img,ro", "b.img"]).map(({ path }) => path), ["a.img", "b.img"]);
 * assertEquals([parseBlks().length, parseBlks(["none"]).length], [1, 0]);
 * ```
 */
export function parseBlks(texts: readonly string[] = []): BlkOption[] {
  if (texts.includes("none")) {
    if (texts.length > 1) throw new UsageError("--blk: 'none' stands alone");
    return [];
  }
  if (texts.length > 0) return texts.map(parseBlk);
  return [{ path: undefined, readOnly: false, serial: undefined, blockSize: undefined }];
}

/** The sizes and numbers of zones, by their words on the command line. */
const ZONE_WORDS = {
  "zone-size": ["zoneSize", 512],
  capacity: ["capacity", 512],
  conventional: ["conventional", 0],
  "max-open": ["maxOpen", 0],
  "max-active": ["maxActive", 0],
} as const;

/**
 * Parses `host-managed` or `host-aware`, with `[,zone-size=BYTES][,capacity=BYTES][,conventional=N][,max-open=N]
 * [,max-active=N]` behind it.
 *
 * @throws {UsageError} If a part is unknown, or a size is no multiple of 512.
 *
 * @example
 * ```ts
 * import { parseZones } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * const zones = parseZones("host-managed,zone-size=64K,max-open=4");
 * assertEquals(zones, { model: "host-managed", zoneSize: 65536, maxOpen: 4 });
 * ```
 */
export function parseZones(text: string): ZonesOption {
  const [model, ...words] = text.split(",");
  if (model !== "host-managed" && model !== "host-aware") {
    throw new UsageError(`--blk-zoned: expected host-managed or host-aware first, got '${model}'`);
  }
  const numbers: [string, number][] = words.map((word) => {
    const [name = "", value = ""] = word.split("=", 2);
    if (!Object.hasOwn(ZONE_WORDS, name)) {
      throw new UsageError(
        `--blk-zoned: expected ${Object.keys(ZONE_WORDS).join(", ")}, got '${word}'`,
      );
    }
    const [key, least] = ZONE_WORDS[name as keyof typeof ZONE_WORDS];
    const number = parseCount(value, `--blk-zoned ${name}`, least);
    if (least > 0 && number % least !== 0) {
      throw new UsageError(`--blk-zoned ${name}: expected a multiple of ${least}, got ${value}`);
    }
    return [key, number];
  });
  return { model, ...Object.fromEntries(numbers) };
}

/**
 * Parses `hub`, `user`, `tap:NAME` or `none`.
 *
 * @throws {UsageError} If it is something else.
 *
 * @example
 * ```ts
 * import { parseNet } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(parseNet("tap:vireo0"), { kind: "tap", name: "vireo0" });
 * ```
 */
export function parseNet(text: string): NetOption {
  if (text === "hub" || text === "user" || text === "none") return { kind: text };
  const name = /^tap:([^\s/]{1,15})$/.exec(text)?.[1];
  if (name === undefined) {
    throw new UsageError(`--net: expected hub, user, tap:NAME or none, got '${text}'`);
  }
  return { kind: "tap", name };
}

/**
 * Parses a queue size: a power of two from 1 to 32768.
 *
 * @throws {UsageError} If it is not.
 *
 * @example
 * ```ts
 * import { parseQueueSize } from "@vireo/firmware";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * assertEquals(parseQueueSize("256"), 256);
 * assertThrows(() => parseQueueSize("100"), Error, "expected a power of two");
 * ```
 */
export function parseQueueSize(text: string): number {
  const size = parseCount(text, "--queue-size", 1, 32768);
  if ((size & (size - 1)) !== 0) {
    throw new UsageError(`--queue-size: expected a power of two from 1 to 32768, got ${text}`);
  }
  return size;
}

function checkSerial(text: string): string {
  if (new TextEncoder().encode(text).length > 20) {
    throw new UsageError(`--blk: a serial has at most 20 bytes, got '${text}'`);
  }
  return text;
}

function checkBlockSize(text: string): number {
  const size = parseCount(text, "--blk block-size", 512, 65536);
  if ((size & (size - 1)) !== 0) {
    throw new UsageError(
      `--blk: expected a block size of 512 to 65536, a power of two, got ${text}`,
    );
  }
  return size;
}

/**
 * Takes the QEMU that was named.
 *
 * @throws {UsageError} If the name is empty.
 *
 * @example
 * ```ts
 * import { parseQemu } from "@vireo/firmware";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * assertEquals([parseQemu("/opt/qemu"), parseQemu()], ["/opt/qemu", undefined]);
 * assertThrows(() => parseQemu(""), Error, "expected a program's name or path");
 * ```
 */
export function parseQemu(text?: string): string | undefined {
  if (text === "") throw new UsageError("--qemu: expected a program's name or path, got ''");
  return text;
}
