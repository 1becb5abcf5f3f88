import { TRACE_GROUPS, type TraceGroup } from "@vireo/hal/trace";
import { parseWith, withSyntax } from "../devices/table.ts";
import type { WithOption } from "../devices/board_device.ts";
import { parseServed, refuseServed, SERVED_NAMES } from "../serve/front_ends.ts";
import { NO_HUB, parseCount, UsageError } from "../terminal/usage.ts";
import {
  type BlkOption,
  type NetOption,
  parseBlks,
  parseNet,
  parseQemu,
  parseQueueSize,
  parseZones,
  type TransportOption,
  type ZonesOption,
} from "./option_values.ts";

/** Where devices are, without the board. */
export type TargetKind = "emu" | "devmem" | "qtest" | "qemu" | "vhost-user" | "replay";

/** Interfaces of the virtio devices: they decide, besides the target, which options are possible. */
export interface Interfaces {
  /** The target string. */
  readonly target: string;
  /** The bus that the target has its devices on; undefined if it is as the machine is. */
  readonly bus: TransportOption | undefined;
  /** Whether devices have the legacy interface only. */
  readonly legacy: boolean;
  /** Whether devices have both interfaces. */
  readonly transitional: boolean;
}

/** An option of a board: all that is known of it. */
export interface BoardOption {
  /** In commander's syntax; the flag's name in camel case is what the parser calls it. */
  readonly flag: string;
  /** A line for the help. */
  readonly summary: string | (() => string);
  /** Under which heading the help shows it. */
  readonly group: string;
  /** Values that it may have; any value if undefined. */
  readonly choices?: readonly string[];
  /** The text that stands for it where none is given; the help shows it. */
  readonly value?: string;
  /** Whether it may be given several times; its values are an array then. */
  readonly repeated?: true;
  /** The kinds of target that it is for; all of them if that is not said. */
  readonly targets?: readonly TargetKind[];
  /**
   * Makes of it what is in {@linkcode BoardOptions}.
   *
   * @param given What the user gave: text, texts if it may be repeated, a boolean if it is a switch;
   * undefined for what a board without the option has.
   * @throws {UsageError} If the value is wrong.
   */
  parse(given: never): unknown;
  /** Says why it cannot be with the board's other options; undefined if it can. */
  refuse?(given: never, interfaces: Interfaces): string | undefined;
}

/** Why a ring feature cannot be with the legacy interface. */
const NEVER_LEGACY = "legacy devices do not have it";
/** Why an interface cannot be on virtio-mmio. */
const ONLY_PCI = "for devices on PCI";
/** Smallest memory in MiB in which the guest's Linux and Deno fit. */
export const LEAST_MEMORY = 256;

/**
 * The options of a board, one row each: `vireo --help`, the command line's parser, its refusals, the type
 * {@linkcode BoardOptions} and the {@linkcode DEFAULT_BOARD} come from here.
 */
