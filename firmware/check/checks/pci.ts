import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { CAP, CAUSE, COMMON, type CommonName, FEATURE } from "../raw/registers.ts";
import { TYPE } from "../requests.ts";

const MODERN = { bus: "pci", face: "modern" } as const;
const LEGACY = { bus: "pci", face: "legacy" } as const;
const PCI = { bus: "pci" } as const;
const NO_VECTOR = 0xffff;
/** The function's interrupt is pending, in the PCI status register. */
const INTERRUPT_STATUS = 8;
/** Ids of types that had devices before virtio 1. */
const TRANSITIONAL: Readonly<Record<number, number>> = {
  [TYPE.NET]: 0x1000,
  [TYPE.BLK]: 0x1001,
  [TYPE.BALLOON]: 0x1002,
  [TYPE.CONSOLE]: 0x1003,
  [TYPE.SCSI]: 0x1004,
  [TYPE.RNG]: 0x1005,
  [TYPE.P9]: 0x1009,
};

/** Whether the function is one with both interfaces: by its id. */
function transitional(c: CheckContext): boolean {
  return c.pci.identity().device < 0x1040;
}

const discovery: Check[] = [
  {
    id: "pci.vendor",
    clauses: ["dev.pci.discovery.1"],
    done: "the vendor id is read",
    expected: "0x1af4",
    scope: PCI,
    run: (c) => c.equal("vendor id", c.pci.identity().vendor, 0x1af4),
  },
  {
    id: "pci.device",
    clauses: ["dev.pci.discovery.2"],
    done: "the device id is read",
    expected: "0x1040 and the virtio id, or the type's transitional id",
    scope: PCI,
    run(c) {
      const { device } = c.pci.identity();
      const good = device === 0x1040 + c.device.id || device === TRANSITIONAL[c.device.id];
      c.expect("device id", good, device, `0x${(0x1040 + c.device.id).toString(16)}`);
    },
  },
  {
    id: "pci.modern-range",
    clauses: ["dev.pci.discovery.3"],
    done: "the device id of a non-transitional function is read",
    expected: "0x1040 to 0x107f",
    scope: MODERN,
    run(c) {
      if (transitional(c)) return c.skip("the function is transitional");
      const { device } = c.pci.identity();
      c.expect("device id", device >= 0x1040 && device <= 0x107f, device, "0x1040 to 0x107f");
    },
  },
  {
    id: "pci.modern-revision",
    clauses: ["dev.pci.discovery.4"],
    done: "the revision of a non-transitional function is read",
    expected: "1 or more",
    scope: MODERN,
    run(c) {
      if (transitional(c)) return c.skip("the function is transitional");
      const { revision } = c.pci.identity();
      c.expect("revision", revision >= 1, revision, "1 or more");
    },
  },
  {
    id: "pci.modern-subsystem",
    clauses: ["dev.pci.discovery.5"],
    done: "the subsystem device id of a non-transitional function is read",
    expected: "0x40 or more",
    scope: MODERN,
    run(c) {
      if (transitional(c)) return c.skip("the function is transitional");
      const { subsystem } = c.pci.identity();
      c.expect("subsystem device id", subsystem >= 0x40, subsystem, "0x40 or more");
    },
  },
  {
    id: "pci.transitional-revision",
    clauses: ["dev.pci.legacy-discovery.1"],
    done: "the revision of a transitional function is read",
    expected: "0",
    scope: PCI,
    run(c) {
      if (!transitional(c)) return c.skip("the function is not transitional");
      c.equal("revision", c.pci.identity().revision, 0);
    },
  },
  {
    id: "pci.transitional-subsystem",
    clauses: ["dev.pci.legacy-discovery.2"],
    done: "the subsystem device id of a transitional function is read",
    expected: "the virtio id",
    scope: PCI,
    run(c) {
      if (!transitional(c)) return c.skip("the function is not transitional");
      c.equal("subsystem device id", c.pci.identity().subsystem, c.device.id);
    },
  },
  {
    id: "pci.transitional-range",
    clauses: ["dev.pci.legacy-discovery.3"],
    done: "the device id of a function with a legacy interface is read",
    expected: "0x1000 to 0x103f",
    scope: PCI,
    run(c) {
      if (!c.legacy && !transitional(c)) return c.skip("the function is not transitional");
      const { device } = c.pci.identity();
      c.expect("device id", device >= 0x1000 && device <= 0x103f, device, "0x1000 to 0x103f");
    },
  },
  {
    id: "pci.transitional-io-bar",
    clauses: ["dev.pci.legacy-layout.1", "dev.pci.legacy-detection.1"],
    done: "BAR 0 of a function with a legacy interface is looked at",
    expected: "it is in I/O space",
    scope: PCI,
    run(c) {
      if (!transitional(c)) return c.skip("the function is not transitional");
      c.equal("space of BAR 0", c.pci.bars.find(({ index }) => index === 0)?.space, "io");
    },
  },
];

