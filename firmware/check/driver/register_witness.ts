import type { HostedDevice } from "@vireo/emu";
import { STATUS } from "../raw/registers.ts";
import type { Findings } from "./findings.ts";
import type { RingWitness } from "./ring_witness.ts";
import { ruleOf } from "./rules.ts";
import type { Temper } from "./schedules.ts";
import type { Access, WindowWatcher } from "./window.ts";

/** Reads of the status that a slow reset lasts. */
const SLOW_READS = 3;
/** Bits 44 and 61, which virtio 1.4 has for no device: in the second feature word. */
const UNKNOWN_BITS = 1 << 12 | 1 << 29;
/** Bits that InterruptStatus does not have. */
const UNDEFINED_CAUSES = 0x4000_0080;
/** Fields over 32 bits, by virtio id: offset and bytes. */
const WIDE: Readonly<Record<number, readonly [offset: number, bytes: number]>> = {
  1: [0, 6],
  2: [0, 8],
  19: [0, 8],
  20: [48, 8],
};

/** One meaning for the names of each transport. */
const MEANING: Readonly<Record<string, string>> = {
  device_status: "Status",
  device_feature_select: "DeviceFeaturesSel",
  driver_feature_select: "DriverFeaturesSel",
  device_feature: "DeviceFeatures",
  driver_feature: "DriverFeatures",
  device_features: "DeviceFeatures",
  driver_features: "DriverFeatures",
  queue_select: "QueueSel",
  queue_enable: "QueueReady",
  queue_address: "QueuePFN",
  queue_reset: "QueueReset",
  queue_notify: "QueueNotify",
  notify: "QueueNotify",
  config_generation: "ConfigGeneration",
};

/** A watched device. */
interface Watched {
  /** The device; undefined for an empty slot. */
  hosted(): HostedDevice | undefined;
  /** Its bus. */
  readonly bus: "mmio" | "pci";
  /** Witness of its rings. */
  readonly rings: RingWitness;
  /** Record of its driver. */
  readonly findings: Findings;
  /** How it behaves. */
  readonly temper: Temper;
  /** A step at which the configuration may change. */
  step(): void;
  /** The driver reset the device. */
  reset(): void;
}

/** Looks at how a driver uses the registers of one device, and makes them tempt it. */
export class RegisterWitness implements WindowWatcher {
  readonly #watched: Watched;
  /** Registers that were read since the slot was opened. */
  readonly #read = new Set<string>();
  /** The status as the driver wrote it last; undefined before its first reset. */
  #status: number | undefined;
  /** Whether a reset has not been seen to be finished. */
  #resetting = false;
  #slow = 0;
  /** Value of the status while a reset is slow. */
  #before = 0;
  #recheck = false;
  #selected = new Set<string>();
  #word = 0;
  #queue = 0;
  #stopping = false;
  /** Queues whose reset was not confirmed. */
  readonly #resetQueues = new Set<number>();
  /** Causes that were read and not acknowledged. */
  #causes = 0;
  /** Reads of a wide field since the generation was read, and what it was then. */
  #wide: { generation: number | undefined; bytes: number } = { generation: undefined, bytes: 0 };
  /** Whether the field changed meanwhile and must be read again. */
  #again = false;
  #writes = 0;
  /** Since the last reset: whether unknown bits were offered, the driver set DRIVER_OK, and FAILED. */
  #sawForeign = false;
  #ran = false;
  #saidFailed = false;
  /** Whether the device did not keep FEATURES_OK. */
  #refused = false;

  /** Watches a slot or function. */
  constructor(watched: Watched) {
    this.#watched = watched;
  }

  /** Implements {@linkcode WindowWatcher.opened}: whoever opens the slot starts from the beginning. */
  opened(): void {
    this.#read.clear();
    this.#selected.clear();
    this.#status = undefined;
    this.#resetting =
      this.#recheck =
      this.#refused =
      this.#stopping =
      this.#again =
        false;
    this.#causes = 0;
  }

  /** Register writes so far. */
  get writes(): number {
    return this.#writes;
  }

