import {
  BalloonDevice,
  BlkDevice,
  CaifDevice,
  ConsoleDevice,
  CryptoDevice,
  type DeviceModel,
  GpuDevice,
  Hub,
  INPUT_PRESETS,
  InputDevice,
  loopbackPort,
  type MachineDevice,
  MemoryDisk,
  MemoryTree,
  NetDevice,
  P9Device,
  RngDevice,
  RpmsgDevice,
  RprocSerialDevice,
  ScsiDevice,
  VsockDevice,
} from "@vireo/emu";
import type { Access } from "../../firmware/check/driver/window.ts";
import { COMMON } from "../../firmware/check/raw/registers.ts";
import { zonedDisk } from "./bench.ts";
import type { Mutation, Spy } from "./mutant_machine.ts";

/** A device that breaks one rule. */
export interface Mutant {
  /** Mistake of the mutant. */
  readonly name: string;
  /** The clause that it does not keep. */
  readonly clause: string;
  /** How. */
  readonly mutation: Mutation;
  /** The device; a disk by default. */
  readonly model?: () => DeviceModel;
  /** The bus; virtio-mmio by default. */
  readonly bus?: "mmio" | "pci";
  /** Options of the device on the machine. */
  readonly options?: Omit<MachineDevice, "model">;
}

const DRIVER_OK = 4;
const FEATURES_OK = 8;
const SUSPEND = 16;

export const disk = (): DeviceModel => new BlkDevice({ disk: new MemoryDisk(1 << 20) });
const readOnlyDisk = (): DeviceModel =>
  new BlkDevice({ disk: new MemoryDisk(1 << 20, { readOnly: true }), readOnly: true });
const rng = (): DeviceModel => new RngDevice({ random: (into) => crypto.getRandomValues(into) });
const net = (): DeviceModel =>
  new NetDevice({
    backend: new Hub().port(),
    mac: "52:54:00:00:00:01",
    queuePairs: 2,
    mtu: 1500,
    hashReport: true,
  });
const scsi = (): DeviceModel =>
  new ScsiDevice({ units: [{ target: 0, kind: "disk", disk: new MemoryDisk(1 << 20) }] });
const input = (): DeviceModel => new InputDevice(INPUT_PRESETS.keyboard);
const vsock = (): DeviceModel => new VsockDevice({ host: { connect: () => undefined } });
const cryptoDevice = (): DeviceModel => new CryptoDevice();
const terminal = (): DeviceModel =>
  new ConsoleDevice({
    ports: [{ id: 0, backend: loopbackPort() }, { id: 1, backend: loopbackPort() }],
  });

/** A register that always reads the same. */
const reads = (name: string, seen: number | ((value: number, spy: Spy) => number)): Mutation => ({
  read: (access, value, spy) =>
    access.name !== name ? value : typeof seen === "number" ? seen : seen(value, spy),
});

/** A register whose writes are lost. */
const deaf = (name: string, when: (value: number, spy: Spy) => boolean = () => true): Mutation => ({
  write(access, value, spy, forward) {
    if (access.name !== name || !when(value, spy)) forward();
  },
});

/** Tampers with memory after the device was notified. */
const after = (tamper: (spy: Spy) => void): Mutation => ({
  write(access, _value, spy, forward) {
    forward();
    if ((access.name === "QueueNotify" || access.name === "notify") && spy.size > 0) tamper(spy);
  },
});

/** After a notification that had something used. */
const onUse = (tamper: (spy: Spy) => void): Mutation => ({
  write(access, value, spy, forward) {
    forward();
    if (access.name === "Status" && value === 0) spy.notes.set("index", 0);
    if (access.name !== "QueueNotify" || spy.size === 0) return;
    const index = spy.get16(spy.part("Device") + 2);
    if (index !== 0 && index !== spy.notes.get("index")) tamper(spy);
    spy.notes.set("index", spy.get16(spy.part("Device") + 2));
  },
});

/** A notification that does not reach the device. */
const unheard = (when: (spy: Spy) => boolean): Mutation => ({
  write(access, _value, spy, forward) {
    if (access.name !== "QueueNotify" || !when(spy)) forward();
  },
});

/** Feature words as they are offered. */
const offers = (word: number, change: (value: number) => number): Mutation => ({
  read: ({ name }, value, spy) => {
    const select = name === "DeviceFeatures" ? spy.written.get("DeviceFeaturesSel") : undefined;
    return select === word ? change(value) : value;
  },
});

/** Bytes of the configuration. */
const config = (offset: number, seen: number | ((value: number, spy: Spy) => number)): Mutation =>
  reads(`config+${offset}`, seen);

/** The status byte of a disk's request becomes another one if the request has a type. */
const status = (types: readonly number[], seen: number): Mutation =>
  onUse((spy) => {
    const chain = spy.chain();
    const type = spy.get32(spy.buffer(chain[0]!));
    const last = chain.at(-1)!;
    if (types.includes(type)) spy.memory[spy.buffer(last) + spy.get32(last + 8) - 1] = seen;
  });

/** A byte of the answer of the last request: its first device-writable buffer. */
const answers = (offset: number, seen: number): Mutation =>
  onUse((spy) => {
    const first = spy.chain().find((at) => (spy.get16(at + 12) & 2) !== 0);
    if (first !== undefined) spy.memory[spy.buffer(first) + offset] = seen;
  });

const started = (spy: Spy): boolean => ((spy.written.get("Status") ?? 0) & DRIVER_OK) !== 0;

/** The cause of an interrupt is never seen while something holds. */
const silent = (when: (spy: Spy) => boolean): Mutation =>
  reads("InterruptStatus", (value, spy) => when(spy) ? value & ~1 : value);
/** The cause of an interrupt is seen after each used buffer, whatever the driver asked. */
const loud = (when: (spy: Spy) => boolean): Mutation => ({
  read(access, value, spy) {
    if (access.name !== "InterruptStatus" || !when(spy)) return value;
    return value | (spy.notes.get("loud") ?? 0);
  },
  write(access, _value, spy, forward) {
    const before = spy.size > 0 ? spy.get16(spy.part("Device") + 2) : 0;
    forward();
    if (access.name === "InterruptACK" || access.name === "Status") spy.notes.set("loud", 0);
    if (access.name !== "QueueNotify" || spy.size === 0) return;
    if (spy.get16(spy.part("Device") + 2) !== before) spy.notes.set("loud", 1);
  },
});

const EVENT_IDX = 29;
const usedEvent = (spy: Spy): number => spy.get16(spy.part("Driver") + 4 + 2 * spy.size);

/** A queue reset that the device does not do, but says it did. */
const fakeReset: Mutation = {
  read: ({ name }, value, spy) => name === "QueueReady" && spy.notes.get("fake") === 1 ? 0 : value,
  write(access, _value, spy, forward) {
    if (access.name === "QueueReset") return void spy.notes.set("fake", 1);
    if (access.name === "Status") spy.notes.set("fake", 0);
    if (access.name === "QueueReady" && spy.notes.get("fake") === 1) {
      return void spy.notes.set("fake", 0);
    }
    forward();
  },
};

/** A device that goes on after a reset, but says it was reset. */
const undead: Mutation = {
  read: ({ name }, value, spy) => name === "Status" && spy.notes.get("undead") === 1 ? 0 : value,
  write(access, value, spy, forward) {
    if (access.name !== "Status") return forward();
    const running = ((spy.notes.get("status") ?? 0) & DRIVER_OK) !== 0;
    spy.notes.set("status", value);
    if (value === 0 && running) return void spy.notes.set("undead", 1);
    if (spy.notes.get("undead") === 1) forward(0);
    spy.notes.set("undead", 0);
    forward();
  },
};