/** Types of capabilities that must be there. */
const NEEDED: readonly (readonly [name: string, type: number, clause: string])[] = [
  ["common", CAP.COMMON, "dev.pci.common-cfg.2"],
  ["notify", CAP.NOTIFY, "dev.pci.notify-cap.1"],
  ["isr", CAP.ISR, "dev.pci.isr.1"],
  ["cfg-access", CAP.PCI_CFG, "dev.pci.cfg-access.1"],
];

const needed: Check[] = NEEDED.map(([name, type, clause]) => ({
  id: `pci.capability.${name}`,
  clauses: [clause],
  done: "the list of capabilities is walked",
  expected: `there is one of type ${type}`,
  scope: MODERN,
  run: (c) => c.expect(`capability ${type}`, c.pci.capability(type) !== undefined, "none", "one"),
}));

/** Whether the device offers NOTIFICATION_DATA, which makes notifications wider. */
const wide = (c: CheckContext): boolean => c.offered().has(FEATURE.NOTIFICATION_DATA);

const capabilities: Check[] = [
  {
    id: "pci.capability.length",
    clauses: ["dev.pci.caps.1"],
    done: "cap_len of every virtio capability is read",
    expected: "16 or more, 20 for notifications and configuration access, 24 for shared memory",
    scope: MODERN,
    run(c) {
      const least: Readonly<Record<number, number>> = {
        [CAP.NOTIFY]: 20,
        [CAP.PCI_CFG]: 20,
        [CAP.SHARED_MEMORY]: 24,
      };
      for (const { type, length } of c.pci.capabilities) {
        const min = type === CAP.VENDOR ? 8 : least[type] ?? 16;
        c.expect(`cap_len of type ${type}`, length >= min, length, `${min} or more`);
      }
    },
  },
  {
    id: "pci.capability.inside-bar",
    clauses: ["virtio 1.4 §4.1.4"],
    done: "bar, offset and length of every structure are read",
    expected: "the structure lies inside a BAR that exists",
    scope: MODERN,
    run(c) {
      for (const { type, bar, offset, size } of c.pci.capabilities) {
        if (type === CAP.PCI_CFG || type === CAP.VENDOR || type === CAP.SHARED_MEMORY) continue;
        const room = c.pci.bars.find(({ index }) => index === bar)?.size ?? 0;
        c.expect(`end of type ${type}`, offset + size <= room, offset + size, `at most ${room}`);
      }
    },
  },
  {
    id: "pci.capability.common-aligned",
    clauses: ["dev.pci.common-cfg.1"],
    done: "offset of the common configuration is read",
    expected: "a multiple of 4",
    scope: MODERN,
    run: (c) => c.equal("offset modulo 4", c.pci.capability(CAP.COMMON)!.offset % 4, 0),
  },
  {
    id: "pci.capability.device-aligned",
    clauses: ["dev.pci.device-cfg.1"],
    done: "offset of the device configuration is read",
    expected: "a multiple of 4",
    scope: MODERN,
    run(c) {
      const found = c.pci.capability(CAP.DEVICE);
      if (found === undefined) return c.skip("the device has no configuration");
      c.equal("offset modulo 4", found.offset % 4, 0);
    },
  },
  {
    id: "pci.capability.notify-aligned",
    clauses: ["dev.pci.notify-cap.2", "dev.pci.notify-cap.7"],
    done: "offset of the notifications is read",
    expected: "a multiple of 2, or of 4 where NOTIFICATION_DATA is offered",
    scope: MODERN,
    run: (c) => c.equal("offset", c.pci.notification().offset % (wide(c) ? 4 : 2), 0),
  },
  {
    id: "pci.capability.notify-multiplier",
    clauses: ["dev.pci.notify-cap.3", "dev.pci.notify-cap.6"],
    done: "notify_off_multiplier is read",
    expected: "0, or a power of 2 from 2 (4 where NOTIFICATION_DATA is offered) up",
    scope: MODERN,
    run(c) {
      const { multiplier } = c.pci.notification();
      const least = wide(c) ? 4 : 2;
      const good = multiplier === 0 || multiplier >= least && (multiplier & multiplier - 1) === 0;
      c.expect("notify_off_multiplier", good, multiplier, `0 or a power of 2 from ${least} up`);
    },
  },
  {
    id: "pci.capability.notify-room",
    clauses: [4, 5, 8, 9].map((number) => `dev.pci.notify-cap.${number}`),
    done: "queue_notify_off of every queue is read",
    expected: "its notification lies inside the structure",
    scope: MODERN,
    async run(c) {
      await c.init({ until: "features", queues: [] });
      const { size, multiplier } = c.pci.notification();
      const count = c.pci.get("num_queues");
      for (let queue = 0; queue < count; queue++) {
        c.device.select(queue);
        const end = c.pci.get("queue_notify_off") * multiplier + (wide(c) ? 4 : 2);
        c.expect(`end of queue ${queue}'s notification`, end <= size, end, `at most ${size}`);
      }
    },
  },
  {
    id: "pci.capability.shared-memory",
    clauses: ["dev.pci.shm-cap.1", "dev.pci.shm-cap.2"],
    done: "the shared memory capabilities are read",
    expected: "each lies inside its BAR, and has an id of its own",
    scope: MODERN,
    run(c) {
      const found = c.pci.capabilities.filter(({ type }) => type === CAP.SHARED_MEMORY);
      if (found.length === 0) return c.skip("the device has no shared memory");
      c.equal("ids", new Set(found.map(({ id }) => id)).size, found.length);
      for (const { at, bar, offset, size } of found) {
        const high = (low: number, word: number): number =>
          low + c.pci.space.read(at + word, 4) * 2 ** 32;
        const end = high(offset, 16) + high(size, 20);
        const room = c.pci.bars.find(({ index }) => index === bar)?.size ?? 0;
        c.expect("end of the region", end <= room, end, `at most ${room}`);
      }
    },
  },
];

