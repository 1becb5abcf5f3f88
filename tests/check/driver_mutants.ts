/**
 * Drivers that break one rule each: small scripts that take a device from its driver and drive it by hand.
 *
 * @module
 */
import type { DmaRegion } from "@vireo/hal";
import { CheckContext } from "../../firmware/check/context.ts";
import { Random } from "../../firmware/check/random.ts";
import { Arena } from "../../firmware/check/raw/arena.ts";
import { Log } from "../../firmware/check/raw/log.ts";
import { RawMmio } from "../../firmware/check/raw/mmio.ts";
import { RawPci } from "../../firmware/check/raw/pci.ts";
import { DESC, FEATURE, MMIO, STATUS } from "../../firmware/check/raw/registers.ts";
import type { Vireo } from "../../firmware/vireo.ts";

const RNG = 4;
const BLK = 2;
const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, FAILED } = STATUS;
const READY = ACKNOWLEDGE | DRIVER;

/** Functions by which a script drives a device. */
interface Hands {
  /** Words for requests, and the registers. */
  readonly context: CheckContext;
  /** The board. */
  readonly vireo: Vireo;
  /** The memory of rings and buffers. */
  readonly region: DmaRegion;
}

/** An action of a hand-driven script. */
type Deed = (hands: Hands) => void | Promise<void>;

/** A driver with one rule broken. */
export interface DriverMutant {
  /** Mistake of the mutant. */
  readonly name: string;
  /** The rule that it breaks. */
  readonly rule: string;
  /** The clause of the rule. */
  readonly clause: string;
  /** The schedule that shows it; `plain` by default. */
  readonly schedule?: string;
  /** Virtio id of the device; an entropy device by default. */
  readonly device?: number;
  /** Whether the clause is a SHOULD, so that the row deviates. */
  readonly should?: true;
  /** Action instead of {@linkcode sound}. */
  readonly deed?: Deed;
  /** Action on the slot before anything else, instead of reading MagicValue. */
  readonly open?: (read: (name: keyof typeof MMIO) => number, write: Write) => void;
}

type Write = (name: keyof typeof MMIO, value: number) => void;

/** Initializes the device, makes a request and resets it, as the specification has it. */
export async function sound({ context }: Hands): Promise<void> {
  const packed = context.offered().has(FEATURE.RING_PACKED);
  await context.init({ packed, features: [FEATURE.IN_ORDER] });
  await context.cleanRequest();
}

/** Takes a device from its driver and does something with it. */
export function byHand(
  device: number = RNG,
  deed: Deed = sound,
  open: NonNullable<DriverMutant["open"]> = (read) => void read("MagicValue"),
): (vireo: Vireo) => Promise<void> {
  return async (vireo) => {
    const bound = vireo.bus.devices.find(({ deviceId }) => deviceId === device)!;
    const { name } = bound.transport;
    await vireo.bus.removeDevice(bound);
    const node = vireo.platform.nodes().find((node) => node.name === name)!;
    const log = new Log();
    if (node.kind === "mmio") {
      const { mmio } = node.open();
      open((name) => mmio.read32(MMIO[name].offset), (name, value) => {
        mmio.write32(MMIO[name].offset, value);
      });
      using raw = RawMmio.open({
        ...node,
        open: () => ({ ...node, mmio, [Symbol.dispose]() {} }) as never,
      }, log)!;
      await drive(vireo, raw, log, deed);
    } else if (node.kind === "pci") {
      using raw = RawPci.open(node, log)!;
      await drive(vireo, raw, log, deed);
    }
  };
}

async function drive(vireo: Vireo, raw: RawMmio | RawPci, log: Log, deed: Deed): Promise<void> {
  const region = vireo.platform.dma.alloc(1 << 20, { align: 4096, coherent: true });
  const arena = new Arena(region, log);
  const pace = { deadline: 100, quiet: 0 };
  const context = new CheckContext(raw, arena, log, new Random(1), pace);
  await deed({ context, vireo, region });
  await context.reset();
  region[Symbol.dispose]();
}

/** Initializes the device, with something else after a step. */
const after = (
  until: "driver" | "features" | "queues" | "running",
  deed: Deed,
  features: readonly number[] = [],
): Deed =>
async (hands) => {
  const packed = features.includes(FEATURE.RING_PACKED);
  await hands.context.init({ until, features, packed });
  await deed(hands);
};