export const BOARD_OPTIONS = {
  /** The target string, for example `emu`. */
  target: {
    flag: "--target <target>",
    summary: "emu, devmem, qtest:BOARD, qemu:BOARD (see boards) or vhost-user:NAME=SOCKET,...",
    group: "Board options:",
    value: "emu",
    parse: (text: string): string => text,
  },
  /** The disks; one memory disk if none was named. */
  blk: {
    flag: "--blk <disk>",
    summary: "a disk: FILE[,ro][,serial=TEXT][,block-size=BYTES], or none; may be repeated",
    group: "Board options:",
    repeated: true,
    parse: (texts?: readonly string[]): readonly BlkOption[] => parseBlks(texts),
  },
  /** The zones of the emulator's disks; they have none by default. */
  blkZoned: {
    flag: "--blk-zoned <zones>",
    // A sum of texts has no type that can be declared without inference.
    summary:
      "emu: disks have zones: host-managed or host-aware[,zone-size=BYTES][,capacity=BYTES][,conventional=N][,max-open=N][,max-active=N]",
    group: "Board options:",
    targets: ["emu"],
    parse: (text?: string): ZonesOption | undefined => text === undefined ? text : parseZones(text),
  },
  /** The wire; by default the target's own: `hub` on the emulator, `user` on QEMU. */
  net: {
    flag: "--net <wire>",
    summary: "the network: hub (emu), user (QEMU), tap:NAME or none",
    group: "Board options:",
    parse: (text?: string): NetOption | undefined => text === undefined ? text : parseNet(text),
    refuse: (text: string, { target }: Interfaces): string | undefined =>
      text === "hub" && /^q(?:test|emu):/.test(target) ? NO_HUB : undefined,
  },
  /** The devices that the board has besides disks, wire, console and entropy. */
  with: {
    flag: "--with <device>",
    summary: (): string => `one more device: ${withSyntax()}; may be repeated`,
    group: "Board options:",
    targets: ["emu", "qtest", "qemu"],
    repeated: true,
    parse: (texts?: readonly string[]): readonly WithOption[] => (texts ?? []).map(parseWith),
  },
  /** The devices of a QEMU board that this program serves, in place of QEMU's own. */
  served: {
    flag: "--served <device>",
    summary: (): string =>
      `QEMU has this device from Vireo by vhost-user: ${SERVED_NAMES.join(", ")}; may be repeated`,
    group: "Board options:",
    targets: ["qtest", "qemu"],
    repeated: true,
    parse: (names?: readonly string[]): readonly string[] => (names ?? []).map(parseServed),
    refuse: (
      names: readonly string[],
      { bus, legacy, transitional }: Interfaces,
    ): string | undefined =>
      legacy || transitional
        ? "served devices have the modern interface only"
        : refuseServed(names, bus),
  },
  /** The bus that the emulator's devices are on; virtio-mmio if it is not said. */
  transport: {
    flag: "--transport <bus>",
    summary: "emu: the bus that devices are on",
    group: "Board options:",
    targets: ["emu", "qtest", "qemu"],
    choices: ["mmio", "pci"],
    parse: (bus?: TransportOption): TransportOption | undefined => bus,
    refuse: (given: TransportOption, { target, bus }: Interfaces): string | undefined =>
      bus === undefined || bus === given
        ? undefined
        : `${target} has its devices on ${bus}, not on ${given}`,
  },
  /** Whether devices have the version 1 (legacy) register interface. */
  legacy: {
    flag: "--legacy",
    summary: "devices have the legacy interface only (virtio-mmio: version 1)",
    group: "Interfaces and rings:",
    parse: (on?: true): boolean => on === true,
  },
  /** Whether devices on PCI have both the legacy and the modern interface. */
  transitional: {
    flag: "--transitional",
    summary: "devices on PCI have both the legacy and the modern interface",
    group: "Interfaces and rings:",
    targets: ["emu", "qtest", "qemu"],
    parse: (on?: true): boolean => on === true,
    refuse: (_: true, { bus, legacy }: Interfaces): string | undefined =>
      bus === "mmio" ? ONLY_PCI : legacy ? "not with --legacy" : undefined,
  },
  /** Whether drivers try the legacy interface of a PCI function first, as Linux's `force_legacy`. */
  forceLegacy: {
    flag: "--force-legacy",
    summary: "try the legacy interface of devices on PCI first",
    group: "Interfaces and rings:",
    parse: (on?: true): boolean => on === true,
    refuse: (_: true, { bus }: Interfaces): string | undefined =>
      bus === "mmio" ? ONLY_PCI : undefined,
  },
  /** Whether devices offer RING_PACKED. */
  packed: {
    flag: "--packed",
    summary: "devices offer RING_PACKED",
    group: "Interfaces and rings:",
    targets: ["emu", "qtest", "qemu"],
    parse: (on?: true): boolean => on === true,
    refuse: (_: true, { legacy }: Interfaces): string | undefined =>
      legacy ? NEVER_LEGACY : undefined,
  },
  /** Whether devices offer IN_ORDER; no device of QEMU 7.2 does. */
  inOrder: {
    flag: "--in-order",
    summary: "emu: devices offer IN_ORDER",
    group: "Interfaces and rings:",
    targets: ["emu"],
    parse: (on?: true): boolean => on === true,
    refuse: (_: true, { legacy }: Interfaces): string | undefined =>
      legacy ? NEVER_LEGACY : undefined,
  },
  /** Whether devices offer NOTIFICATION_DATA; no device of QEMU 7.2 does. */
  notificationData: {
    flag: "--notification-data",
    summary: "emu: devices offer NOTIFICATION_DATA",
    group: "Interfaces and rings:",
    targets: ["emu"],
    parse: (on?: true): boolean => on === true,
    refuse: (_: true, { legacy }: Interfaces): string | undefined =>
      legacy ? NEVER_LEGACY : undefined,
  },
  /** Whether devices offer ACCESS_PLATFORM. */
  platformIommu: {
    flag: "--platform-iommu",
    summary: "devices offer ACCESS_PLATFORM",
    group: "Interfaces and rings:",
    targets: ["emu", "qtest", "qemu"],
    parse: (on?: true): boolean => on === true,
    // QEMU refuses it: the legacy interface cannot report it, and its drivers would not ask.
    refuse: (_: true, { legacy, transitional }: Interfaces): string | undefined =>
      legacy ? NEVER_LEGACY : transitional ? "transitional devices do not have it" : undefined,
  },
  /** An upper bound for every queue's size. */
  queueSize: {
    flag: "--queue-size <n>",
    summary: "largest queue size, a power of two",
    group: "Interfaces and rings:",
    parse: (text?: string): number | undefined => text === undefined ? text : parseQueueSize(text),
  },
  /** Whether INDIRECT_DESC may be negotiated. */
  indirect: {
    flag: "--no-indirect",
    summary: "do not negotiate INDIRECT_DESC",
    group: "Interfaces and rings:",
    parse: (on?: boolean): boolean => on !== false,
  },
  /** Whether EVENT_IDX may be negotiated. */
  eventIdx: {
    flag: "--no-event-idx",
    summary: "do not negotiate EVENT_IDX",
    group: "Interfaces and rings:",
    parse: (on?: boolean): boolean => on !== false,
  },
  /** The QEMU to run instead of the board's, on targets that run one. */
  qemu: {
    flag: "--qemu <path>",
    summary: "another QEMU than the board's",
    group: "QEMU:",
    targets: ["qtest", "qemu"],
    parse: (text?: string): string | undefined => parseQemu(text),
  },
  /** More arguments for QEMU. */
  qemuArgs: {
    flag: "--qemu-arg <arg>",
    summary: "one more argument for QEMU; may be repeated",
    group: "QEMU:",
    targets: ["qtest", "qemu"],
    repeated: true,
    parse: (texts?: readonly string[]): readonly string[] => texts ?? [],
  },
  /** More `-device` arguments for QEMU. */
  devices: {
    flag: "--device <device>",
    summary: "one more -device for QEMU; may be repeated",
    group: "QEMU:",
    targets: ["qtest", "qemu"],
    repeated: true,
    parse: (texts?: readonly string[]): readonly string[] => texts ?? [],
  },
  /** Another kernel than the guest image's. */
  kernel: {
    flag: "--kernel <file>",
    summary: "qemu: another kernel than the image's",
    group: "QEMU:",
    targets: ["qemu"],
    parse: (text?: string): string | undefined => text,
  },
  /** `tcg`, or `kvm` where the host's processor is the board's. */
  accel: {
    flag: "--accel <accel>",
    summary: "qemu: how the processor runs",
    group: "QEMU:",
    targets: ["qemu"],
    choices: ["tcg", "kvm"],
    parse: (accel?: "tcg" | "kvm"): "tcg" | "kvm" | undefined => accel,
  },
  /** The guest's memory in MiB. */
  memory: {
    flag: "--memory <MiB>",
    summary: "qemu: the guest's memory",
    group: "QEMU:",
    targets: ["qemu"],
    parse: (text?: string): number | undefined =>
      text === undefined ? text : parseCount(text, "--memory", LEAST_MEMORY, 65536),
  },
  /** The guest's processors. */
  smp: {
    flag: "--smp <n>",
    summary: "qemu: the guest's processors",
    group: "QEMU:",
    targets: ["qemu"],
    parse: (text?: string): number | undefined =>
      text === undefined ? text : parseCount(text, "--smp", 1, 64),
  },
  /** Register windows as `BASE,SIZE,COUNT` instead of those that Linux reports; for `devmem`. */
  mmio: {
    flag: "--mmio <windows>",
    summary: "devmem: register windows as BASE,SIZE,COUNT",
    group: "Interrupts and this machine:",
    targets: ["devmem"],
    parse: (text?: string): string | undefined => text,
  },
  /** Whether PCI functions are taken from the Linux drivers that have them; for `devmem`. */
  unbind: {
    flag: "--unbind",
    summary: "devmem: take PCI functions from Linux's drivers, and give them back",
    group: "Interrupts and this machine:",
    targets: ["devmem"],
    parse: (on?: true): boolean => on === true,
  },
  /** Whether interrupts are polled for even where there are lines; in guests and for `devmem`. */
  poll: {
    flag: "--poll",
    summary: "devmem, qemu: poll even where there are interrupts",
    group: "Interrupts and this machine:",
    targets: ["devmem", "qemu"],
    parse: (on?: true): boolean => on === true,
  },
  /** The groups of events that are traced; none without it. */
  trace: {
    flag: "--trace [groups]",
    summary: "say what happens, a line an event on stderr; --trace=regs,ring,request,copy chooses",
    group: "Tracing:",
    parse: (groups?: string): readonly TraceGroup[] | undefined => parseGroups(groups),
  },
  /** The devices that the trace is about; all of them if none is named. */
  traceDevices: {
    flag: "--trace-device <name>",
    summary: "trace only this device, for example virtio1; may be repeated",
    group: "Tracing:",
    repeated: true,
    parse: (names?: readonly string[]): readonly string[] => names ?? [],
  },
  /** The file that the trace goes to instead of stderr. */
  traceFile: {
    flag: "--trace-file <file>",
    summary: "trace to FILE: .pcapng for Wireshark, .json for Perfetto, .html a page, others text",
    group: "Tracing:",
    parse: (path?: string): string | undefined => path,
  },
  /** Whether what happens is counted. */
  stats: {
    flag: "--stats",
    summary:
      "count kicks, interrupts, register accesses, bytes and latencies; at the end on stderr",
    group: "Tracing:",
    parse: (on?: true): boolean => on === true,
  },
  /** The file that the device side is recorded to. */
  record: {
    flag: "--record <file>",
    summary: "keep what the devices do in FILE, for replay",
    group: "Tracing:",
    targets: ["emu", "qtest", "devmem", "qemu"],
    parse: (path?: string): string | undefined => path,
  },
  /** How many bytes of each buffer's data the trace has. */
  traceData: {
    flag: "--trace-data <n>",
    summary: "bytes of each buffer's data in the trace; none by default",
    group: "Tracing:",
    parse: (text?: string): number =>
      text === undefined ? 0 : parseCount(text, "--trace-data", 0, 65536),
  },
} as const;

/** The groups of `--trace=regs,ring`; a bare `--trace` has come as `all`. */
function parseGroups(text?: string): readonly TraceGroup[] | undefined {
  if (text === undefined) return undefined;
  if (text === "all") return TRACE_GROUPS;
  return text.split(",").map((name) => {
    const group = TRACE_GROUPS.find((group) => group === name);
    if (group !== undefined) return group;
    throw new UsageError(`--trace: expected ${TRACE_GROUPS.join(", ")}, got '${name}'`);
  });
}

/** Options of a board; every command that takes `--target` takes these. */
export type BoardOptions = {
  readonly [K in keyof typeof BOARD_OPTIONS]: ReturnType<(typeof BOARD_OPTIONS)[K]["parse"]>;
};

/** A board without any option. */
export const DEFAULT_BOARD: BoardOptions = Object.fromEntries(
  Object.entries(BOARD_OPTIONS).map((
    [name, row]: [string, BoardOption],
  ) => [name, row.parse(row.value as never)]),
  // The rows are the type's own.
) as unknown as BoardOptions;