const common: Check[] = [
  {
    id: "pci.common.feature-windows",
    clauses: ["dev.pci.common-cfg.3"],
    done: "device_feature is read for each of the selects 0 to 3, twice and in another order",
    expected: "each select shows its own word",
    scope: MODERN,
    run(c) {
      const first = [0, 1, 2, 3].map((word) => c.device.features(word));
      const second = [3, 2, 1, 0].map((word) => c.device.features(word)).reverse();
      c.equal("words", second.join(), first.join());
      c.equal("device_feature_select", c.pci.get("device_feature_select"), 0);
    },
  },
  {
    id: "pci.common.driver-feature",
    clauses: ["dev.pci.common-cfg.4"],
    done: "offered bits are written to driver_feature, and read back by window",
    expected: "they read as they were written",
    scope: MODERN,
    async run(c) {
      await c.init({ until: "driver" });
      const words = [0, 1].map((word) => c.device.features(word));
      for (const word of [0, 1]) c.device.accept(word, words[word]!);
      for (const word of [0, 1]) {
        c.pci.set("driver_feature_select", word);
        c.equal(`driver_feature of window ${word}`, c.pci.get("driver_feature"), words[word]);
      }
    },
  },
  {
    id: "pci.common.driver-feature-valid",
    clauses: ["dev.pci.common-cfg.4"],
    done: "all bits are written to driver_feature, and read back",
    expected: "only valid ones, those that were offered, are there",
    scope: MODERN,
    async run(c) {
      await c.init({ until: "driver" });
      for (const word of [0, 1]) {
        const offer = c.device.features(word);
        c.device.accept(word, 0xffffffff);
        const seen = c.pci.get("driver_feature");
        c.equal(`foreign bits of window ${word}`, (seen & ~offer) >>> 0, 0);
      }
    },
  },
  {
    id: "pci.common.queues",
    clauses: ["virtio 1.4 §4.1.4.3"],
    done: "num_queues is read, and the size of each queue and of the next",
    expected: "queues below num_queues exist, and those of the known request are among them",
    request: true,
    scope: MODERN,
    run(c) {
      const count = c.pci.get("num_queues");
      const last = Math.max(...c.known.queues);
      c.expect("num_queues", count > last, count, `more than ${last}`);
      c.device.select(last);
      c.expect(`queue_size of queue ${last}`, c.device.sizeMax() > 0, 0, "not 0");
    },
  },
  {
    id: "pci.common.halves",
    clauses: ["dev.pci.layout.1"],
    done: "the halves of queue_desc, queue_driver and queue_device are written apart and read back",
    expected: "each half reads what was written to it",
    scope: MODERN,
    async run(c) {
      await c.init({ until: "features", queues: [] });
      c.device.select(0);
      const halves: CommonName[] = [
        "queue_desc_high",
        "queue_desc_low",
        "queue_driver_low",
        "queue_driver_high",
        "queue_device_high",
        "queue_device_low",
      ];
      halves.forEach((name, i) => c.pci.set(name, 0x1000 * (i + 1)));
      halves.forEach((name, i) => c.equal(name, c.pci.get(name), 0x1000 * (i + 1)));
    },
  },
  {
    id: "pci.common.size-kept",
    clauses: ["dev.pci.common-cfg.14"],
    done: "queue_size is written a smaller power of two",
    expected: "it reads that, and the largest again after a reset",
    request: true,
    scope: MODERN,
    async run(c) {
      await c.init({ until: "features", queues: [] });
      c.device.select(c.known.queue);
      const max = c.device.sizeMax();
      if (max < 2) return c.skip("the queue has one descriptor");
      c.device.writeSize(max / 2);
      c.equal("queue_size", c.device.sizeMax(), max / 2);
      await c.init({ until: "features", queues: [] });
      c.device.select(c.known.queue);
      c.equal("queue_size after a reset", c.device.sizeMax(), max);
    },
  },
  {
    id: "pci.common.reset",
    clauses: ["dev.pci.common-cfg.6"],
    done: "device_status of a running device is written 0",
    expected: "it reads 0",
    scope: MODERN,
    async run(c) {
      await c.init();
      c.pci.set("device_status", 0);
      const done = await c.until(() => c.pci.get("device_status") === 0);
      c.expect("device_status", done, c.pci.get("device_status"), "0x0");
    },
  },
  {
    id: "pci.common.notifies-elsewhere",
    clauses: ["virtio 1.4 §4.1.4.4"],
    done: "the notification of another queue that exists is written",
    expected: "the request of the first queue is not lost: its own notification has it answered",
    request: true,
    scope: MODERN,
    async run(c) {
      await c.init();
      const { queue, queues } = c.known;
      const other = queues.find((candidate) => candidate !== queue);
      if (other === undefined) return c.skip("the device has one queue");
      c.device.notify(other);
      await c.cleanRequest();
    },
  },
];

