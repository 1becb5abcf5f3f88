import { parseCount, UsageError } from "../terminal/usage.ts";

/** A disk of the board. */
export interface BlkOption {
  /** The image file, or undefined for an empty 16 MiB memory disk. */
  readonly path: string | undefined;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /** What GET_ID answers, at most 20 bytes. */
  readonly serial: string | undefined;
  /** Optimal block size in bytes. */
  readonly blockSize: number | undefined;
}

/** The wire of the board's network device. */
export type NetOption =
  | { readonly kind: "hub" }
  | { readonly kind: "user" }
  | { readonly kind: "tap"; readonly name: string }
  | { readonly kind: "none" };

/** A bus that devices are on. */
export type TransportOption = "mmio" | "pci";

/** A device that was asked for. */
export interface WithOption {
  /** The name of a `BoardDevice`. */
  readonly name: string;
  /** What followed `NAME=`. */
  readonly value: string | undefined;
}

/** What a board is made of; every command that takes `--target` takes these. */
export interface BoardOptions {
  /** The target string, for example `emu`. */
  readonly target: string;
  /** The disks; one memory disk if none was named. */
  readonly blk: readonly BlkOption[];
  /** The wire; by default the target's own: `hub` on the emulator, `user` on QEMU. */
  readonly net: NetOption | undefined;
  /** Whether devices have the version 1 (legacy) register interface. */
  readonly legacy: boolean;
  /** Whether devices on PCI have both the legacy and the modern interface. */
  readonly transitional: boolean;
  /** Whether drivers try the legacy interface of a PCI function first, as Linux's `force_legacy`. */
  readonly forceLegacy: boolean;
  /** The bus that the emulator's devices are on; virtio-mmio if it is not said. */
  readonly transport: TransportOption | undefined;
  /** Whether devices offer RING_PACKED. */
  readonly packed: boolean;
  /** Whether devices offer IN_ORDER. */
  readonly inOrder: boolean;
  /** Whether devices offer NOTIFICATION_DATA. */
  readonly notificationData: boolean;
  /** Whether devices offer ACCESS_PLATFORM. */
  readonly platformIommu: boolean;
  /** An upper bound for every queue's size. */
  readonly queueSize: number | undefined;
  /** Whether INDIRECT_DESC may be negotiated. */
  readonly indirect: boolean;
  /** Whether EVENT_IDX may be negotiated. */
  readonly eventIdx: boolean;
  /** The QEMU to run instead of the board's, on targets that run one. */
  readonly qemu: string | undefined;
  /** More arguments for QEMU. */
  readonly qemuArgs: readonly string[];
  /** The devices that the board has besides disks, wire, console and entropy. */
  readonly with: readonly WithOption[];
  /** More `-device` arguments for QEMU. */
  readonly devices: readonly string[];
  /** Register windows as `BASE,SIZE,COUNT` instead of those that Linux tells of; for `devmem`. */
  readonly mmio: string | undefined;
  /** Whether PCI functions are taken from the Linux drivers that have them; for `devmem`. */
  readonly unbind: boolean;
  /** Whether interrupts are polled for even where they are to be had; in guests and for `devmem`. */
  readonly poll: boolean;
  /** How a guest is booted, on `qemu:BOARD`. */
  readonly boot: GuestOptions;
}

/** How QEMU boots a guest. */
export interface GuestOptions {
  /** Another kernel than the image's. */
  readonly kernel?: string | undefined;
  /** `tcg`, or `kvm` where the host's processor is the board's. */
  readonly accel?: "tcg" | "kvm";
  /** Memory in MiB. */
  readonly memory?: number;
  /** Processors. */
  readonly smp?: number;
}

/** A board without any option. */
export const DEFAULT_BOARD: BoardOptions = {
  target: "emu",
  blk: [{ path: undefined, readOnly: false, serial: undefined, blockSize: undefined }],
  net: undefined,
  legacy: false,
  transitional: false,
  forceLegacy: false,
  transport: undefined,
  packed: false,
  inOrder: false,
  notificationData: false,
  platformIommu: false,
  queueSize: undefined,
  indirect: true,
  eventIdx: true,
  qemu: undefined,
  qemuArgs: [],
  with: [],
  devices: [],
  mmio: undefined,
  unbind: false,
  poll: false,
  boot: {},
};

/**
 * Checks that interfaces, ring features and bus go together, and that the board has the bus.
 *
 * @param bus The bus that the target has its devices on; undefined if it is as the machine is.
 * @throws {UsageError} If they do not.
 */
export function checkTransport(options: BoardOptions, bus: TransportOption | undefined): void {
  const { target, transport, legacy, transitional, forceLegacy } = options;
  if (transport !== undefined && bus !== undefined && transport !== bus) {
    throw new UsageError(`--transport: ${target} has its devices on ${bus}, not on ${transport}`);
  }
  if (bus === "mmio") {
    if (transitional) throw new UsageError("--transitional: for devices on PCI");
    if (forceLegacy) throw new UsageError("--force-legacy: for devices on PCI");
  }
  if (legacy && transitional) throw new UsageError("--transitional: not with --legacy");
  const bits = [
    [options.packed, "--packed"],
    [options.inOrder, "--in-order"],
    [options.notificationData, "--notification-data"],
    [options.platformIommu, "--platform-iommu"],
  ] as const;
  for (const [on, flag] of bits) {
    if (on && legacy) throw new UsageError(`${flag}: legacy devices do not have it`);
  }
  // QEMU refuses it: the legacy interface cannot tell of it, and drivers of it would not ask.
  if (options.platformIommu && transitional) {
    throw new UsageError("--platform-iommu: transitional devices do not have it");
  }
}

/**
 * Parses `FILE[,ro][,serial=..][,block-size=..]`; a comma in the file name is written twice.
 *
 * @throws {UsageError} If a part is unknown.
 */
export function parseBlk(text: string): BlkOption {
  const [path = "", ...parts] = splitCommas(text);
  if (path === "") throw new UsageError(`--blk: expected FILE[,ro][,...], got '${text}'`);
  let readOnly = false;
  let serial: string | undefined;
  let blockSize: number | undefined;
  for (const part of parts) {
    const [key, value] = part.split("=", 2);
    if (part === "ro") readOnly = true;
    else if (key === "serial" && value) serial = checkSerial(value);
    else if (key === "block-size" && value) blockSize = checkBlockSize(value);
    else {
      throw new UsageError(
        `--blk: expected ro, serial=TEXT or block-size=BYTES after the file, got '${part}'`,
      );
    }
  }
  return { path, readOnly, serial, blockSize };
}

/**
 * Parses `hub`, `user`, `tap:NAME` or `none`.
 *
 * @throws {UsageError} If it is something else.
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

/** Splits at single commas; a double comma is a comma, as on QEMU's command line. */
function splitCommas(text: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ",") part += text[i];
    else if (text[i + 1] === ",") part += text[++i];
    else {
      parts.push(part);
      part = "";
    }
  }
  return [...parts, part];
}