const row = (
  clause: string,
  name: string,
  mutation: Mutation,
  more: Omit<Mutant, "clause" | "name" | "mutation"> = {},
): Mutant => ({ clause, name, mutation, ...more });

const pci = { bus: "pci" } as const;
const transitional = { bus: "pci", options: { transitional: true } } as const;

const MMIO: readonly Mutant[] = [
  row("dev.mmio.layout.1", "another magic", reads("MagicValue", 0x74726977)),
  row("dev.mmio.layout.2", "version 3", reads("Version", 3)),
  row("dev.mmio.layout.3", "InterruptStatus goes when it is read", {
    read: ({ name }, value, spy) => {
      if (name !== "InterruptStatus") return value;
      const seen = spy.notes.get("seen") === 1;
      spy.notes.set("seen", value === 0 ? 0 : 1);
      return seen ? 0 : value;
    },
  }),
  row("dev.mmio.layout.3", "InterruptACK of any bit clears all", {
    write: ({ name }, value, _spy, forward) => forward(name === "InterruptACK" ? 3 : value),
  }),
  row("dev.mmio.layout.3", "InterruptACK does nothing", deaf("InterruptACK")),
  row(
    "dev.mmio.layout.4",
    "the configuration bit comes with the queue's",
    reads("InterruptStatus", (value) => value === 0 ? 0 : value | 2),
  ),
  row(
    "dev.mmio.layout.4",
    "an interrupt at DRIVER_OK",
    reads("InterruptStatus", (value, spy) => started(spy) ? value | 1 : value),
  ),
  row("dev.mmio.layout.4", "an undefined bit", reads("InterruptStatus", (value) => value | 4)),
  row("dev.mmio.layout.5", "a reset keeps InterruptStatus", {
    read: ({ name }, value, spy) => {
      if (name !== "InterruptStatus") return value;
      spy.notes.set("kept", (spy.notes.get("kept") ?? 0) | value);
      return spy.notes.get("kept")!;
    },
  }),
  row(
    "dev.mmio.layout.5",
    "a reset keeps QueueReady",
    reads("QueueReady", (value, spy) => spy.written.get("QueueReady") === 1 ? 1 : value),
  ),
  row("dev.mmio.layout.7", "QueueReady 0 does not stop a queue", {
    read: ({ name }, value, spy) =>
      name === "QueueReady" ? spy.written.get("QueueReady") ?? value : value,
    write({ name }, value, _spy, forward) {
      if (name !== "QueueReady" || value !== 0) forward();
    },
  }),
  row("dev.mmio.layout.8", "QueueReset reads 1 after a reset", reads("QueueReset", 1)),
  row(
    "dev.mmio.layout.9",
    "QueueReset reads 1 once a queue started",
    reads("QueueReset", (value, spy) => spy.written.get("QueueReady") === 1 ? 1 : value),
  ),
  row("dev.mmio.layout.10", "QueueReset does nothing", deaf("QueueReset")),
  row(
    "dev.mmio.layout.11",
    "a queue reset never ends",
    reads("QueueReset", (value, spy) => spy.written.has("QueueReset") ? 1 : value),
  ),
  row(
    "dev.mmio.layout.12",
    "QueueReady reads 1 after a queue reset",
    reads("QueueReady", (value, spy) => spy.written.has("QueueReset") ? 1 : value),
  ),
];

const BASIC: readonly Mutant[] = [
  row("virtio 1.4 §4.2.2", "QueueReady reads 0 while a queue runs", reads("QueueReady", 0)),
  row("dev.basic.reset.1", "a reset is ignored", deaf("Status", (value) => value === 0)),
  row(
    "dev.basic.reset.1",
    "Status reads ACKNOWLEDGE after a reset",
    reads("Status", (value) => value === 0 ? 1 : value),
  ),
  row("dev.basic.reset.2", "queues go on after a reset", undead),
  row(
    "dev.basic.reset.2",
    "an interrupt after a reset",
    reads("InterruptStatus", (value, spy) => spy.written.get("Status") === 0 ? 1 : value),
  ),
  row("dev.basic.status.1", "buffers are used before DRIVER_OK", {
    write({ name }, value, _spy, forward) {
      forward(name === "Status" && (value & FEATURES_OK) !== 0 ? value | DRIVER_OK : value);
    },
  }),
  row(
    "dev.basic.status.3",
    "no interrupt for DEVICE_NEEDS_RESET",
    reads("InterruptStatus", (value) => value & ~2),
  ),
  row(
    "dev.basic.features.2",
    "FEATURES_OK never stays",
    reads("Status", (value) => value & ~FEATURES_OK),
  ),
  row("dev.basic.features.4", "bit 44 is offered", offers(1, (value) => value | 1 << 12)),
  row("dev.basic.features.4", "bit 20 of a disk is offered", offers(0, (value) => value | 1 << 20)),
  row("dev.basic.features.1", "CONFIG_WCE without FLUSH", offers(0, (value) => value & ~(1 << 9))),
  row("dev.basic.features.5", "the offer changes", {
    read: ({ name }, value, spy) => {
      if (name !== "DeviceFeatures") return value;
      const count = (spy.notes.get("count") ?? 0) + 1;
      spy.notes.set("count", count);
      const first = spy.written.get("DeviceFeaturesSel") === 0;
      return count > 8 && first ? value & ~(1 << 9) : value;
    },
  }),
  row("dev.basic.reserved-features.1", "VERSION_1 is not offered", {
    read: ({ name }, value, spy) =>
      name === "DeviceFeatures" && spy.written.get("DeviceFeaturesSel") === 1 ? value & ~1 : value,
  }),
  row("dev.basic.reserved-features.5", "SR_IOV on MMIO", offers(1, (value) => value | 1 << 5)),
  row("dev.basic.config-space.1", "no configuration before FEATURES_OK", {
    read: ({ name }, value, spy) => {
      const settled = ((spy.written.get("Status") ?? 0) & FEATURES_OK) !== 0;
      return name.startsWith("config+") && !settled ? 0 : value;
    },
  }),
  row("dev.basic.vq-reset.1", "a queue goes on after its reset", fakeReset),
  row("dev.basic.vq-reset.2", "a queue starts where it was before its reset", fakeReset),
  row("dev.basic.vq-reenable.1", "a queue that starts again keeps its ring", fakeReset),
];