  /** Implements {@linkcode WindowWatcher.read}. */
  read(access: Access, value: number): number {
    const hosted = this.#watched.hosted();
    if (hosted === undefined) return this.#emptySlot(access, value);
    if (access.name.startsWith("pci+")) return value;
    const name = this.#enter(access, "read", hosted);
    this.#read.add(name);
    switch (name) {
      case "Status":
        return this.#readStatus(value);
      case "DeviceFeatures":
        return this.#readFeatures(value);
      case "QueueReset":
        if (value === 0) this.#resetQueues.delete(this.#queue);
        return value;
      case "InterruptStatus": {
        const { temper, findings } = this.#watched;
        if (temper.spurious) value |= UNDEFINED_CAUSES;
        if ((value & 3) !== 0) findings.did("interrupt");
        this.#causes |= value & 3;
        return value;
      }
      case "ConfigGeneration":
        this.#generation(value);
        return value;
      default:
        if (name.startsWith("config+")) this.#readConfig(access, hosted);
        return value;
    }
  }

  /** Implements {@linkcode WindowWatcher.write}. */
  write(access: Access, value: number, forward: (value?: number) => void): void {
    const hosted = this.#watched.hosted();
    this.#writes++;
    if (hosted === undefined) {
      this.#emptySlot(access, 0);
      return forward();
    }
    if (access.name.startsWith("pci+")) return forward();
    const { rings, findings } = this.#watched;
    const name = this.#enter(access, "write", hosted);
    switch (name) {
      case "Status":
        return this.#writeStatus(value & 0xff, hosted, forward);
      case "DeviceFeaturesSel":
      case "DriverFeaturesSel":
        this.#selected.add(name);
        this.#word = value;
        return forward();
      case "DriverFeatures":
        return this.#writeFeatures(value, forward);
      case "QueueSel":
        this.#queue = value;
        return forward();
      case "QueueReady":
      case "QueuePFN":
        return this.#startQueue(name, value, hosted, forward);
      case "QueueReset":
        forward();
        findings.did("queue-reset");
        this.#resetQueues.add(this.#queue);
        return rings.stopped(this.#queue);
      case "QueueNotify":
        findings.did("notify");
        if (this.#watched.bus === "pci") findings.did("pci-notify");
        rings.notified(value & 0xffff);
        return forward();
      case "InterruptACK": {
        findings.did("interrupt");
        const unread = value & 3 & ~this.#causes;
        if (unread !== 0) this.#broke("interrupt.read", `0x${unread.toString(16)} acknowledged`);
        this.#causes &= ~value;
        return forward();
      }
      default:
        if (name.startsWith("config+")) this.#writeConfig(access, hosted);
        return forward();
    }
  }

  /** The driver has ended. */
  end(): void {
    if (this.#causes !== 0) {
      const causes = `0x${this.#causes.toString(16)}`;
      this.#broke("interrupt.acknowledge", `causes ${causes} were read and not acknowledged`);
    }
    this.#endOfLife();
  }

  /** The driver resets the device, or has ended: what it did since the last reset. */
  #endOfLife(): void {
    if (this.#sawForeign && !this.#ran) {
      this.#broke("features.unknown-goes-on", "DRIVER_OK was not set");
    }
    if (this.#refused && this.#watched.temper.refuse && !this.#saidFailed) {
      this.#broke("init.say-failed", "no FAILED after the device did not keep FEATURES_OK");
    }
    this.#sawForeign =
      this.#ran =
      this.#saidFailed =
      this.#refused =
        false;
  }

  #broke(rule: string, seen: string): void {
    this.#watched.findings.broke(ruleOf(rule), seen);
  }