/** The status register, without a context's help. */
const statuses = (...values: readonly number[]): Deed => async ({ context }) => {
  await context.reset();
  for (const value of values) context.device.writeStatus(value);
};

/** Makes a chain of descriptors available whose flags and lengths are as given. */
const chain = (
  ...parts: readonly (readonly [length: number, flags: number, next?: number])[]
): Deed =>
({ context }) => {
  const segment = context.writable(4096);
  context.offer(
    context.known.queue,
    parts.map(([length, flags, next]) => ({
      address: context.arena.address(segment.at),
      length,
      flags,
      ...next === undefined ? {} : { next },
    })),
  );
};

/** An indirect table with flags of its own, in a descriptor with flags of its own. */
const table = (flags: number, inside: readonly number[], packed = false): Deed => ({ context }) => {
  const segment = context.writable(64);
  const segments = inside.map(() => segment);
  const descriptor = context.indirect(segments, packed);
  inside.forEach((flags, i) => {
    const at = Number(descriptor.address) - context.arena.base + 16 * i;
    context.arena.put16(at + (packed ? 14 : 12), flags);
  });
  context.offer(context.known.queue, [{ ...descriptor, flags: DESC.INDIRECT | flags }]);
};

/** A block request whose header and parts are as given. */
const blkRequest = (type: number, sector: number, readable: number, writable: number): Deed =>
  after("running", async ({ context }) => {
    const header = new Uint8Array(16);
    const view = new DataView(header.buffer);
    view.setUint32(0, type, true);
    view.setBigUint64(8, BigInt(sector), true);
    await context.ask(0, [header, ...readable > 0 ? [new Uint8Array(readable)] : []], [writable]);
  });