const SPLIT: readonly Mutant[] = [
  row("dev.split-ring.used-ring.1", "another id", onUse((s) => s.set32(s.usedEntry(), 7))),
  row("dev.split-ring.used-ring.1", "the used index does not move", {
    write({ name }, _value, _spy, forward) {
      if (name !== "QueueNotify") forward();
    },
  }),
  row(
    "dev.split-ring.used-ring.1",
    "the used index moves by two",
    onUse((s) => s.set16(s.part("Device") + 2, s.get16(s.part("Device") + 2) + 1)),
  ),
  row(
    "dev.split-ring.used-ring.2",
    "a length that was not written",
    onUse((s) => s.set32(s.usedEntry() + 4, s.get32(s.usedEntry() + 4) + 1)),
  ),
  row(
    "dev.split-ring.used-ring.2",
    "a length of 0",
    onUse((s) => s.set32(s.usedEntry() + 4, 0)),
  ),
  row(
    "dev.split-ring.desc-table.3",
    "a descriptor's length is changed",
    onUse((s) => s.set32(s.chain()[0]! + 8, 1)),
  ),
  row(
    "dev.split-ring.desc-table.1",
    "a device-readable byte is written",
    onUse((s) => s.memory[s.buffer(s.chain()[0]!)]! ^= 0xff),
  ),
  row(
    "dev.split-ring.desc-table.1",
    "a byte behind a device-readable buffer is written",
    onUse((s) => s.memory[s.buffer(s.chain()[0]!) + s.get32(s.chain()[0]! + 8)] = 1),
  ),
  row(
    "dev.split-ring.avail-suppress.1",
    "used.flags is 2",
    after((s) => s.set16(s.part("Device"), 2)),
  ),
  row(
    "dev.split-ring.avail-suppress.2",
    "used.flags is 1 with EVENT_IDX",
    after((s) => s.set16(s.part("Device"), s.accepted(EVENT_IDX) ? 1 : 0)),
  ),
  row(
    "dev.split-ring.avail-suppress.3",
    "each notification uses a buffer",
    after((s) => s.set16(s.part("Device") + 2, (s.notes.get("n") ?? 0) + 1)),
  ),
  row("dev.split-ring.used-suppress.3", "no interrupt", silent((s) => !s.accepted(EVENT_IDX))),
  row("dev.split-ring.used-suppress.2", "flags 1 is ignored", loud((s) => !s.accepted(EVENT_IDX))),
  row(
    "dev.split-ring.used-suppress.1",
    "used_event counts without EVENT_IDX",
    silent((s) => s.size > 0 && !s.accepted(EVENT_IDX) && usedEvent(s) > 100),
  ),
  row(
    "dev.split-ring.used-suppress.4",
    "flags count with EVENT_IDX",
    silent((s) => s.size > 0 && s.accepted(EVENT_IDX) && s.get16(s.part("Driver")) === 1),
  ),
  row(
    "dev.split-ring.used-suppress.5",
    "no interrupt with EVENT_IDX",
    silent((s) => s.accepted(EVENT_IDX)),
  ),
  row(
    "dev.split-ring.used-suppress.6",
    "used_event is ignored",
    loud((s) => s.accepted(EVENT_IDX)),
  ),
  row(
    "dev.split-ring.indirect.1",
    "WRITE of an indirect descriptor counts",
    unheard((s) => (s.get16(s.chain()[0]! + 12) & 6) === 6),
  ),
  row(
    "dev.split-ring.indirect.2",
    "an indirect descriptor must be alone",
    unheard((s) => s.chain().length > 1 && (s.get16(s.chain().at(-1)! + 12) & 4) !== 0),
  ),
  row(
    "dev.split-ring.framing.1",
    "a request has three descriptors or none",
    unheard((s) => s.chain().length !== 3),
  ),
  row(
    "dev.basic.reserved-features.3",
    "the last two used entries are the other way round",
    onUse((s) => {
      if (s.get16(s.part("Device") + 2) < 2) return;
      const [a, b] = [s.usedEntry(0), s.usedEntry(1)];
      const [x, y] = [s.get32(a), s.get32(b)];
      s.set32(a, y);
      s.set32(b, x);
    }),
    { options: { offer: { inOrder: true } } },
  ),
];

const packed = { options: { offer: { packed: true } } } as const;
/** The first descriptor of a packed ring after a notification, if it was used. */
const first = (tamper: (spy: Spy, at: number) => void): Mutation =>
  after((s) => {
    const at = s.part("Desc");
    if (s.accepted(34) && (s.get16(at + 14) & 0x8080) === 0x8080) tamper(s, at);
  });

const PACKED: readonly Mutant[] = [
  row("dev.packed-ring.layout.1", "another id", first((s, at) => s.set16(at + 12, 99)), packed),
  row(
    "dev.packed-ring.layout.2",
    "a used descriptor is written too late",
    first((s, at) => s.set16(at + 14, s.get16(at + 14) & ~0x8000)),
    packed,
  ),
  row(
    "dev.packed-ring.desc-table.4",
    "a used descriptor is written again",
    first((s, at) => {
      const count = (s.notes.get("used") ?? 0) + 1;
      s.notes.set("used", count);
      if (count > 1) s.set32(at + 8, 12345);
    }),
    packed,
  ),
  row("dev.packed-ring.desc-table.1", "a device-readable byte is written", {
    write({ name }, _value, spy, forward) {
      const at = spy.part("Desc");
      const readable = name === "QueueNotify" && spy.accepted(34) ? spy.buffer(at) : 0;
      forward();
      if (readable > 0) spy.memory[readable]! ^= 0xff;
    },
  }, packed),
  row("dev.packed-ring.desc-table.3", "AVAIL does not matter", {
    write({ name }, _value, spy, forward) {
      forward();
      const at = spy.part("Desc");
      if (name === "QueueNotify" && spy.accepted(34)) spy.set16(at + 14, 0x8080);
    },
  }, packed),
  row("dev.packed-ring.sg.1", "a list has three descriptors or none", {
    write({ name }, _value, spy, forward) {
      const at = spy.part("Desc") + 48;
      const long = spy.accepted(34) && (spy.get16(at + 14) & 1) !== 0;
      if (name !== "QueueNotify" || !long) forward();
    },
  }, packed),
];

/** A byte of a capability of some type, by its place in it. */
const capability = (type: number, at: number, seen: number): Mutation => ({
  read({ name, width }, value, spy) {
    const offset = Number(/^pci\+(\d+)$/.exec(name)?.[1] ?? -1);
    if (offset < 0x40) return value;
    // The walk reads the capability's id first, and cfg_type after that.
    if (width === 1 && value === 9) spy.notes.set("start", offset);
    const start = spy.notes.get("start") ?? 0;
    if (offset === start + 3 && value === type) spy.notes.set("found", start);
    return offset === (spy.notes.get("found") ?? -99) + at ? seen : value;
  },
});

/** `cap_len` of all virtio capabilities. */
const shortCapability: Mutation = {
  read({ name, width }, value, spy) {
    const offset = Number(/^pci\+(\d+)$/.exec(name)?.[1] ?? -1);
    if (offset >= 0x40 && width === 1 && value === 9) spy.notes.set("start", offset);
    return offset === (spy.notes.get("start") ?? -9) + 2 ? 8 : value;
  },
};

