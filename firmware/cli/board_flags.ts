import { parseWith } from "../devices/table.ts";
import {
  type BoardOptions,
  checkTransport,
  DEFAULT_BOARD,
  type GuestOptions,
  parseBlk,
  parseNet,
  parseQueueSize,
} from "../target/options.ts";
import { parseTarget, targetBus } from "../target/target.ts";
import { parseCount, UsageError } from "../terminal/usage.ts";

/** Options that every command with a board has, as commander collects them. */
export interface BoardFlags {
  readonly target: string;
  readonly blk?: string[] | undefined;
  readonly net?: string | undefined;
  readonly legacy?: true | undefined;
  readonly transport?: "mmio" | "pci" | undefined;
  readonly transitional?: true | undefined;
  readonly forceLegacy?: true | undefined;
  readonly packed?: true | undefined;
  readonly inOrder?: true | undefined;
  readonly notificationData?: true | undefined;
  readonly platformIommu?: true | undefined;
  readonly queueSize?: string | undefined;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  readonly qemu?: string | undefined;
  readonly qemuArg?: string[] | undefined;
  readonly device?: string[] | undefined;
  readonly with?: string[] | undefined;
  readonly mmio?: string | undefined;
  readonly unbind?: true | undefined;
  readonly poll?: true | undefined;
  readonly kernel?: string | undefined;
  readonly accel?: "tcg" | "kvm" | undefined;
  readonly memory?: string | undefined;
  readonly smp?: string | undefined;
}

/** Smallest memory in MiB in which the guest's Linux and Deno fit. */
const LEAST_MEMORY = 256;

/** The flags that belong to some kinds of target only. */
const FLAGS_OF: readonly [flag: keyof BoardFlags, name: string, kinds: readonly string[]][] = [
  ["qemu", "--qemu", ["qtest", "qemu"]],
  ["qemuArg", "--qemu-arg", ["qtest", "qemu"]],
  ["device", "--device", ["qtest", "qemu"]],
  ["with", "--with", ["emu", "qtest", "qemu"]],
  ["mmio", "--mmio", ["devmem"]],
  ["unbind", "--unbind", ["devmem"]],
  ["poll", "--poll", ["devmem", "qemu"]],
  ["transport", "--transport", ["emu", "qtest", "qemu"]],
  ["transitional", "--transitional", ["emu", "qtest", "qemu"]],
  ["packed", "--packed", ["emu", "qtest", "qemu"]],
  ["platformIommu", "--platform-iommu", ["emu", "qtest", "qemu"]],
  // QEMU 7.2 has no device that offers these.
  ["inOrder", "--in-order", ["emu"]],
  ["notificationData", "--notification-data", ["emu"]],
  ["kernel", "--kernel", ["qemu"]],
  ["accel", "--accel", ["qemu"]],
  ["memory", "--memory", ["qemu"]],
  ["smp", "--smp", ["qemu"]],
];

/**
 * Turns command line flags into a board.
 *
 * @throws {UsageError} If one is wrong.
 */
export function boardOptions(flags: BoardFlags): BoardOptions {
  const target = parseTarget(flags.target);
  const { kind } = target;
  for (const [flag, name, kinds] of FLAGS_OF) {
    if (flags[flag] !== undefined && !kinds.includes(kind)) {
      throw new UsageError(`${name}: for ${kinds.join(" and ")} targets, not for ${flags.target}`);
    }
  }
  if (flags.qemu === "") throw new UsageError("--qemu: expected a program's name or path, got ''");
  const disks = flags.blk ?? [];
  if (disks.includes("none") && disks.length > 1) {
    throw new UsageError("--blk: 'none' stands alone");
  }
  const options: BoardOptions = {
    target: flags.target,
    blk: disks.length === 0 ? DEFAULT_BOARD.blk : disks[0] === "none" ? [] : disks.map(parseBlk),
    net: flags.net === undefined ? undefined : parseNet(flags.net),
    legacy: flags.legacy === true,
    transitional: flags.transitional === true,
    forceLegacy: flags.forceLegacy === true,
    transport: flags.transport,
    packed: flags.packed === true,
    inOrder: flags.inOrder === true,
    notificationData: flags.notificationData === true,
    platformIommu: flags.platformIommu === true,
    queueSize: flags.queueSize === undefined ? undefined : parseQueueSize(flags.queueSize),
    indirect: flags.indirect,
    eventIdx: flags.eventIdx,
    qemu: flags.qemu,
    qemuArgs: flags.qemuArg ?? [],
    with: (flags.with ?? []).map(parseWith),
    devices: flags.device ?? [],
    mmio: flags.mmio,
    unbind: flags.unbind === true,
    poll: flags.poll === true,
    boot: guestOptions(flags),
  };
  checkTransport(options, kind === "emu" ? flags.transport ?? "mmio" : targetBus(target));
  return options;
}

function guestOptions({ kernel, accel, memory, smp }: BoardFlags): GuestOptions {
  return {
    kernel,
    ...(accel === undefined ? {} : { accel }),
    ...(memory === undefined
      ? {}
      : { memory: parseCount(memory, "--memory", LEAST_MEMORY, 65536) }),
    ...(smp === undefined ? {} : { smp: parseCount(smp, "--smp", 1, 64) }),
  };
}