/** Makes a request and waits until it was used, the ISR unread. */
async function used(c: CheckContext): Promise<void> {
  await c.init();
  const { queue } = c.known;
  c.offer(queue, c.chain(c.segments()));
  c.expect("answer", await c.take(queue) !== undefined, "none", "a used buffer");
}

const isr: Check[] = [
  {
    id: "pci.isr.queue",
    clauses: ["dev.pci.isr.3", "dev.pci.isr.5"],
    done: "a request is answered without MSI-X, and the ISR is read twice",
    expected: "bit 0, then 0",
    request: true,
    scope: PCI,
    async run(c) {
      await used(c);
      let causes = 0;
      await c.until(() => ((causes |= c.device.causes()) & CAUSE.QUEUE) !== 0);
      c.equal("ISR", causes, CAUSE.QUEUE);
      c.equal("ISR once it was read", c.device.causes(), 0);
    },
  },
  {
    id: "pci.isr.status-register",
    clauses: ["dev.pci.isr.4"],
    done: "a request is answered without MSI-X, and the PCI status register is read",
    expected: "its Interrupt Status bit is set until the ISR is read",
    request: true,
    scope: PCI,
    async run(c) {
      await used(c);
      const set = await c.until(() => (c.pci.pciStatus() & INTERRUPT_STATUS) !== 0);
      c.expect("Interrupt Status", set, "clear", "set");
      c.device.causes();
      c.equal("Interrupt Status once the ISR was read", c.pci.pciStatus() & INTERRUPT_STATUS, 0);
    },
  },
  {
    id: "pci.isr.nothing",
    clauses: ["dev.pci.isr.4", "dev.pci.isr.5"],
    done: "the ISR and the PCI status register are read after a reset and after DRIVER_OK",
    expected: "no cause, and no interrupt",
    scope: PCI,
    async run(c) {
      await c.reset();
      c.device.causes();
      c.equal("Interrupt Status", c.pci.pciStatus() & INTERRUPT_STATUS, 0);
      await c.init();
      await c.quiet();
      c.equal("ISR after DRIVER_OK", c.device.causes(), 0);
    },
  },
];