const PCI: readonly Mutant[] = [
  row("dev.pci.discovery.1", "another vendor", reads("pci+0", 0x1af5), pci),
  row("dev.pci.discovery.2", "another device id", reads("pci+2", 0x1055), pci),
  row("dev.pci.discovery.3", "a device id beyond the range", reads("pci+2", 0x1080), pci),
  row("dev.pci.discovery.4", "revision 0", reads("pci+8", 0), pci),
  row("dev.pci.discovery.5", "subsystem 2", reads("pci+46", 2), pci),
  row("dev.pci.legacy-discovery.1", "transitional, revision 1", reads("pci+8", 1), transitional),
  row("dev.pci.legacy-discovery.2", "transitional, no subsystem", reads("pci+46", 0), transitional),
  row(
    "dev.pci.legacy-discovery.3",
    "a device id before the range",
    reads("pci+2", 0xfff),
    transitional,
  ),
  row("dev.pci.caps.1", "cap_len is 8", shortCapability, pci),
  row("dev.pci.cfg-access.1", "no configuration access", capability(5, 3, 77), pci),
  row("dev.pci.isr.1", "no ISR", capability(3, 3, 77), pci),
  row("dev.pci.notify-cap.1", "no notifications", capability(2, 3, 77), pci),
  row("dev.pci.notify-cap.3", "the multiplier is 3", capability(2, 16, 3), pci),
  row("dev.pci.notify-cap.2", "an odd offset", capability(2, 8, 0x3001), pci),
  row("dev.pci.notify-cap.4", "a structure of one byte", capability(2, 12, 1), pci),
  row("dev.pci.device-cfg.1", "an odd device configuration", capability(4, 8, 0x2002), pci),
  row(
    "dev.pci.common-cfg.3",
    "words of features repeat",
    reads("device_feature", (value, spy) => {
      return (spy.written.get("device_feature_select") ?? 0) > 3 ? 1 : value;
    }),
    pci,
  ),
  row(
    "dev.pci.common-cfg.3",
    "a word of features is another one when it is read again",
    reads("device_feature", (value, spy) => {
      const times = (spy.notes.get("features") ?? 0) + 1;
      spy.notes.set("features", times);
      const known = (spy.written.get("device_feature_select") ?? 0) < 4;
      return known && times > 4 ? (value ^ 1) >>> 0 : value;
    }),
    pci,
  ),
  row("dev.pci.common-cfg.4", "driver_feature reads 0", reads("driver_feature", 0), pci),
  row(
    "dev.pci.common-cfg.4",
    "driver_feature keeps foreign bits",
    reads("driver_feature", (_value, spy) => spy.written.get("driver_feature") ?? 0),
    pci,
  ),
  row(
    "dev.pci.common-cfg.6",
    "device_status is not 0 after a reset",
    reads("device_status", (value) => value === 0 ? 1 : value),
    pci,
  ),
  row(
    "dev.pci.common-cfg.7",
    "queue_enable is 1 after a reset",
    reads("queue_enable", (value, spy) => spy.written.has("queue_enable") ? 1 : value),
    pci,
  ),
  row("dev.pci.common-cfg.8", "queue_reset is 1 after a reset", reads("queue_reset", 1), pci),
  row("dev.pci.common-cfg.10", "queue_reset does nothing", deaf("queue_reset"), pci),
  row(
    "dev.pci.common-cfg.11",
    "a queue reset never ends",
    reads("queue_reset", (value, spy) => spy.written.get("queue_reset") === 1 ? 1 : value),
    pci,
  ),
  row(
    "dev.pci.common-cfg.12",
    "queue_enable reads 1 after a queue reset",
    reads("queue_enable", (value, spy) => spy.written.get("queue_reset") === 1 ? 1 : value),
    pci,
  ),
  row(
    "dev.pci.common-cfg.13",
    "every queue has a size",
    reads("queue_size", (value) => value === 0 ? 64 : value),
    pci,
  ),
  row("dev.pci.common-cfg.14", "a size of 100", reads("queue_size", 100), pci),
  row("dev.pci.layout.1", "the upper half of an address is lost", reads("queue_desc_high", 0), pci),
  row("dev.pci.isr.3", "the ISR is never set", reads("isr", 0), pci),
  row("dev.pci.isr.5", "reading does not clear the ISR", {
    read: ({ name }, value, spy) => {
      if (name !== "isr") return value;
      spy.notes.set("isr", (spy.notes.get("isr") ?? 0) | value);
      return spy.notes.get("isr")!;
    },
  }, pci),
  row("dev.pci.isr.4", "no Interrupt Status", reads("pci+6", (value) => value & ~8), pci),
  row("dev.pci.msix.2", "a table of one vector", reads("pci+66", 0), pci),
  row("dev.pci.msix.4", "the last vector cannot be", {
    read: ({ name }, value) => name.endsWith("msix_vector") && value === 1 ? 0xffff : value,
  }, pci),
  row("dev.pci.msix.5", "a vector cannot be taken back", {
    read: ({ name }, value) => name.endsWith("msix_vector") && value === 0xffff ? 0 : value,
  }, pci),
  row("dev.pci.msix.6", "vectors do not read back", reads("queue_msix_vector", 0xffff), pci),
  row("dev.pci.msix.7", "a reset keeps the vectors", {
    read: ({ name }, value, spy) =>
      name.endsWith("msix_vector") ? spy.written.get(name) ?? value : value,
  }, pci),
  row("dev.pci.msix.9", "a vector beyond the table is taken", {
    read: ({ name }, value, spy) =>
      name.endsWith("msix_vector") ? spy.written.get(name) ?? value : value,
  }, pci),
];

/** A byte of the answer of a request of queue 0 with so much room: it becomes another one, or `seen`. */
const answersData = (room: number, offset: number, seen?: number): Mutation => ({
  write({ name }, value, spy, forward) {
    forward();
    // The queue that was set up last is the one for control.
    const part = /^Queue(?:Desc|Driver|Device)Low$/.test(name);
    if (part && spy.written.get("QueueSel") === 0) spy.notes.set(name, value);
    if (name !== "QueueNotify" || value !== 0) return;
    for (const part of ["Desc", "Driver", "Device"]) {
      spy.written.set(`Queue${part}Low`, spy.notes.get(`Queue${part}Low`)!);
    }
    const writable = spy.chain().filter((at) => (spy.get16(at + 12) & 2) !== 0);
    if (writable.reduce((sum, at) => sum + spy.get32(at + 8), 0) !== room) return;
    let from = offset;
    for (const at of writable) {
      const byte = spy.buffer(at) + from;
      const length = spy.get32(at + 8);
      if (from >= 0 && from < length) spy.memory[byte] = seen ?? spy.memory[byte]! ^ 1;
      from -= length;
    }
  },
});

/** Bytes of a report's zone, whose state is something, after the device was notified. */
const reported = (state: number, offset: number, seen: number): Mutation =>
  onUse((spy) => {
    const [header, room] = spy.chain();
    if (spy.get32(spy.buffer(header!)) !== 16) return;
    for (let at = spy.buffer(room!) + 64; spy.memory[at + 24] !== 0; at += 64) {
      if (spy.memory[at + 25] !== state) continue;
      spy.memory[at + offset] = seen;
      return;
    }
  });
/** A register of a zoned disk that is read after FEATURES_OK. */
const agreed = (offset: number, seen: number): Mutation =>
  config(
    offset,
    (value, spy) => ((spy.written.get("Status") ?? 0) & FEATURES_OK) !== 0 ? seen : value,
  );

const managed = { model: () => zonedDisk() };
const aware = { model: () => zonedDisk("host-aware") };

/** Requests of zoned disks: types that are answered with another status. */
const ZONED_STATUSES = [
  ["dev.blk.operation.14", "OPEN of a conventional zone is OK", 18],
  ["dev.blk.operation.14", "CLOSE of a conventional zone is OK", 20],
  ["dev.blk.operation.14", "FINISH of a conventional zone is OK", 22],
  ["dev.blk.operation.14", "RESET of a conventional zone is OK", 24],
  ["dev.blk.operation.15", "APPEND to a conventional zone is OK", 15],
  ["dev.blk.operation.16", "OPEN of a full zone is OK", 18],
  ["dev.blk.operation.17", "OPEN of one zone too many is OK", 18],
  ["dev.blk.operation.18", "CLOSE of a full zone is OK", 20],
  ["dev.blk.operation.19", "FINISH of a read-only zone is OK", 22],
  ["dev.blk.operation.20", "RESET of a read-only zone is OK", 24],
  ["dev.blk.operation.21", "a write opens one zone too many", 1],
  ["dev.blk.operation.21", "an append opens one zone too many", 15],
  ["dev.blk.operation.22", "APPEND inside of a zone is OK", 15],
  ["dev.blk.operation.23", "a write to a full zone is OK", 1],
  ["dev.blk.operation.26", "an append of too much is OK", 15],
  ["dev.blk.operation.27", "a read over a border is OK", 0],
  ["dev.blk.operation.28", "a write behind the write pointer is OK", 1],
  ["dev.blk.operation.29", "a write to a read-only zone is OK", 1],
  ["dev.blk.operation.30", "a read of an offline zone is OK", 0],
] as const;

