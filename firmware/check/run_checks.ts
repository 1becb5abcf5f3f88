import { type DeviceNode, type Platform, VireoError } from "@vireo/hal";
import type { Check } from "./check.ts";
import { CheckFailure, CheckSkip } from "./failure.ts";
import { CheckContext, type Pace } from "./context.ts";
import { type Deviation, findDeviation, findEnd, type Surroundings } from "./deviations.ts";
import { Random } from "./random.ts";
import { Arena } from "./raw/arena.ts";
import type { BusName, RawDevice } from "./raw/device.ts";
import { Log, type LogEntry } from "./raw/log.ts";
import { RawMmio } from "./raw/mmio.ts";
import { RawPci } from "./raw/pci.ts";
import { RawVhostUser } from "./raw/vhost_user.ts";
import { knownRequest } from "./requests.ts";

/** Bytes of memory that are shared with a device. */
const ARENA = 2 << 20;

/** How a check ended. */
export type Verdict = "pass" | "fail" | "deviates" | "skip";

/** A device that was looked at. */
interface CheckedDevice {
  /** Name of its slot or function. */
  readonly name: string;
  /** Virtio id. */
  readonly id: number;
  /** Which bus it is on. */
  readonly bus: BusName;
  /** Which interface was used. */
  readonly face: "modern" | "legacy";
}

/** One check on one device. */
export interface CheckResult {
  /** The check. */
  readonly check: Omit<Check, "run">;
  /** The device. */
  readonly device: CheckedDevice;
  /** How it ended. */
  readonly verdict: Verdict;
  /** Why it was skipped, why the deviation is known, or what the failure says. */
  readonly reason: string | undefined;
  /** Behaviour that was seen; of failures and deviations. */
  readonly seen: string | undefined;
  /** The accesses and bytes that show a failure or a deviation again. */
  readonly history: readonly LogEntry[];
  /** How long it took in milliseconds. */
  readonly ms: number;
  /** The schedule that a driver ran under. */
  readonly schedule?: string;
  /** The command line that shows a driver's failure again. */
  readonly again?: string;
}

/** A machine whose devices nobody drives. */
export interface Bench extends AsyncDisposable {
  /** The machine. */
  readonly platform: Platform;
  /** Version of the QEMU behind it, if it is one. */
  readonly qemu?: string | undefined;
}

/** Options of a run. */
interface RunOptions {
  /** The checks. */
  readonly checks: readonly Check[];
  /** Makes the machine; made again if a check ends it. */
  open(): Promise<Bench>;
  /** Which devices to look at; all by default. */
  readonly devices?: (device: CheckedDevice) => boolean;
  /** Start of the random numbers; 1 by default. */
  readonly seed?: number;
  /** How the machine lets time pass. */
  readonly pace: Pace;
  /** Whether this runs in a guest of the machine, which ends with it: what is known to end it is not done. */
  readonly inside?: boolean;
  /** Wraps each slot or function before it is opened, to watch its registers. */
  readonly watch?: ((node: DeviceNode) => DeviceNode) | undefined;
  /** Told of each access and each byte written, as the history of a failure has them. */
  readonly log?: Log;
  /** Told of each check before it is made, and of the device's name. */
  readonly onStart?: (check: string, device: string) => void;
  /** Told of each result as it comes. */
  readonly onResult?: (result: CheckResult) => void;
  /** Ends the run before the next check. */
  readonly stop?: (result: CheckResult) => boolean;
}

/** Whether a check is about a device. */
function inScope({ scope = {} }: Check, { id, bus, face }: CheckedDevice): boolean {
  return (scope.bus ?? bus) === bus && (scope.face ?? face) === face &&
    (scope.devices?.includes(id) ?? true);
}

/** Why a check that is about registers is not made on a device that has none; undefined if it has. */
function needsRegisters({ scope = {} }: Check, { id, bus }: CheckedDevice): string | undefined {
  if (bus !== "vhost-user" || scope.devices?.includes(id) === false) return undefined;
  if (scope.bus !== undefined) return `a vhost-user device has no registers of ${BUSES[scope.bus]}`;
  return scope.face === "legacy" ? "a vhost-user device has no legacy interface" : undefined;
}

const BUSES = { mmio: "virtio-mmio", pci: "PCI", "vhost-user": "vhost-user" } as const;

/** Errors of a machine or a back end that ended, hangs, or no longer follows its protocol. */
const LOST: ReadonlySet<string> = new Set([
  "HOST_ERROR",
  "DEVICE_REMOVED",
  "TIMEOUT",
  "BAD_MESSAGE",
]);

/** Runs checks on every device of a machine, one after the other. */
export async function runChecks(options: RunOptions): Promise<CheckResult[]> {
  const runner = new Runner(options);
  try {
    return await runner.run();
  } finally {
    await runner.close();
  }
}