/** Turns MSI-X on, with all vectors masked, and off again after `run`. */
async function withMsix(c: CheckContext, run: (vectors: number) => Promise<void>): Promise<void> {
  const { msix, space } = c.pci;
  if (msix === 0) return c.skip("the function has no MSI-X");
  const vectors = (space.read(msix + 2, 2) & 0x7ff) + 1;
  const ENABLE = 0x8000;
  const MASK_ALL = 0x4000;
  space.write(msix + 2, 2, ENABLE | MASK_ALL);
  try {
    await run(vectors);
  } finally {
    space.write(msix + 2, 2, 0);
  }
}

const msix: Check[] = [
  {
    id: "pci.msix.size",
    clauses: ["dev.pci.msix.1", "dev.pci.msix.2"],
    done: "Table Size is read",
    expected: "2 to 0x800 vectors, and the table inside a BAR",
    scope: PCI,
    run(c) {
      const { msix, space, bars } = c.pci;
      if (msix === 0) return c.skip("the function has no MSI-X");
      const vectors = (space.read(msix + 2, 2) & 0x7ff) + 1;
      c.expect("vectors", vectors >= 2 && vectors <= 0x800, vectors, "2 to 0x800");
      const table = space.read(msix + 4, 4);
      const room = bars.find(({ index }) => index === (table & 7))?.size ?? 0;
      const end = (table & ~7) + 16 * vectors;
      c.expect("end of the table", end <= room, end, `at most ${room}`);
    },
  },
  {
    id: "pci.msix.any-vector",
    clauses: ["dev.pci.msix.4", "dev.pci.msix.6"],
    done: "changes and a queue are mapped to the first and to the last vector",
    expected: "the vector registers read what was written",
    scope: MODERN,
    async run(c) {
      await c.init({ until: "features", queues: [] });
      await withMsix(c, (vectors) => {
        c.device.select(0);
        for (const vector of [0, vectors - 1]) {
          c.pci.set("config_msix_vector", vector);
          c.equal("config_msix_vector", c.pci.get("config_msix_vector"), vector);
          c.pci.set("queue_msix_vector", vector);
          c.equal("queue_msix_vector", c.pci.get("queue_msix_vector"), vector);
        }
        return Promise.resolve();
      });
    },
  },
  {
    id: "pci.msix.unmapped",
    clauses: ["dev.pci.msix.5", "dev.pci.msix.6"],
    done: "changes and a queue are mapped, and then unmapped by NO_VECTOR",
    expected: "the vector registers read NO_VECTOR",
    scope: MODERN,
    async run(c) {
      await c.init({ until: "features", queues: [] });
      await withMsix(c, () => {
        c.device.select(0);
        for (const name of ["config_msix_vector", "queue_msix_vector"] as const) {
          c.pci.set(name, 0);
          c.pci.set(name, NO_VECTOR);
          c.equal(name, c.pci.get(name), NO_VECTOR);
        }
        return Promise.resolve();
      });
    },
  },
  {
    id: "pci.msix.reset",
    clauses: ["dev.pci.msix.7"],
    done: "changes and a queue are mapped, and the device is reset",
    expected: "the vector registers read NO_VECTOR",
    scope: MODERN,
    async run(c) {
      await c.init({ until: "features", queues: [] });
      await withMsix(c, async () => {
        c.device.select(0);
        c.pci.set("config_msix_vector", 0);
        c.pci.set("queue_msix_vector", 0);
        await c.reset();
        c.device.select(0);
        for (const name of ["config_msix_vector", "queue_msix_vector"] as const) {
          c.equal(name, c.pci.get(name), NO_VECTOR);
        }
      });
    },
  },
  {
    id: "pci.msix.hostile.no-such-vector",
    clauses: ["dev.pci.msix.9", "drv.pci.msix.2"],
    done: "changes and a queue are mapped to a vector beyond the table",
    expected: "the vector registers read NO_VECTOR",
    hostile: true,
    scope: MODERN,
    async run(c) {
      await c.init({ until: "features", queues: [] });
      await withMsix(c, (vectors) => {
        c.device.select(0);
        for (const name of ["config_msix_vector", "queue_msix_vector"] as const) {
          c.pci.set(name, vectors);
          c.equal(name, c.pci.get(name), NO_VECTOR);
        }
        return Promise.resolve();
      });
    },
  },
];

