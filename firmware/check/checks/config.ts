import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { TYPE } from "../requests.ts";

/** A field that drivers may not write. */
interface Field {
  readonly type: number;
  readonly device: string;
  readonly name: string;
  readonly offset: number;
  readonly width: 1 | 2 | 4;
  /** The feature with which it exists. */
  readonly bit?: number;
  readonly clause: string;
}

const field = (
  type: number,
  device: string,
  clause: string,
  name: string,
  offset: number,
  width: 1 | 2 | 4,
  bit?: number,
): Field => ({ type, device, name, offset, width, clause, ...(bit === undefined ? {} : { bit }) });

/** Fields that only the device writes; widths and places are the specification's. */
const READ_ONLY: readonly Field[] = [
  field(TYPE.NET, "net", "drv.net.config.1", "status", 6, 2, 16),
  field(TYPE.NET, "net", "drv.net.config.1", "max_virtqueue_pairs", 8, 2, 22),
  field(TYPE.NET, "net", "drv.net.config.1", "mtu", 10, 2, 3),
  field(TYPE.BLK, "blk", "virtio 1.4 §5.2.4", "capacity", 0, 4),
  field(TYPE.BLK, "blk", "virtio 1.4 §5.2.4", "seg_max", 12, 4, 2),
  field(TYPE.BLK, "blk", "virtio 1.4 §5.2.4", "blk_size", 20, 4, 6),
  field(TYPE.BLK, "blk", "virtio 1.4 §5.2.4", "num_queues", 34, 2, 12),
  field(TYPE.CONSOLE, "console", "virtio 1.4 §5.3.4", "max_nr_ports", 4, 4, 1),
  field(TYPE.BALLOON, "balloon", "virtio 1.4 §5.5.4", "num_pages", 0, 4),
  field(TYPE.SCSI, "scsi", "drv.scsi.config.1", "num_queues", 0, 4),
  field(TYPE.SCSI, "scsi", "drv.scsi.config.1", "seg_max", 4, 4),
  field(TYPE.SCSI, "scsi", "drv.scsi.config.1", "max_lun", 32, 4),
  field(TYPE.GPU, "gpu", "virtio 1.4 §5.7.4", "num_scanouts", 8, 4),
  field(TYPE.INPUT, "input", "drv.input.init.2", "size", 2, 1),
  field(TYPE.VSOCK, "vsock", "virtio 1.4 §5.10.4", "guest_cid", 0, 4),
  field(TYPE.CRYPTO, "crypto", "virtio 1.4 §5.9.5", "max_dataqueues", 4, 4),
  field(TYPE.CRYPTO, "crypto", "virtio 1.4 §5.9.5", "crypto_services", 8, 4),
];

const readOnly: Check[] = READ_ONLY.map(({ type, device, name, offset, width, bit, clause }) => ({
  id: `config.hostile.${device}.${name}`,
  clauses: [clause],
  done: `${name} of a running ${device} device is written, which drivers may not do`,
  expected: "it reads as before, and after a reset the device works as before",
  hostile: true,
  scope: { devices: [type] },
  ...(bit === undefined ? {} : { offers: [bit] }),
  async run(c) {
    await c.init();
    const before = c.device.config(offset, width);
    c.device.writeConfig(offset, width, ~before >>> 0);
    c.equal(name, c.device.config(offset, width), before);
  },
}));

/** Bytes of the configuration that a type has at least, by id. */
const SIZE: Readonly<Record<number, number>> = {
  [TYPE.NET]: 8,
  [TYPE.BLK]: 8,
  [TYPE.CONSOLE]: 8,
  [TYPE.BALLOON]: 8,
  [TYPE.SCSI]: 36,
  [TYPE.GPU]: 16,
  [TYPE.INPUT]: 136,
  [TYPE.VSOCK]: 8,
  [TYPE.CRYPTO]: 56,
};
const TYPES: readonly number[] = Object.keys(SIZE).map(Number);

/** All bytes of a type's configuration, read one by one. */
function all(c: CheckContext): Uint8Array {
  const size = SIZE[c.device.id] ?? 0;
  return Uint8Array.from({ length: size }, (_, at) => c.device.config(at, 1));
}

const others: Check[] = [
  {
    id: "config.before-features-ok",
    clauses: ["dev.basic.config-space.1"],
    done: "the configuration is read before FEATURES_OK and after DRIVER_OK",
    expected: "it can be read, and is the same",
    scope: { devices: TYPES },
    async run(c) {
      await c.init({ until: "driver" });
      const before = all(c);
      await c.init();
      c.equal("configuration after DRIVER_OK", all(c), before);
    },
  },
  {
    id: "config.widths",
    clauses: ["virtio 1.4 §4.2.2.2", "dev.pci.legacy-layout.2"],
    done: "the configuration is read by 8, 16 and 32 bits",
    expected: "all widths give the same bytes",
    scope: { devices: TYPES },
    async run(c) {
      await c.init({ until: "features", queues: [] });
      const bytes = all(c);
      const view = new DataView(bytes.buffer);
      for (let at = 0; at + 2 <= bytes.length; at += 2) {
        c.equal(`16 bits at ${at}`, c.device.config(at, 2), view.getUint16(at, true));
      }
      for (let at = 0; at + 4 <= bytes.length; at += 4) {
        c.equal(`32 bits at ${at}`, c.device.config(at, 4), view.getUint32(at, true));
      }
    },
  },
  {
    id: "config.generation-rests",
    clauses: ["virtio 1.4 §2.5"],
    done: "the generation is read before and after the configuration, which nothing changes",
    expected: "it is the same",
    scope: { face: "modern", devices: TYPES },
    async run(c) {
      await c.init();
      const before = c.device.generation();
      const first = all(c);
      c.equal("configuration", all(c), first);
      c.equal("generation", c.device.generation(), before);
    },
  },
  {
    id: "config.same-after-reset",
    clauses: ["virtio 1.4 §2.4"],
    done: "the configuration is read, the device is reset, and it is read again",
    expected: "it is the same",
    scope: { devices: TYPES },
    async run(c) {
      await c.init();
      const first = all(c);
      await c.reset();
      c.equal("configuration", all(c), first);
    },
  },
  {
    id: "config.hostile.beyond-the-end",
    clauses: ["virtio 1.4 §2.5"],
    done: "the last bytes of the register window are read and written",
    expected: "after a reset the device works as before",
    hostile: true,
    async run(c) {
      await c.init();
      const size = c.device.configSize;
      if (size < 4) return c.skip("the window has no configuration");
      for (const at of [size - 4, size - 4 & ~3]) {
        c.device.config(at & ~3, 4);
        c.device.writeConfig(at & ~3, 4, 0xffffffff);
      }
    },
  },
  {
    id: "config.hostile.written-early",
    clauses: ["dev.basic.legacy-init.1", "drv.basic.init.2"],
    done: "every byte of the configuration is written its own value before features are read",
    expected: "the device works after that",
    hostile: true,
    scope: { devices: TYPES.filter((type) => type !== TYPE.INPUT) },
    async run(c) {
      await c.reset();
      all(c).forEach((value, at) => c.device.writeConfig(at, 1, value));
    },
  },
];

/** The configuration, on both transports. */
export const CONFIG_CHECKS: readonly Check[] = [...others, ...readOnly];