class Runner {
  readonly #options: RunOptions;
  readonly #results: CheckResult[] = [];
  readonly #log: Log;
  #bench: Bench | undefined;
  #arena: Arena | undefined;
  #free: (() => void) | undefined;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#log = options.log ?? new Log();
  }

  async run(): Promise<CheckResult[]> {
    const bench = await this.#open();
    for (const name of bench.platform.nodes().map(({ name }) => name)) {
      const device = this.#find(name);
      if (device === undefined) continue;
      if (!await this.#checkDevice(device)) break;
    }
    return this.#results;
  }

  async close(): Promise<void> {
    this.#free?.();
    this.#free = undefined;
    const bench = this.#bench;
    this.#bench = undefined;
    await bench?.[Symbol.asyncDispose]();
  }

  async #open(): Promise<Bench> {
    if (this.#bench !== undefined) return this.#bench;
    const bench = this.#bench = await this.#options.open();
    const region = bench.platform.dma.alloc(ARENA, { align: 4096, coherent: true });
    this.#free = () => region[Symbol.dispose]();
    this.#arena = new Arena(region, this.#log);
    return bench;
  }

  #find(name: string): RawDevice | undefined {
    const found = this.#bench!.platform.nodes().find((node) => node.name === name);
    if (found === undefined) return undefined;
    const node: DeviceNode = this.#options.watch?.(found) ?? found;
    if (node.kind === "mmio") return RawMmio.open(node, this.#log);
    return node.kind === "pci" ? RawPci.open(node, this.#log) : RawVhostUser.open(node, this.#log);
  }

  /** All checks on one device; whether to go on. */
  async #checkDevice(first: RawDevice): Promise<boolean> {
    let device: RawDevice | undefined = first;
    let gone = "the device is gone";
    const { name, id, bus, legacy } = first;
    const checked: CheckedDevice = { name, id, bus, face: legacy ? "legacy" : "modern" };
    try {
      if (this.#options.devices?.(checked) === false) return true;
      for (const check of this.#options.checks) {
        const why = needsRegisters(check, checked);
        if (why === undefined && !inScope(check, checked)) continue;
        const { result, lost } = why !== undefined || device === undefined
          ? { result: skip(check, checked, why ?? gone), lost: false }
          : await this.#check(check, device, checked);
        this.#results.push(result);
        this.#options.onResult?.(result);
        if (this.#options.stop?.(result)) return false;
        if (!lost) continue;
        // The machine ended or hangs: another one goes on with the next check.
        device = undefined;
        await this.close();
        try {
          await this.#open();
          device = this.#find(name);
        } catch (error) {
          if (!(error instanceof VireoError)) throw error;
          gone = `the device is gone: ${error.message}`;
        }
      }
    } finally {
      using _open = device;
      device?.writeStatus(0);
    }
    return true;
  }

  async #check(
    check: Check,
    device: RawDevice,
    checked: CheckedDevice,
  ): Promise<{ result: CheckResult; lost: boolean }> {
    const arena = this.#arena!;
    const random = new Random((this.#options.seed ?? 1) ^ hash(check.id));
    const context = new CheckContext(device, arena, this.#log, random, this.#options.pace);
    const start = performance.now();
    const ended = (
      verdict: Verdict,
      reason?: string,
      seen?: string,
      history: readonly LogEntry[] = [],
    ): CheckResult => {
      const ms = performance.now() - start;
      return { check, device: checked, verdict, reason, seen, history, ms };
    };
    try {
      // Requests of the previous check may write late, as in QEMU 10, whose queues wait on eventfds:
      // the device must be at rest before its memory is blank again.
      device.writeStatus(0);
      if (device.status() !== 0) await context.until(() => device.status() === 0);
      arena.clear();
      this.#log.clear();
      const missing = (check.offers ?? []).filter((bit) => !context.offered().has(bit));
      if (missing.length > 0) {
        return {
          result: ended("skip", `feature ${missing.join(", ")} is not offered`),
          lost: false,
        };
      }
      if (check.request && knownRequest(context) === undefined) {
        const why = `no request is known for devices of type ${device.id}`;
        return { result: ended("skip", why), lost: false };
      }
      const end = this.#options.inside === true ? findEnd(check, this.#where(checked)) : undefined;
      if (end !== undefined) {
        const seen = "not done in a guest, which would end with its QEMU";
        return { result: ended("deviates", end.reason, seen), lost: false };
      }
      this.#options.onStart?.(check.id, device.name);
      await check.run(context);
      if (check.hostile) await context.survives();
      else context.intact();
      return { result: ended("pass"), lost: false };
    } catch (error) {
      if (error instanceof CheckSkip) return { result: ended("skip", error.message), lost: false };
      const lost = error instanceof VireoError && LOST.has(error.code) &&
        (error.code === "HOST_ERROR" || device.bus === "vhost-user");
      const history = [...this.#log.entries];
      if (!(error instanceof CheckFailure) && !lost) {
        // A check that cannot cope with what the device shows must not take the other checks with it.
        const why = `The check could not go on: ${error instanceof Error ? error.message : error}`;
        return { result: ended("fail", why, why, history), lost: false };
      }
      const { message } = error;
      const known = this.#known(check, checked, message);
      const verdict = known === undefined ? "fail" : "deviates";
      return {
        result: ended(verdict, known?.reason ?? message, message, history),
        lost,
      };
    }
  }

  #known(check: Check, device: CheckedDevice, message: string): Deviation | undefined {
    return findDeviation(check, this.#where(device), message);
  }

  #where(device: CheckedDevice): Surroundings {
    return { device, qemu: this.#bench!.qemu };
  }
}

/** The result of a check that was not made. */
function skip(check: Check, device: CheckedDevice, reason: string): CheckResult {
  return { check, device, verdict: "skip", reason, seen: undefined, history: [], ms: 0 };
}

/** A number for a name, so that each check has random numbers of its own. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  }
  return value >>> 0;
}