/** Reads or writes by pci_cfg_data. */
function aim(c: CheckContext, bar: number, offset: number, length: number): number {
  const { at } = c.pci.capability(CAP.PCI_CFG)!;
  c.pci.space.write(at + 4, 1, bar);
  c.pci.space.write(at + 8, 4, offset);
  c.pci.space.write(at + 12, 4, length);
  return at + 16;
}

const access: Check[] = [
  {
    id: "pci.cfg-access.read",
    clauses: ["dev.pci.cfg-access.3"],
    done: "num_queues and device_feature are read through configuration space",
    expected: "the same as through the BAR",
    scope: MODERN,
    run(c) {
      const { bar, offset } = c.pci.capability(CAP.COMMON)!;
      const queues = c.pci.space.read(aim(c, bar, offset + COMMON.num_queues.offset, 2), 2);
      c.equal("num_queues", queues, c.pci.get("num_queues"));
      c.pci.set("device_feature_select", 1);
      const word = c.pci.space.read(aim(c, bar, offset + COMMON.device_feature.offset, 4), 4);
      c.equal("device_feature", word, c.pci.get("device_feature"));
    },
  },
  {
    id: "pci.cfg-access.write",
    clauses: ["dev.pci.cfg-access.2"],
    done: "device_status is written through configuration space",
    expected: "device_status reads it",
    scope: MODERN,
    async run(c) {
      await c.reset();
      const { bar, offset } = c.pci.capability(CAP.COMMON)!;
      c.pci.space.write(aim(c, bar, offset + COMMON.device_status.offset, 1), 1, 1);
      c.equal("device_status", c.pci.get("device_status"), 1);
    },
  },
  ...([
    ["no-such-bar", 3, 0, 4],
    ["reserved-bar", 7, 0, 4],
    ["bar-255", 255, 0, 4],
    ["beyond-bar", 4, 0x7fff_fff0, 4],
    ["last-offset", 4, 0xffff_fffc, 4],
    ["length-0", 4, 0, 0],
    ["length-3", 4, 0, 3],
    ["length-16", 4, 0, 16],
    ["unaligned", 4, 1, 4],
  ] as const).map(([name, bar, offset, length]): Check => ({
    id: `pci.cfg-access.hostile.${name}`,
    clauses: ["drv.pci.cfg-access.1", "drv.pci.cfg-access.2", "drv.pci.cfg-access.3"],
    done: `pci_cfg_data is aimed at BAR ${bar}, offset 0x${offset.toString(16)}, length ${length}`,
    expected: "after a reset the device works as before",
    hostile: true,
    scope: MODERN,
    async run(c) {
      await c.init();
      const data = aim(c, bar, offset, length);
      c.pci.space.read(data, 4);
      c.pci.space.write(data, 4, 0xffffffff);
      aim(c, c.pci.capability(CAP.COMMON)!.bar, 0, 4);
    },
  })),
];

/** Fields that drivers only read. */
const READ_ONLY: readonly CommonName[] = [
  "device_feature",
  "num_queues",
  "config_generation",
  "queue_notify_off",
];

const readOnly: Check[] = READ_ONLY.map((name) => ({
  id: `pci.hostile.written.${name}`,
  clauses: ["drv.pci.common-cfg.1"],
  done: `${name}, which is read-only, is written`,
  expected: "it reads as before, and after a reset the device works as before",
  hostile: true,
  scope: MODERN,
  async run(c) {
    await c.init();
    c.pci.set("device_feature_select", 0);
    c.device.select(0);
    const before = c.pci.get(name);
    c.pci.set(name, ~before >>> 0);
    c.equal(name, c.pci.get(name), before);
  },
}));