const ZONED: readonly Mutant[] = [
  ...ZONED_STATUSES.map(([clause, name, type]) => row(clause, name, status([type], 0), managed)),
  row("dev.blk.operation.24", "append_sector is one further", answers(0, 77), managed),
  row(
    "dev.blk.operation.31",
    "a reset keeps the data",
    onUse((spy) => {
      const [header, room] = spy.chain();
      if (spy.get32(spy.buffer(header!)) !== 0) return;
      spy.memory.fill(0x5a, spy.buffer(room!), spy.buffer(room!) + 512);
    }),
    managed,
  ),
  row("dev.blk.init.6", "a legacy disk offers ZONED", offers(0, (value) => value | 1 << 17), {
    ...managed,
    options: { version: 1 },
  }),
  row("dev.blk.init.7", "the zoned part is there without ZONED", agreed(72, 128), aware),
  row(
    "dev.blk.init.8",
    "FEATURES_OK without ZONED",
    reads("Status", (value, spy) => spy.accepted(17) ? value : value | FEATURES_OK),
    managed,
  ),
  row("dev.blk.init.9", "a model of 3", config(92, 3), managed),
  row("dev.blk.init.10", "zones of no sectors", config(72, 0), managed),
  row("dev.blk.init.11", "more open zones than active ones", config(76, 4), managed),
  row("dev.blk.init.13", "appends of more than a zone", config(84, 129), managed),
  row("dev.blk.init.14", "appends of more than a request", config(12, 0), managed),
  row("dev.blk.init.15", "a granularity of half a sector", config(88, 256), managed),
  row("dev.blk.init.16", "padding is not 0", config(94, 1), managed),
  row("virtio 1.4 §5.2.6", "a written zone stays empty", reported(2, 25, 1), managed),
  row("virtio 1.4 §5.2.6", "a closed zone is open", reported(4, 25, 3), managed),
  row("dev.blk.operation.23", "an append to a full zone is OK", status([15], 0), managed),
  row("virtio 1.4 §5.2.6", "a report without room is OK", status([16], 0), managed),
  row("virtio 1.4 §5.2.6", "a zone of no type", reported(1, 24, 4), managed),
];

const DEVICES: readonly Mutant[] = [
  row("dev.rng.operation.1", "no byte", onUse((s) => s.set32(s.usedEntry() + 4, 0)), {
    model: rng,
  }),
  row("dev.blk.operation.2", "a write to a read-only disk is OK", status([1], 0), {
    model: readOnlyDisk,
  }),
  row("dev.blk.operation.13", "zone requests are OK", status([15, 16, 18, 20, 22, 24, 26], 0)),
  row("dev.blk.operation.4", "unknown flags are OK", status([11, 13, 14], 0)),
  row("dev.blk.operation.5", "discard may unmap", status([11], 0)),
  row("dev.blk.init.1", "no FLUSH", offers(0, (value) => value & ~(1 << 9))),
  row("dev.blk.init.3", "a cache without FLUSH", config(32, 1)),
  row("dev.blk.init.4", "padding is not 0", config(57, 1)),
  ...ZONED,
  row("dev.net.config.1", "no pairs", config(8, 0), { model: net }),
  row("dev.net.config.2", "an mtu of 20", config(10, 20), { model: net }),
  row("dev.net.config.4", "the mtu changes", config(10, (_, s) => 1000 + s.written.size), {
    model: net,
  }),
  row("dev.net.rx-filter.1", "PROMISC is refused", answers(0, 1), { model: net }),
  row("dev.net.rx-filter.5", "ALLUNI is refused", answers(0, 1), { model: net }),
  row("dev.net.mac-filter.3", "mac does not follow MAC_ADDR_SET", config(1, 0x54), { model: net }),
  row("dev.basic.features.1", "HOST_USO without CSUM", offers(0, (value) => value & ~1), {
    model: net,
  }),
  row("dev.basic.features.1", "GUEST_USO4 without GUEST_CSUM", offers(0, (value) => value & ~2), {
    model: net,
  }),
  row("dev.net.config.7", "a hash key of 39 bytes", config(17, 39), { model: net }),
  row("dev.net.config.8", "a table of 127 entries", config(18, 127), { model: net }),
  row(
    "dev.net.config.12",
    "HASH_REPORT without CTRL_VQ",
    offers(0, (value) => value & ~(1 << 17)),
    {
      model: net,
    },
  ),
  row("dev.net.rss.1", "RSS_CONFIG is refused", answers(0, 1), { model: net }),
  row("dev.net.coalescing.1", "the reserved field counts", answers(1, 99), { model: net }),
  row("dev.net.coalescing.2", "TX_SET is refused", answers(0, 1), { model: net }),
  row("dev.net.coalescing.4", "the control queue is coalesced", answers(0, 0), { model: net }),
  row("dev.net.coalescing.8", "a reset keeps the parameters", answers(1, 3), { model: net }),
  row("dev.scsi.config.1", "a reset keeps sense_size", config(20, 64), { model: scsi }),
  row("dev.scsi.requestq.1", "an unknown command is GOOD", answers(10, 0), { model: scsi }),
  row("dev.scsi.requestq.2", "an unknown response", answers(11, 77), { model: scsi }),
  row("virtio 1.4 §5.7.4", "blobs are aligned to 3 bytes", config(16, 3), {
    model: () => blobGpu(),
  }),
  row("dev.input.init.1", "a size for everything", config(2, 8), { model: input }),
  row("dev.vsock.rxtx.1", "the host's CID", config(0, 2), { model: vsock }),
  row("dev.vsock.rxtx.2", "an unknown type gets no answer", deaf("QueueNotify"), { model: vsock }),
  row("dev.console.multiport.1", "a port beyond max_nr_ports", config(4, 1), { model: terminal }),
  row("dev.crypto.config.1", "no data queue", config(4, 0), { model: cryptoDevice }),
  row("dev.crypto.config.3", "an undefined status", config(0, 3), { model: cryptoDevice }),
  row("dev.crypto.config.5", "no service", config(8, 0), { model: cryptoDevice }),
  row("dev.crypto.config.6", "no hash", config(20, 0), { model: cryptoDevice }),
  row("dev.crypto.config.7", "an undefined hash", config(20, 0x80000008), { model: cryptoDevice }),
  row("dev.crypto.config.8", "a size of 0", config(48, 0), { model: cryptoDevice }),
  row("dev.crypto.config.9", "no cipher key", config(36, 0), { model: cryptoDevice }),
  row("dev.crypto.config.10", "no MAC key", config(40, 0), { model: cryptoDevice }),
  row("dev.crypto.session-create.3", "an unknown status", answers(8, 99), { model: cryptoDevice }),
  row("dev.crypto.session-create.4", "one id for all", answers(0, 1), { model: cryptoDevice }),
  ...[["text", "dev.crypto.sym.5", 20], ["part that is not ciphered", "dev.crypto.sym.4", 3], [
    "digest",
    "dev.crypto.sym.7",
    70,
  ], ["digest with additional data", "dev.crypto.sym.6", 70]].map(([what, clause, offset]) =>
    row(`${clause}`, `another ${what}`, answersData(97, Number(offset)), { model: cryptoDevice })
  ),
  row("dev.crypto.sym.8", "OK for bytes behind the source", answersData(97, 96, 0), {
    model: cryptoDevice,
  }),
  row("dev.crypto.akcipher.2", "another signature", answersData(73, 12), { model: cryptoDevice }),
  row("dev.crypto.akcipher.3", "a bad signature is OK", answersData(1, 0, 0), {
    model: cryptoDevice,
  }),
  row("dev.crypto.session-destroy.1", "an unknown status", answers(0, 9), { model: cryptoDevice }),
];