/** All mutants. */
export const DRIVER_MUTANTS: readonly DriverMutant[] = [
  {
    name: "does not read MagicValue",
    rule: "init.magic",
    clause: "drv.mmio.init.1",
    open: () => {},
  },
  {
    name: "resets before it reads DeviceID",
    rule: "init.device-id",
    clause: "drv.mmio.init.2",
    open: (read, write) => {
      read("MagicValue");
      read("Version");
      write("Status", 0);
    },
  },
  {
    name: "reads the status of an empty slot",
    rule: "init.empty-slot",
    clause: "drv.mmio.init.3",
    async deed(hands) {
      await sound(hands);
      const { vireo } = hands;
      for (const node of vireo.platform.nodes()) {
        if (node.kind !== "mmio") continue;
        using lease = node.open();
        lease.mmio.read32(MMIO.MagicValue.offset);
        lease.mmio.read32(MMIO.Version.offset);
        lease.mmio.read32(MMIO.DeviceID.offset);
        lease.mmio.read32(MMIO.Status.offset);
      }
    },
  },
  {
    name: "does not reset the device",
    rule: "init.reset",
    clause: "drv.basic.init.1",
    deed({ context }) {
      context.device.writeStatus(ACKNOWLEDGE);
    },
  },
  {
    name: "accepts features before DRIVER",
    rule: "init.order",
    clause: "drv.basic.init.1",
    async deed({ context }) {
      await context.reset();
      context.device.writeStatus(ACKNOWLEDGE);
      context.accept(context.plain());
      context.device.writeStatus(READY);
    },
  },
  {
    name: "sets DRIVER_OK without FEATURES_OK",
    rule: "init.order",
    clause: "drv.basic.init.1",
    deed: statuses(ACKNOWLEDGE, READY, READY | DRIVER_OK),
  },
  {
    name: "sets two status bits at once",
    rule: "init.one-by-one",
    clause: "drv.basic.status.1",
    deed: statuses(READY),
  },
  {
    name: "clears ACKNOWLEDGE",
    rule: "init.keep-bits",
    clause: "drv.basic.status.2",
    deed: statuses(ACKNOWLEDGE, DRIVER),
  },
  {
    name: "does not read the status again after FEATURES_OK",
    rule: "init.recheck",
    clause: "drv.basic.init.1",
    deed: after("driver", ({ context }) => {
      context.accept(context.plain());
      context.device.writeStatus(READY | FEATURES_OK);
      context.setUp(0);
      context.device.writeStatus(READY | FEATURES_OK | DRIVER_OK);
    }),
  },
  {
    name: "goes on though FEATURES_OK is not kept",
    rule: "init.refused",
    clause: "drv.basic.init.5",
    schedule: "refuse",
    deed: after("driver", ({ context }) => {
      context.accept(context.plain());
      context.device.writeStatus(READY | FEATURES_OK);
      context.device.status();
      context.setUp(0);
    }),
  },
  {
    name: "gives up without FAILED",
    rule: "init.say-failed",
    clause: "drv.basic.init.4",
    schedule: "refuse",
    should: true,
    deed: after("driver", ({ context }) => {
      context.accept(context.plain());
      context.device.writeStatus(READY | FEATURES_OK);
      context.device.status();
    }),
  },
  {
    name: "goes on after FAILED",
    rule: "init.after-failed",
    clause: "drv.basic.status.3",
    deed: statuses(ACKNOWLEDGE, ACKNOWLEDGE | FAILED, READY | FAILED),
  },
  {
    name: "does not wait for a reset, on PCI",
    rule: "reset.wait-pci",
    clause: "drv.pci.common-cfg.5",
    schedule: "slow-reset-pci",
    deed({ context }) {
      context.device.writeStatus(0);
      context.device.writeStatus(ACKNOWLEDGE);
    },
  },
  {
    name: "does not wait for a reset",
    rule: "reset.wait-mmio",
    clause: "drv.basic.reset.1",
    schedule: "slow-reset",
    should: true,
    deed({ context }) {
      context.device.writeStatus(0);
      context.device.status();
      context.device.writeStatus(ACKNOWLEDGE);
    },
  },
  {
    name: "accepts a bit that is not offered",
    rule: "features.offered",
    clause: "drv.basic.features.1",
    deed: after("driver", ({ context }) => {
      context.accept(new Set([...context.plain(), 5]));
      context.device.writeStatus(READY | FEATURES_OK);
    }),
  },
  {
    name: "accepts all that is offered",
    rule: "features.unknown",
    clause: "drv.basic.features.4",
    schedule: "unknown-features",
    deed: after("driver", ({ context }) => {
      context.accept(context.offered());
      context.device.writeStatus(READY | FEATURES_OK);
    }),
  },
  {
    name: "gives up when it does not know a bit",
    rule: "features.unknown-goes-on",
    clause: "drv.basic.features.7",
    schedule: "unknown-features",
    deed: after("driver", async (hands) => {
      if ([...hands.context.offered()].some((bit) => bit > 43)) return;
      await sound(hands);
    }),
  },
  {
    name: "does not accept VERSION_1",
    rule: "features.version-1",
    clause: "drv.basic.reserved-features.1",
    deed: after("driver", ({ context }) => {
      context.accept(new Set());
      context.device.writeStatus(READY | FEATURES_OK);
    }),
  },
  {
    name: "does not accept ACCESS_PLATFORM",
    rule: "features.access-platform",
    clause: "drv.basic.reserved-features.2",
    schedule: "access-platform",
    should: true,
    deed: after("driver", ({ context }) => {
      context.accept(new Set([FEATURE.VERSION_1]));
      context.device.writeStatus(READY | FEATURES_OK);
    }),
  },
  {
    name: "changes its mind after FEATURES_OK",
    rule: "features.settled",
    clause: "drv.basic.init.3",
    deed: after("features", ({ context }) => context.accept(context.plain())),
  },
  {
    name: "reads features without a selection",
    rule: "features.select-device",
    clause: "drv.mmio.layout.8",
    deed: after("driver", ({ context }) => {
      context.mmio.get("DeviceFeatures");
    }),
  },
  {
    name: "writes features without a selection",
    rule: "features.select-driver",
    clause: "drv.mmio.layout.9",
    deed: after("driver", ({ context }) => context.mmio.set("DriverFeatures", 0)),
  },
  {
    name: "writes MagicValue",
    rule: "registers.mmio-access",
    clause: "drv.mmio.layout.1",
    deed: after("driver", ({ context }) => context.mmio.set("MagicValue", 1)),
  },
  {
    name: "reads a byte of the status",
    rule: "registers.mmio-width",
    clause: "drv.mmio.layout.2",
    deed: after("driver", ({ context }) => {
      context.device.peek(MMIO.Status.offset, 1);
    }),
  },
  {
    name: "reads queue_size and its neighbour at once",
    rule: "registers.pci-width",
    clause: "drv.pci.layout.1",
    schedule: "pci",
    deed: after("driver", ({ context }) => {
      context.device.peek(24, 4);
    }),
  },
  {
    name: "writes num_queues",
    rule: "registers.pci-read-only",
    clause: "drv.pci.common-cfg.1",
    schedule: "pci",
    deed: after("driver", ({ context }) => context.pci.set("num_queues", 1)),
  },
  {
    name: "reads configuration across words",
    rule: "config.width",
    clause: "drv.mmio.layout.3",
    device: BLK,
    deed: after("features", ({ context }) => {
      context.device.config(2, 4);
    }),
  },
  {
    name: "writes writeback before FEATURES_OK",
    rule: "config.early-write",
    clause: "drv.basic.init.2",
    device: BLK,
    deed: after("driver", ({ context }) => context.device.writeConfig(32, 1, 1)),
  },
  {
    name: "reads the capacity without a generation",
    rule: "config.atomic",
    clause: "drv.basic.config-space.1",
    device: BLK,
    deed: after("features", ({ context }) => {
      context.device.config(0, 4);
      context.device.config(4, 4);
      context.device.status();
    }),
  },
  {
    name: "takes a capacity that changed while it was read",
    rule: "config.atomic",
    clause: "drv.basic.config-space.2",
    schedule: "changes",
    device: BLK,
    deed: after("features", ({ context }) => {
      context.device.generation();
      context.device.config(0, 4);
      context.device.config(4, 4);
      context.device.generation();
      context.device.status();
    }),
  },
  {
    name: "takes a queue that is larger than the device's",
    rule: "queue.size",
    clause: "drv.mmio.layout.10",
    deed: after("features", ({ context }) => {
      context.device.select(0);
      context.device.writeSize(4 * context.device.sizeMax());
    }),
  },
  {
    name: "writes a size that is no power of two",
    rule: "queue.power-of-two",
    clause: "drv.pci.common-cfg.3",
    schedule: "pci",
    deed: after("features", ({ context }) => {
      context.device.select(0);
      context.device.writeSize(3);
    }),
  },
  {
    name: "changes the size of a queue that runs",
    rule: "queue.running",
    clause: "drv.mmio.layout.11",
    deed: after("running", ({ context }) => context.device.writeSize(8)),
  },
  {
    name: "writes 0 to queue_enable",
    rule: "queue.enable",
    clause: "drv.pci.common-cfg.6",
    schedule: "pci",
    deed: after("running", ({ context }) => context.pci.set("queue_enable", 0)),
  },
  {
    name: "does not read QueueReady back",
    rule: "queue.stop",
    clause: "drv.mmio.layout.12",
    deed: after("running", ({ context }) => context.mmio.set("QueueReady", 0)),
  },
  {
    name: "does not confirm the reset of a queue",
    rule: "queue.reset",
    clause: "drv.basic.vq-reset.1",
    deed: after("running", ({ context }) => {
      context.device.select(0);
      context.device.resetQueue();
      context.setUp(0);
    }, [FEATURE.RING_RESET]),
  },
  {
    name: "puts the used ring at an odd address",
    rule: "ring.split-place",
    clause: "drv.split-ring.layout.1",
    deed: after("features", ({ context }) => {
      const { device, arena } = context;
      device.select(0);
      device.writeSize(8);
      const at = arena.take(4096, 4096);
      device.place({ desc: at, driver: at + 1024, device: at + 2049 }, arena.base);
      device.enable(at, arena.base);
    }),
  },
  {
    name: "starts a queue with flags in the used ring",
    rule: "ring.used-flags",
    clause: "drv.split-ring.avail-suppress.1",
    deed: after("features", ({ context }) => {
      const { device, arena } = context;
      device.select(0);
      device.writeSize(8);
      const at = arena.take(4096, 4096);
      arena.fill(at, 4096, 0);
      arena.put16(at + 2048, 1);
      device.place({ desc: at, driver: at + 1024, device: at + 2048 }, arena.base);
      device.enable(at, arena.base);
    }),
  },
  {
    name: "writes other flags to the available ring",
    rule: "ring.avail-flags",
    clause: "drv.split-ring.used-suppress.1",
    deed: after("running", async ({ context }) => {
      context.split(0).flags(2);
      await context.cleanRequest();
    }),
  },
  {
    name: "suppresses interrupts by flags with EVENT_IDX",
    rule: "ring.avail-flags",
    clause: "drv.split-ring.used-suppress.2",
    deed: after("running", async ({ context }) => {
      context.split(0).flags(1);
      await context.cleanRequest();
    }, [FEATURE.EVENT_IDX]),
  },
  {
    name: "withdraws a buffer",
    rule: "ring.avail-index",
    clause: "drv.split-ring.avail-ring.1",
    deed: after("running", async ({ context }) => {
      await context.cleanRequest();
      context.split(0).available(0, -1);
      context.device.notify(0);
    }),
  },
  {
    name: "puts what the device reads behind what it writes",
    rule: "ring.framing",
    clause: "drv.split-ring.framing.1",
    deed: after("running", chain([16, DESC.WRITE | DESC.NEXT], [16, 0])),
  },
  {
    name: "makes a loop of descriptors",
    rule: "ring.chain-length",
    clause: "drv.split-ring.indirect.3",
    deed: after("running", chain([16, DESC.WRITE | DESC.NEXT, 0])),
  },
  {
    name: "leaves descriptors out with IN_ORDER",
    rule: "ring.in-order",
    clause: "drv.split-ring.desc-table.2",
    schedule: "in-order",
    deed: after("running", ({ context }) => {
      const { at } = context.writable(64);
      const address = context.arena.address(at);
      const ring = context.split(0);
      ring.descriptor(0, { address, length: 16, flags: DESC.WRITE | DESC.NEXT, next: 2 });
      ring.descriptor(2, { address, length: 16, flags: DESC.WRITE });
      ring.available(0);
      context.device.notify(0);
    }, [FEATURE.IN_ORDER]),
  },
  {
    name: "uses a table that was not negotiated",
    rule: "ring.indirect-negotiated",
    clause: "drv.split-ring.indirect.1",
    deed: after("running", table(0, [DESC.WRITE])),
  },
  {
    name: "nests tables",
    rule: "ring.indirect-nested",
    clause: "drv.split-ring.indirect.2",
    deed: after("running", table(0, [DESC.INDIRECT]), [FEATURE.INDIRECT_DESC]),
  },
  {
    name: "links a table by NEXT",
    rule: "ring.indirect-next",
    clause: "drv.split-ring.indirect.4",
    deed: after("running", table(DESC.NEXT, [DESC.WRITE]), [FEATURE.INDIRECT_DESC]),
  },
  {
    name: "puts what the device reads last in a packed list",
    rule: "ring.packed-framing",
    clause: "drv.packed-ring.sg.3",
    schedule: "packed",
    deed: after("running", chain([16, DESC.WRITE | DESC.NEXT], [16, 0]), [FEATURE.RING_PACKED]),
  },
  {
    name: "uses a packed table that was not negotiated",
    rule: "ring.packed-indirect-negotiated",
    clause: "drv.packed-ring.indirect.1",
    schedule: "packed",
    deed: after("running", table(0, [DESC.WRITE], true), [FEATURE.RING_PACKED]),
  },
  {
    name: "has NEXT in a packed table",
    rule: "ring.packed-table-flags",
    clause: "drv.packed-ring.indirect.2",
    schedule: "packed",
    deed: after("running", table(0, [DESC.WRITE | DESC.NEXT, DESC.WRITE], true), [
      FEATURE.RING_PACKED,
      FEATURE.INDIRECT_DESC,
    ]),
  },
  {
    name: "links a packed table by NEXT",
    rule: "ring.packed-indirect-list",
    clause: "drv.packed-ring.indirect.4",
    schedule: "packed",
    deed: after("running", table(DESC.NEXT, [DESC.WRITE], true), [
      FEATURE.RING_PACKED,
      FEATURE.INDIRECT_DESC,
    ]),
  },
  {
    name: "makes a head available before the rest of its list",
    rule: "ring.packed-head-last",
    clause: "drv.packed-ring.sg.6",
    schedule: "packed",
    deed: after("running", chain([16, DESC.WRITE | DESC.NEXT]), [FEATURE.RING_PACKED]),
  },
  {
    name: "changes a descriptor that the device has",
    rule: "ring.exposed-split",
    clause: "drv.basic.cleanup.1",
    schedule: "late",
    deed: after("running", async ({ context }) => {
      context.offer(0, context.chain([context.writable(16)]));
      context.arena.put32(context.ring(0).parts.desc + 8, 8);
      await context.take(0);
    }),
  },
  {
    name: "changes a packed descriptor that the device has",
    rule: "ring.exposed-packed",
    clause: "drv.packed-ring.desc-table.2",
    schedule: "late-packed",
    deed: after("running", async ({ context }) => {
      context.offer(0, context.chain([context.writable(16)]));
      context.arena.put32(context.ring(0).parts.desc + 8, 8);
      await context.take(0);
    }, [FEATURE.RING_PACKED]),
  },
  {
    name: "frees memory that the device has",
    rule: "memory.freed",
    clause: "drv.basic.cleanup.2",
    schedule: "late",
    deed: after("running", async ({ context, vireo }) => {
      const region = vireo.platform.dma.alloc(64);
      context.offer(0, [{ address: region.address, length: 16, flags: DESC.WRITE }]);
      region[Symbol.dispose]();
      await context.take(0);
    }),
  },
  {
    name: "notifies before DRIVER_OK",
    rule: "notify.early",
    clause: "drv.basic.init.6",
    deed: after("queues", ({ context }) => context.device.notify(0)),
  },
  {
    name: "does not notify",
    rule: "notify.missing",
    clause: "drv.split-ring.avail-suppress.4",
    deed: after("running", forget),
  },
  {
    name: "does not notify with EVENT_IDX",
    rule: "notify.missing",
    clause: "drv.split-ring.avail-suppress.6",
    deed: after("running", forget, [FEATURE.EVENT_IDX]),
  },
  {
    name: "does not notify of a packed list",
    rule: "notify.missing-packed",
    clause: "virtio 1.4 §2.8.14",
    schedule: "packed",
    deed: after("running", forget, [FEATURE.RING_PACKED]),
  },
  {
    name: "notifies a device that wants no notifications",
    rule: "notify.needless",
    clause: "drv.split-ring.avail-suppress.3",
    schedule: "suppress",
    should: true,
    deed: after("running", async ({ context }) => {
      await context.cleanRequest();
      await context.cleanRequest();
    }),
  },
  {
    name: "notifies by 32 bits without NOTIFICATION_DATA",
    rule: "notify.width",
    clause: "drv.pci.avail-notify.1",
    schedule: "pci",
    deed: after("running", ({ context }) => context.device.notifyValue(0, 0x10000)),
  },
  {
    name: "notifies at the address of another queue",
    rule: "notify.value",
    clause: "drv.pci.avail-notify.3",
    schedule: "pci",
    deed: after("running", ({ context }) => context.device.notifyValue(0, 1)),
  },
  {
    name: "acknowledges what it has not read",
    rule: "interrupt.read",
    clause: "drv.mmio.notify.1",
    deed: after("running", async ({ context }) => {
      await context.cleanRequest();
      context.mmio.set("InterruptACK", 1);
    }),
  },
  {
    name: "does not acknowledge an interrupt",
    rule: "interrupt.acknowledge",
    clause: "drv.mmio.layout.14",
    async deed(hands) {
      await sound(hands);
      hands.context.mmio.get("InterruptStatus");
      hands.context.device.status();
      // A driver that stays: no reset forgives it.
      await new Promise(() => {});
    },
  },
  {
    name: "acknowledges undefined bits",
    rule: "interrupt.undefined",
    clause: "drv.mmio.layout.15",
    schedule: "spurious",
    deed: after("running", async ({ context }) => {
      await context.cleanRequest();
      context.device.causes();
    }),
  },
  {
    name: "gives an entropy device something to read",
    rule: "rng.writable",
    clause: "drv.rng.operation.1",
    deed: after("running", chain([16, DESC.NEXT], [16, DESC.WRITE])),
  },
  {
    name: "reads past the disk's end",
    rule: "blk.capacity",
    clause: "drv.blk.operation.2",
    device: BLK,
    deed: blkRequest(0, 1 << 30, 0, 513),
  },
  {
    name: "flushes a sector",
    rule: "blk.flush-sector",
    clause: "drv.blk.operation.4",
    device: BLK,
    deed: blkRequest(4, 7, 0, 1),
  },
  {
    name: "writes part of a sector",
    rule: "blk.whole-sectors",
    clause: "drv.blk.operation.6",
    device: BLK,
    deed: blkRequest(1, 0, 100, 1),
  },
  {
    name: "asks for an id of 16 bytes",
    rule: "blk.id-length",
    clause: "drv.blk.operation.8",
    device: BLK,
    deed: blkRequest(8, 0, 0, 17),
  },
  {
    name: "never ends",
    rule: "run.ends",
    clause: "virtio 1.4 §3.2",
    deed: after("running", () => new Promise(() => {})),
  },
];

/** Makes a buffer available, and tells nobody. */
async function forget({ context }: Hands): Promise<void> {
  await context.cleanRequest();
  context.ring(0).add(context.chain([context.writable(16)]));
  await new Promise(() => {});
}