  /** Notes the occasions of an access, and checks what had to come before it. */
  #enter({ name }: Access, op: "read" | "write", hosted: HostedDevice): string {
    const { bus, findings } = this.#watched;
    const meaning = MEANING[name] ?? name;
    findings.did(bus);
    if (name.startsWith("config+")) findings.did("config");
    if (bus === "mmio") this.#identity(meaning, op);
    const device = DEVICES[hosted.model.deviceId];
    if (device !== undefined) findings.did(device);
    if (this.#stopping && !(op === "read" && meaning === "QueueReady")) {
      this.#broke("queue.stop", `${op} of ${name} after 0 was written to QueueReady`);
    }
    this.#stopping = false;
    if (!name.startsWith("config+") && meaning !== "ConfigGeneration") this.#leaveConfig(name);
    return meaning;
  }

  /** Virtio 1.4 §4.2.3.1.1: the registers that come first. */
  #identity(name: string, op: "read" | "write"): void {
    if (["MagicValue", "Version", "DeviceID", "VendorID"].includes(name)) {
      if (name === "DeviceID" || name === "VendorID") this.#wasChecked(name, op);
      return;
    }
    this.#wasChecked(name, op);
    if (!this.#read.has("DeviceID")) {
      this.#broke("init.device-id", `${op} of ${name} before DeviceID was read`);
    }
  }

  #wasChecked(name: string, op: string): void {
    for (const first of ["MagicValue", "Version"]) {
      if (this.#read.has(first)) continue;
      this.#broke("init.magic", `${op} of ${name} before ${first} was read`);
    }
  }

  #emptySlot({ name }: Access, value: number): number {
    this.#watched.findings.did("empty-slot");
    if (!["MagicValue", "Version", "DeviceID"].includes(name)) {
      this.#broke("init.empty-slot", `${name} of a slot with DeviceID 0`);
    }
    return value;
  }

  #readStatus(value: number): number {
    this.#recheck = false;
    if (this.#slow > 0) {
      this.#slow--;
      return this.#before;
    }
    if (value === 0) this.#resetting = false;
    return value;
  }

  #writeStatus(value: number, hosted: HostedDevice, forward: (value?: number) => void): void {
    const { findings, rings, temper, bus } = this.#watched;
    findings.did("init");
    if (value === 0) {
      this.#before = hosted.status || STATUS.ACKNOWLEDGE;
      forward();
      this.#slow = temper.slowReset ? SLOW_READS : 0;
      this.#status = 0;
      this.#resetting = true;
      this.#endOfLife();
      this.#watched.reset();
      this.#recheck = false;
      this.#causes = 0;
      this.#resetQueues.clear();
      this.#selected.clear();
      return rings.reset();
    }
    if (this.#status === undefined) this.#broke("init.reset", "status bits with no reset before");
    if (this.#resetting) {
      const seen = `status 0x${value.toString(16)} before the status was read as 0`;
      this.#broke(bus === "pci" ? "reset.wait-pci" : "reset.wait-mmio", seen);
      this.#slow = 0;
    }
    const before = this.#status ?? 0;
    const fresh = value & ~before & ~(STATUS.FAILED | STATUS.NEEDS_RESET);
    if ((fresh & (fresh - 1)) !== 0) {
      this.#broke("init.one-by-one", `0x${value.toString(16)} after 0x${before.toString(16)}`);
    }
    if ((before & STATUS.FAILED) !== 0) {
      findings.did("failed");
      this.#broke("init.after-failed", `status 0x${value.toString(16)} after FAILED`);
    }
    if ((value & STATUS.FAILED) !== 0) {
      this.#saidFailed = true;
      findings.did("failed");
    }
    if (this.#recheck && (fresh & STATUS.DRIVER_OK) !== 0) {
      this.#broke(
        "init.recheck",
        "DRIVER_OK after FEATURES_OK, with no read of the status between",
      );
    }
    if (this.#refused && (fresh & STATUS.DRIVER_OK) !== 0) {
      this.#broke("init.refused", "DRIVER_OK though the device did not keep FEATURES_OK");
    }
    this.#status = before | value;
    forward();
    if (!hosted.legacy && (fresh & STATUS.FEATURES_OK) !== 0) {
      findings.did("modern-features");
      this.#recheck = true;
      this.#refused = (hosted.status & STATUS.FEATURES_OK) === 0;
      if (this.#refused && temper.refuse) findings.did("refused");
    }
    if ((fresh & STATUS.DRIVER_OK) !== 0 && hosted.active) {
      this.#ran = true;
      rings.running();
    }
  }

  #readFeatures(value: number): number {
    const { findings, temper, bus, hosted } = this.#watched;
    findings.did("features");
    if (bus === "mmio") {
      findings.did("mmio-features");
      if (!this.#selected.has("DeviceFeaturesSel")) {
        this.#broke("features.select-device", "DeviceFeatures with no DeviceFeaturesSel before");
      }
    }
    const modern = hosted()?.legacy === false;
    if (temper.unknownFeatures && modern && this.#word === 1) {
      findings.did("foreign-features");
      // A driver may look at a device before it says that it can drive it.
      this.#sawForeign ||= ((this.#status ?? 0) & STATUS.DRIVER) !== 0;
      return value | UNKNOWN_BITS;
    }
    return value;
  }

  #writeFeatures(value: number, forward: (value?: number) => void): void {
    const { findings, bus, temper } = this.#watched;
    findings.did("features");
    if (((this.#status ?? 0) & STATUS.DRIVER) === 0) {
      this.#broke("init.order", "features before DRIVER");
    }
    if (bus === "mmio") {
      findings.did("mmio-features");
      if (!this.#selected.has("DriverFeaturesSel")) {
        this.#broke("features.select-driver", "DriverFeatures with no DriverFeaturesSel before");
      }
    }
    const unknown = temper.unknownFeatures && this.#word === 1 ? value & UNKNOWN_BITS : 0;
    if (unknown !== 0) this.#broke("features.unknown", "bits 44 and 61, or one of them");
    forward((value & ~unknown) >>> 0);
  }

  #startQueue(
    name: string,
    value: number,
    hosted: HostedDevice,
    forward: (value?: number) => void,
  ): void {
    const { findings, rings, bus } = this.#watched;
    findings.did("queue");
    if (this.#refused) this.#broke("init.refused", "a queue though FEATURES_OK was not kept");
    if (this.#recheck) this.#broke("init.recheck", "a queue before the status was read again");
    if (value !== 0 && this.#resetQueues.has(this.#queue)) {
      this.#broke("queue.reset", `queue ${this.#queue} is started before its reset was confirmed`);
    }
    forward();
    if (value !== 0) {
      if (hosted.running(this.#queue)) rings.started(this.#queue);
      return;
    }
    rings.stopped(this.#queue);
    if (bus !== "mmio" || name !== "QueueReady") return;
    findings.did("queue-stop");
    this.#stopping = true;
  }

  #writeConfig(access: Access, hosted: HostedDevice): void {
    if (hosted.legacy || (hosted.status & STATUS.FEATURES_OK) !== 0) return;
    this.#broke("config.early-write", `${access.name} before FEATURES_OK`);
  }

  #readConfig({ name, width }: Access, hosted: HostedDevice): void {
    this.#watched.step();
    const field = WIDE[hosted.model.deviceId];
    if (field === undefined || hosted.legacy) return;
    const offset = Number(name.slice("config+".length));
    if (offset < field[0] || offset + width > field[0] + field[1]) return;
    this.#watched.findings.did("wide-config");
    this.#wide.bytes += width;
    this.#again = false;
  }

  /** The generation was read: what was read of a wide field since the last time is whole, or read again. */
  #generation(value: number): void {
    const { generation, bytes } = this.#wide;
    if (bytes > 0) this.#again = false;
    if (bytes > 4) {
      if (generation === undefined) {
        this.#broke("config.atomic", "a field over 32 bits with no generation read before it");
      } else if (generation !== value) this.#again = true;
    }
    this.#wide = { generation: value, bytes: 0 };
  }

  #leaveConfig(name: string): void {
    if (this.#wide.bytes > 4) {
      this.#broke("config.atomic", "a field over 32 bits with no generation read after it");
    } else if (this.#again) {
      this.#broke("config.atomic", `${name} after a field that changed while it was read`);
    }
    this.#again = false;
    this.#wide = { generation: undefined, bytes: 0 };
  }
}

/** Devices with rules of their own. */
const DEVICES: Readonly<Record<number, "rng" | "console" | "input">> = {
  3: "console",
  4: "rng",
  18: "input",
};