/**
 * A device that something kills: it answers nothing until it is initialized twice more, so the check that killed it
 * sees no clean request, and the next one finds it alive.
 *
 * @param deadly Whether an access, and what is read or written, kills.
 */
const dies = (
  deadly: (access: Access, value: number, spy: Spy, writes: boolean) => boolean,
  silently = true,
): Mutation => {
  const strike = (access: Access, value: number, spy: Spy, writes: boolean): void => {
    if ((spy.notes.get("dead") ?? 0) === 0 && deadly(access, value, spy, writes)) {
      spy.notes.set("dead", 1);
    }
  };
  return {
    read(access, value, spy) {
      strike(access, value, spy, false);
      // A type of device without a request that is known to work has no features to agree on then.
      if (silently || access.name !== "Status" || (spy.notes.get("dead") ?? 0) < 2) return value;
      if ((value & FEATURES_OK) !== 0) spy.notes.set("dead", 3);
      return value & ~FEATURES_OK;
    },
    write(access, value, spy, forward) {
      const dead = spy.notes.get("dead") ?? 0;
      const { name } = access;
      if (/^(?:device_status|Status)$/.test(name) && value === 0) {
        if (dead !== 0) spy.notes.set("dead", dead === 3 ? 0 : 2);
      } else if (/^(?:QueueNotify|queue_notify|notify)$/.test(name) && dead >= 2) {
        return void spy.notes.set("dead", 3);
      }
      forward();
      strike(access, value, spy, true);
    },
  };
};

const needsReset = dies(({ name }, value, _, writes) =>
  !writes && /^(?:device_status|Status)$/.test(name) && (value & 0x40) !== 0
);
/** A device that a request kills whose last device-writable byte, its status, is not 0. */
const refused = dies(({ name }, _value, spy, writes) => {
  if (!writes || !/^(?:QueueNotify|notify)$/.test(name) || spy.size === 0) return false;
  const last = spy.chain().findLast((at) => (spy.get16(at + 12) & 2) !== 0);
  if (last === undefined || spy.get16(spy.part("Device") + 2) === 0) return false;
  return spy.memory[spy.buffer(last) + spy.get32(last + 8) - 1] !== 0;
});
const READABLE: ReadonlySet<string> = new Set([
  ...["MagicValue", "Version", "DeviceID", "VendorID", "DeviceFeatures", "QueueSizeMax"],
  ...["QueueReady", "InterruptStatus", "Status", "QueueReset", "ConfigGeneration"],
  ...["SHMLenLow", "SHMLenHigh", "SHMBaseLow", "SHMBaseHigh"],
]);
const READ_ONLY: ReadonlySet<string> = new Set([
  ...["MagicValue", "Version", "DeviceID", "VendorID", "DeviceFeatures", "QueueSizeMax"],
  ...["InterruptStatus", "ConfigGeneration"],
]);
/** Describes a request by its queue, the bytes of either kind, and the first four as a number. */
interface Shape {
  readonly queue: number;
  readonly readable: number;
  readonly writable: number;
  readonly first: number;
}
const shapeOf = (queue: number, spy: Spy): Shape => {
  spy.select(queue);
  const sum = (chain: readonly number[]): number =>
    chain.reduce((sum, at) => sum + spy.get32(at + 8), 0);
  const readable = spy.chain().filter((at) => (spy.get16(at + 12) & 2) === 0);
  const writable = spy.chain().filter((at) => (spy.get16(at + 12) & 2) !== 0);
  const first = readable[0] === undefined ? 0 : spy.get32(spy.buffer(readable[0]));
  return { queue, readable: sum(readable), writable: sum(writable), first };
};
/** A device that requests kill which are not as usual. */
const strange = (usual: (shape: Shape) => boolean, silently = true): Mutation =>
  dies(
    ({ name }, queue, spy, writes) =>
      writes && name === "QueueNotify" && spy.size > 0 && !usual(shapeOf(queue, spy)),
    silently,
  );
/** Requests that the device does not notice. */
const ignores = (what: (shape: Shape, spy: Spy) => boolean): Mutation => ({
  write({ name }, queue, spy, forward) {
    if (name !== "QueueNotify" || spy.size === 0 || !what(shapeOf(queue, spy), spy)) forward();
  },
});
/** Writes the answers of a queue over. */
const answersOn = (
  queue: number,
  tamper: (answer: Uint8Array, shape: Shape) => void,
): Mutation => ({
  write({ name }, value, spy, forward) {
    forward();
    if (name !== "QueueNotify" || value !== queue || spy.size === 0) return;
    const shape = shapeOf(queue, spy);
    const room = spy.chain().find((at) => (spy.get16(at + 12) & 2) !== 0);
    if (room === undefined) return;
    const at = spy.buffer(room);
    tamper(spy.memory.subarray(at, at + spy.get32(room + 8)), shape);
  },
});
/** A configuration that is as it was written. */
const writable: Mutation = {
  read: ({ name }, value, spy) =>
    name.startsWith("config+") ? spy.written.get(name) ?? value : value,
};
const header = (at: number, seen: number) => (_: Shape, spy: Spy): boolean =>
  spy.memory[spy.buffer(spy.chain()[0]!) + at] === seen;
const old = { options: { version: 1 } } as const;
const gpu = (): DeviceModel => new GpuDevice();
const blobGpu = (): DeviceModel => new GpuDevice({ blob: true, blobAlignment: 4096 });
const p9 = (): DeviceModel => new P9Device({ tree: new MemoryTree({}), tag: "share" });
const serial = (): DeviceModel => new RprocSerialDevice(loopbackPort());
const caif = (): DeviceModel => new CaifDevice({ onFrame: () => {} });
const rpmsg = (): DeviceModel => new RpmsgDevice({ services: [] });
const balloon = (): DeviceModel => new BalloonDevice();

/** Devices that what a driver must not do harms for longer than until the next reset. */
const FRAGILE: readonly Mutant[] = [
  row(
    "drv.mmio.layout.2",
    "dies at accesses of a byte or two",
    dies(({ name, width }) => !name.startsWith("config") && width !== 4),
  ),
  row(
    "drv.mmio.layout.1",
    "dies at a read that is not allowed",
    dies(({ name }, _, __, writes) => !writes && !name.startsWith("config") && !READABLE.has(name)),
  ),
  row(
    "drv.mmio.layout.1",
    "dies at a write that is not allowed",
    dies(({ name }, _, __, writes) => writes && (READ_ONLY.has(name) || name.startsWith("+"))),
  ),
  row(
    "drv.mmio.layout.10",
    "dies at a size that is no power of two",
    dies(({ name }, value, _, writes) =>
      writes && name === "QueueSize" && (value === 0 || (value & (value - 1)) !== 0)
    ),
  ),
  row(
    "virtio 1.4 §2.3",
    "dies at notifications of queues that there are not",
    dies(({ name }, value, _, writes) => writes && name === "QueueNotify" && value > 8),
  ),
  row(
    "dev.basic.features.3",
    "dies at features that it refuses",
    dies(({ name }, value, spy, writes) =>
      !writes && name === "Status" && (value & FEATURES_OK) === 0 &&
      ((spy.written.get("Status") ?? 0) & FEATURES_OK) !== 0
    ),
    { model: net },
  ),
  row("dev.basic.status.2", "a reset does not help a disk that needs one", needsReset),
  row("dev.basic.status.2", "a reset does not help a packed disk that needs one", needsReset, {
    options: { offer: { packed: true } },
  }),
  row("dev.basic.status.2", "a reset does not help a network device that needs one", needsReset, {
    model: net,
  }),
  row("dev.basic.status.2", "a reset does not help a console that needs one", needsReset, {
    model: terminal,
  }),
  row("dev.basic.status.2", "a reset does not help a GPU that needs one", needsReset, {
    model: gpu,
  }),
  row("dev.basic.status.2", "a reset does not help a SCSI host that needs one", needsReset, {
    model: scsi,
  }),
  row("dev.basic.status.2", "a reset does not help a crypto device that needs one", needsReset, {
    model: cryptoDevice,
  }),
  row("dev.basic.status.2", "a reset does not help a balloon that needs one", needsReset, {
    model: balloon,
  }),
  row("dev.basic.status.2", "a reset does not help a PCI function that needs one", needsReset, pci),
  row("virtio 1.4 §5.2.6", "a disk dies at requests that it refuses", refused),
  row("virtio 1.4 §5.1.9.5", "a network device dies at commands that it refuses", refused, {
    model: net,
  }),
  row(
    "drv.pci.layout.1",
    "dies at accesses of another width",
    dies(({ name, width }) =>
      name in COMMON && width !== COMMON[name as keyof typeof COMMON].width
    ),
    pci,
  ),
  row(
    "drv.pci.common-cfg.1",
    "dies at writes of registers that are read-only",
    dies(({ name }, _, __, writes) =>
      writes && /^(?:device_feature|num_queues|config_generation|queue_notify_off)$/.test(name)
    ),
    pci,
  ),
];