/** Fields of the common configuration, each by a width that is not its own. */
const widths: Check[] = (Object.keys(COMMON) as CommonName[])
  .filter((name) => !/_(?:low|high)$/.test(name) && name !== "queue_notif_config_data")
  .map((name) => ({
    id: `pci.hostile.width.${name}`,
    clauses: ["drv.pci.layout.1"],
    done: `${name} is read and written by a width that is not its own`,
    expected: "after a reset the device works as before",
    hostile: true,
    scope: MODERN,
    async run(c) {
      await c.init();
      const { offset, width } = COMMON[name];
      const other = width === 1 ? 2 : 1;
      // Some devices take the byte for device_status, in which it sets all bits.
      c.wroteNeedsReset = width === 1;
      c.device.peek(offset & ~(other - 1), other);
      c.device.poke(offset & ~(other - 1), other, 0xff);
    },
  }));

const hostile: Check[] = [
  {
    id: "pci.hostile.queue-enable-0",
    clauses: ["drv.pci.common-cfg.6"],
    done: "queue_enable of a running queue is written 0",
    expected: "after a reset the device works as before",
    hostile: true,
    scope: MODERN,
    async run(c) {
      await c.init();
      c.device.select(0);
      c.pci.set("queue_enable", 0);
    },
  },
  {
    id: "pci.hostile.queue-enable-2",
    clauses: ["virtio 1.4 §4.1.4.3"],
    done: "queue_enable is written 2 and 0xffff",
    expected: "after a reset the device works as before",
    hostile: true,
    scope: MODERN,
    async run(c) {
      await c.init({ until: "features", queues: [] });
      c.device.select(0);
      for (const value of [2, 0xffff]) c.pci.set("queue_enable", value);
    },
  },
  {
    id: "pci.hostile.notify-wide",
    clauses: ["drv.pci.avail-notify.1"],
    done: "notifications are written by 8 and by 32 bits without NOTIFICATION_DATA",
    expected: "after a reset the device works as before",
    hostile: true,
    scope: MODERN,
    async run(c) {
      await c.init();
      const { bar, offset } = c.pci.notification();
      c.pci.bar(bar).write(offset, 1, 0);
      c.pci.bar(bar).write(offset, 4, 0xffff0000);
    },
  },
  {
    id: "pci.hostile.notify-end",
    clauses: ["dev.pci.notify-cap.4"],
    done: "the last bytes of the notification structure are written",
    expected: "after a reset the device works as before",
    hostile: true,
    scope: MODERN,
    async run(c) {
      await c.init();
      const { bar, offset, size } = c.pci.notification();
      c.pci.bar(bar).write(offset + (size - 2 & ~1), 2, 0xffff);
    },
  },
  {
    id: "pci.hostile.not-decoding",
    clauses: ["dev.pci.bus.1"],
    done: "memory and I/O decoding are turned off while the device runs, and on again",
    expected: "after a reset the device works as before",
    hostile: true,
    scope: PCI,
    async run(c) {
      await c.init();
      c.pci.space.write(4, 2, 0);
      c.pci.space.write(4, 2, 7);
    },
  },
  {
    id: "pci.hostile.capability-written",
    clauses: ["drv.pci.caps.7"],
    done: "the fields of the common configuration's capability are written",
    expected: "they read as before",
    hostile: true,
    scope: MODERN,
    run(c) {
      const { at } = c.pci.capability(CAP.COMMON)!;
      for (const offset of [0, 4, 8, 12]) {
        const before = c.pci.space.read(at + offset, 4);
        c.pci.space.write(at + offset, 4, ~before >>> 0);
        c.equal(`word ${offset} of the capability`, c.pci.space.read(at + offset, 4), before);
      }
    },
  },
  {
    id: "pci.hostile.legacy-widths",
    clauses: ["dev.pci.legacy-layout.2"],
    done: "the device configuration of the legacy interface is read byte by byte and by words",
    expected: "all give the same bytes",
    hostile: true,
    scope: LEGACY,
    async run(c) {
      await c.init();
      // The header does not say how long the configuration is: that of 9P ends with its tag, after 4 to 7 bytes.
      const size = Math.min(c.device.configSize, c.device.id === TYPE.P9 ? 4 : 8) & ~3;
      for (let at = 0; at < size; at += 4) {
        let word = 0;
        for (let i = 3; i >= 0; i--) word = word * 256 + c.device.config(at + i, 1);
        c.equal(`word at ${at}`, c.device.config(at, 4), word);
      }
    },
  },
];

/** Virtio on PCI. */
export const PCI_CHECKS: readonly Check[] = [
  ...discovery,
  ...needed,
  ...capabilities,
  ...common,
  ...isr,
  ...msix,
  ...access,
  ...readOnly,
  ...widths,
  ...hostile,
];