/** Devices that requests which make no sense harm for longer than until the next reset, and answers that are wrong. */
const OTHERS: readonly Mutant[] = [
  row(
    "virtio 1.4 §5.3.6",
    "a console dies at what no port sends",
    strange(({ queue, readable, writable }) =>
      queue === 0 ? readable === 0 : queue === 1 ? writable === 0 && readable < 4096 : true
    ),
    { model: terminal },
  ),
  row(
    "virtio 1.4 §5.3.6.2",
    "a console dies at control messages",
    strange(({ queue }) => queue !== 3),
    { model: terminal },
  ),
  row(
    "virtio 1.4 §5.5.6",
    "a balloon dies at pages that it cannot take",
    strange(({ queue, readable, writable, first }) =>
      queue > 1 || readable === 4 && writable === 0 && first < 0x7fffffff && queue === 0
    ),
    { model: balloon },
  ),
  row("virtio 1.4 §5.5.6", "a balloon keeps its pages", deaf("QueueNotify", (q) => q === 1), {
    model: balloon,
  }),
  row("virtio 1.4 §5.5.4", "actual is never what was written", config(4, 0), { model: balloon }),
  row("dev.balloon.stats.1", "a balloon dies at an unknown statistic", {
    write(_, value, spy, forward) {
      if (_.name === "QueueNotify" && value === 2) spy.notes.set("deaf", 1);
      if (_.name === "Status" && value === 0) spy.notes.set("deaf", 0);
      if (_.name !== "QueueNotify" || spy.notes.get("deaf") !== 1) forward();
    },
  }, { model: balloon }),
  row("virtio 1.4 §5.5.4", "the balloon's size is as it was written", writable, { model: balloon }),
  row(
    "virtio 1.4 §5.14",
    "9P dies at other messages than Tversion",
    strange(({ readable, writable, first }) => readable === 21 && writable === 64 && first === 21),
    { model: p9 },
  ),
  row("virtio 1.4 §5.14", "9P answers with another tag", answersOn(0, (a) => a[5] = 9), {
    model: p9,
  }),
  row(
    "virtio 1.4 §5.14",
    "9P refuses with another tag",
    answersOn(0, (a) => a[4] === 7 && (a[5] = 9)),
    { model: p9 },
  ),
  row("virtio 1.4 §5.14", "9P knows every version and file", answersOn(0, (a) => a[4] = 127), {
    model: p9,
  }),
  row(
    "virtio 1.4 §5.7.6",
    "a GPU dies at other commands than GET_DISPLAY_INFO",
    strange(({ queue, readable, writable, first }) =>
      queue === 0 && first === 0x100 && readable === 24 && writable === 408
    ),
    { model: gpu },
  ),
  row(
    "virtio 1.4 §5.7.6.7",
    "every command of a GPU is OK",
    answersOn(0, (answer, { first }) => {
      if (first !== 0x100 && answer[1] === 0x12) answer.set([0, 0x11]);
    }),
    { model: gpu },
  ),
  row("virtio 1.4 §5.7.6.7", "a GPU forgets fences", answersOn(0, (answer) => answer[4] = 0), {
    model: gpu,
  }),
  row(
    "virtio 1.4 §5.7.6.8",
    "a GPU's EDID has another sum",
    answersOn(0, (answer) => answer[60]! ^= 1),
    { model: gpu },
  ),
  row("virtio 1.4 §5.7.4", "a GPU without displays", config(8, 0), { model: gpu }),
  row("virtio 1.4 §5.7.4", "a GPU's configuration is as it was written", writable, { model: gpu }),
  row("virtio 1.4 §5.8.4", "an input device without a name", config(2, 0), { model: input }),
  row("drv.input.init.2", "an input device's configuration is as it was written", writable, {
    model: input,
  }),
  row(
    "virtio 1.4 §5.8.6",
    "an input device dies at events that there are not",
    strange(({ queue, readable, writable, first }) =>
      queue === 1 ? readable === 8 && writable === 0 && first === 0x11 : writable === 8
    ),
    { model: input },
  ),
  row(
    "virtio 1.4 §5.3.6",
    "a remote processor's line dies at what it does not send",
    strange(({ queue, readable, writable }) => queue === 0 ? readable === 0 : writable === 0),
    { model: serial },
  ),
  row(
    "Linux virtio_rpmsg_bus.c",
    "a remote processor dies at messages for nobody",
    strange(({ queue, readable, first }) => queue === 0 || readable === 17 && first === 1024),
    { model: rpmsg },
  ),
  row("Linux caif_virtio.c", "a modem dies at frames", strange(() => false, false), {
    model: caif,
  }),
  row("virtio 1.4 §5.4.6", "always the same bytes", answersOn(0, (answer) => answer.fill(7)), {
    model: rng,
  }),
  row("virtio 1.4 §5.6.4", "a SCSI host without request queues", config(0, 0), { model: scsi }),
  row("virtio 1.4 §5.3.4", "a console's configuration is as it was written", writable, {
    model: terminal,
  }),
  row("drv.net.config.1", "a network device's configuration is as it was written", writable, {
    model: net,
  }),
  row("virtio 1.4 §5.1.4", "a multicast address", config(0, (value) => value | 1), { model: net }),
  row("virtio 1.4 §5.1.4", "an undefined bit of status", config(6, (value) => value | 4), {
    model: net,
  }),
  row("dev.net.config.9", "a speed of -2", config(12, 0xfffffffe), { model: net }),
  row("dev.net.tx.1", "flags without a meaning count", ignores(header(0, 0x80)), { model: net }),
  row("dev.net.tx.2", "csum_start counts without NEEDS_CSUM", ignores(header(6, 0xff)), {
    model: net,
  }),
  row("dev.net.tx.4", "hdr_len is trusted", ignores(header(2, 0xff)), { model: net }),
  row("virtio 1.4 §5.1.9.2", "datagrams are not cut", ignores(header(1, 5)), { model: net }),
  row(
    "virtio 1.4 §5.1.9",
    "a network device dies at commands that are cut",
    strange(({ queue, readable, writable }) => queue < 2 || readable > 1 && writable > 0),
    { model: net },
  ),
  row("dev.basic.features.3", "a GPU dies at features that it refuses", {
    ...dies(({ name }, value, spy, writes) =>
      !writes && name === "Status" && (value & FEATURES_OK) === 0 &&
      ((spy.written.get("Status") ?? 0) & FEATURES_OK) !== 0
    ),
  }, { model: blobGpu }),
  row("dev.basic.features.1", "BLOB_ALIGNMENT without blobs", offers(0, (v) => v & ~(1 << 3)), {
    model: blobGpu,
  }),
  row("dev.basic.features.1", "stateless modes without REVISION_1", offers(0, (v) => v & ~1), {
    model: cryptoDevice,
  }),
  row("dev.basic.features.1", "ECN without segmentation", offers(0, (v) => v & ~0x1980), {
    model: net,
  }),
  row("dev.basic.features.1", "packed rings without VERSION_1", offers(1, (v) => v & ~1), {
    options: { offer: { packed: true, inOrder: true, notificationData: true } },
  }),
  ...[terminal, rng, balloon, scsi, gpu, input, vsock, cryptoDevice].map((model, i) =>
    row("dev.basic.features.4", `bit 23 is offered, device ${i}`, offers(0, (v) => v | 1 << 23), {
      model,
    })
  ),
  row("dev.basic.features.4", "bit 4 of a network device", offers(0, (v) => v | 1 << 4), {
    model: net,
  }),
  row("dev.basic.features.4", "bit 26 is offered", offers(0, (v) => v | 1 << 26)),
  row("dev.basic.features.4", "bit 31 is offered", offers(0, (v) => v | 1 << 31)),
  row("dev.basic.features.4", "bit 42 is offered", offers(1, (v) => v | 1 << 10)),
  row("dev.basic.features.4", "ADMIN_VQ on MMIO", offers(1, (v) => v | 1 << 9)),
  row("dev.basic.features.4", "NOTIF_CONFIG_DATA on MMIO", offers(1, (v) => v | 1 << 7)),
  row("dev.basic.legacy-reserved-features.3", "bit 30", offers(0, (v) => v | 1 << 30), old),
  row("dev.basic.legacy-reserved-features.2", "no ANY_LAYOUT", offers(0, (v) => v & ~(1 << 27)), {
    ...old,
  }),
  row("dev.basic.legacy-features.1", "a legacy disk hears nothing", deaf("QueueNotify"), old),
  row("dev.basic.legacy-init.2", "a legacy disk never begins", {
    write({ name }, value, _spy, forward) {
      if (name !== "QueueNotify" && (name !== "Status" || (value & DRIVER_OK) === 0)) forward();
    },
  }, old),
  row(
    "virtio 1.4 §4.2.4",
    "a legacy version of 7",
    reads("Version", (value, spy) => {
      const seen = spy.notes.get("version") ?? 0;
      spy.notes.set("version", 1);
      return seen === 0 ? value : 7;
    }),
    old,
  ),
  row(
    "virtio 1.4 §4.2.4",
    "a legacy disk dies at other pages than of 4096 bytes",
    dies(({ name }, value, _, writes) => writes && name === "GuestPageSize" && value !== 4096),
    old,
  ),
  row("dev.basic.status.2", "a reset does not help a legacy disk that needs one", needsReset, old),
  row("dev.crypto.config.6", "no cipher", config(12, 0), { model: cryptoDevice }),
  row("dev.crypto.config.6", "no AEAD", config(32, 0), { model: cryptoDevice }),
  row("dev.crypto.config.6", "no public keys", config(44, 0), { model: cryptoDevice }),
  row("dev.crypto.config.7", "an undefined cipher", config(12, 0x80000008), {
    model: cryptoDevice,
  }),
  row("dev.crypto.config.7", "an undefined AEAD", config(32, 0x80000000), { model: cryptoDevice }),
  row("dev.crypto.config.7", "undefined public keys", config(44, 0x80000000), {
    model: cryptoDevice,
  }),
  row("virtio 1.4 §4.1.4", "a structure behind its BAR", capability(2, 12, 0x7fffffff), pci),
  row("dev.pci.common-cfg.1", "an odd common structure", capability(1, 8, 2), pci),
];

/** All of them: each is sound but for one rule. */
export const MUTANTS: readonly Mutant[] = [
  ...MMIO,
  ...BASIC,
  ...SPLIT,
  ...PACKED,
  ...PCI,
  ...DEVICES,
  ...FRAGILE,
  ...OTHERS,
  {
    name: "never suspended",
    clause: "dev.basic.suspend.6",
    options: { ring: { suspend: true } },
    mutation: reads("Status", (value) => (value & SUSPEND) === 0 ? value : 0xf),
  },
  {
    name: "suspended for good",
    clause: "dev.basic.suspend.7",
    options: { ring: { suspend: true } },
    mutation: {
      write(access, value, spy, forward) {
        const asleep = spy.notes.get("asleep") === 1;
        if (access.name === "Status") spy.notes.set("asleep", (value & SUSPEND) === 0 ? 0 : 1);
        if (access.name !== "Status" || !asleep || value === 0) forward();
      },
    },
  },
  {
    name: "SUSPEND kept before DRIVER_OK",
    clause: "dev.basic.suspend.1",
    options: { ring: { suspend: true } },
    mutation: {
      read(access, value, spy) {
        const early = ((spy.written.get("Status") ?? 0) & (SUSPEND | DRIVER_OK)) === SUSPEND;
        return access.name === "Status" && early ? value | SUSPEND : value;
      },
    },
  },
  {
    name: "answers while suspended",
    clause: "dev.basic.suspend.3",
    options: { ring: { suspend: true } },
    mutation: {
      write(access, _value, spy, forward) {
        forward();
        if (access.name !== "QueueNotify") return;
        if (((spy.written.get("Status") ?? 0) & SUSPEND) === 0) return;
        spy.set16(spy.part("Device") + 2, spy.get16(spy.part("Device") + 2) + 1);
      },
    },
  },
  {
    name: "answers once it goes on",
    clause: "dev.basic.suspend.8",
    options: { ring: { suspend: true } },
    mutation: {
      write(access, value, spy, forward) {
        const asleep = ((spy.written.get("asleep") ?? 0) & SUSPEND) !== 0;
        forward();
        if (access.name !== "Status") return;
        spy.written.set("asleep", value);
        const index = spy.size === 0 ? 0 : spy.part("Device") + 2;
        if (index === 0 || asleep === ((value & SUSPEND) !== 0)) return;
        if (asleep) spy.set16(index, spy.notes.get("answered")!);
        else {
          spy.notes.set("answered", spy.get16(index));
          spy.set16(index, 0);
        }
      },
    },
  },
];

/** Devices at the ends of what a clause allows: its checks must not fail them. */
export const SOUND: readonly Mutant[] = [
  ...[0x1000, 0x103f].map((id) =>
    row(
      "dev.pci.legacy-discovery.3",
      `device id 0x${id.toString(16)}`,
      reads("pci+2", id),
      transitional,
    )
  ),
  row(
    "virtio 1.4 §2.7",
    "queues of 32768 at most",
    reads("QueueSizeMax", (value) => value === 0 ? 0 : 32768),
  ),
  row("dev.blk.init.11", "as many open zones as active ones", config(76, 3), managed),
  row("dev.blk.init.13", "appends of a whole zone", config(84, 128), managed),
  row("dev.blk.init.9", "a model of 2", config(92, 2), managed),
  row("dev.net.config.2", "an mtu of 68", config(10, 68), { model: net }),
  row("dev.net.config.7", "a hash key of 40 bytes", config(17, 40), { model: net }),
  row("dev.net.config.8", "a table of 128 entries", config(18, 128), { model: net }),
];
