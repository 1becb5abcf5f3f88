// The legacy interface's byte order is the guest's own, which is little-endian wherever this runs: every field of it as
// raw bytes, as the driver and the device wrote them. Offsets, widths and values are typed from virtio 1.4; a field of
// the other order would have other bytes, and the other side would not understand it.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  BalloonDevice,
  BlkDevice,
  ConsoleDevice,
  type DeviceModel,
  type DiskBackend,
  loopbackPort,
  MemoryDisk,
  NetDevice,
  ScsiDevice,
} from "@vireo/emu";
import { type DmaRegion, VireoError } from "@vireo/hal";
import { Hub } from "../../emu/backends/hub.ts";
import { Accept, Offload } from "../../emu/backends/net_backend.ts";
import { createBalloonDriver } from "../../drivers/balloon/mod.ts";
import { blkDriver } from "../../drivers/blk/mod.ts";
import { consoleDriver } from "../../drivers/console/mod.ts";
import type { VirtioDevice } from "../../drivers/device.ts";
import { createNetDriver } from "../../drivers/net/mod.ts";
import { scsiDriver } from "../../drivers/scsi/mod.ts";
import type { SplitVirtqueue } from "../../drivers/virtqueue/split.ts";
import { bootRecorded } from "./boot.ts";
import { le, type Recording, type Taken } from "./recorder.ts";

const SOON = { deadline: 5000 };
const INDIRECT_DESC = 28;
const LEGACY = { version: 1 } as const;

/** A field: its name, offset and width in bytes, and the value that it has. */
type Field = readonly [name: string, offset: number, width: 2 | 4 | 8, value: number];

/** Compares fields with raw bytes. */
function holds(what: string, bytes: Uint8Array, fields: readonly Field[]): void {
  for (const [name, offset, width, value] of fields) {
    const little = le([value, width]);
    assert(little.some((byte, i) => byte !== little[width - 1 - i]), `${name} shows no order`);
    assertEquals(
      [...bytes.subarray(offset, offset + width)],
      [...little],
      `${what}: ${name} at offset ${offset}`,
    );
  }
}

/** The chains of a queue. */
const of = ({ chains }: Recording, queue: number): Taken[] =>
  chains.filter((chain) => chain.queue === queue);

/** Compares fields with a legacy device's configuration: byte by byte through its registers, and as whole words. */
function configHolds(
  what: string,
  { config }: VirtioDevice,
  model: DeviceModel,
  fields: readonly Field[],
): void {
  const end = Math.max(...fields.map(([, offset, width]) => offset + width));
  holds(what, config.readBytes(0, end), fields);
  for (const [name, offset, width, value] of fields) {
    const seen = width === 8
      ? model.readConfig(offset, 4) + model.readConfig(offset + 4, 4) * 2 ** 32
      : model.readConfig(offset, width);
    assertEquals(seen, value, `${what}: ${name}`);
  }
}

async function until(what: string, test: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !test(); i++) await new Promise((resolve) => setTimeout(resolve, 0));
  assert(test(), what);
}

Deno.test("spec legacy: rings have the guest's byte order (drv.split-ring.legacy-endian.1, dev.split-ring.legacy-endian.1)", async () => {
  const model = new BlkDevice({ disk: new MemoryDisk(1 << 20) });
  await using rig = await bootRecorded("blk", model, blkDriver, {
    ...LEGACY,
    without: [INDIRECT_DESC],
  });
  await rig.blk.read(0, 1024, SOON);
  const ring = rig.bus.devices[0]!.queues[0] as SplitVirtqueue;
  const { size, desc, driver, device } = ring.addresses;
  const bytes = (address: number, length: number): Uint8Array =>
    rig.machine.memory.view(address, length);
  const avail = bytes(driver, 6 + 2 * size);
  holds("available ring", avail, [["idx", 2, 2, 1]]);
  const head = avail[4]!;
  assertEquals([avail[5], head < size], [0, true]);
  // Header, data and status: NEXT is 1, WRITE is 2.
  const first = bytes(desc + 16 * head, 16);
  holds("descriptor of the header", first, [["len", 8, 4, 16], ["flags", 12, 2, 1]]);
  const at = new DataView(first.buffer, first.byteOffset).getBigUint64(0, true);
  assert(at >= BigInt(rig.machine.memory.base), "addr");
  assertEquals(first[15], 0, "next");
  const second = bytes(desc + 16 * first[14]!, 16);
  holds("descriptor of the data", second, [["len", 8, 4, 1024], ["flags", 12, 2, 3]]);
  const third = bytes(desc + 16 * second[14]!, 16);
  holds("descriptor of the status", third, [["len", 8, 4, 1], ["flags", 12, 2, 2]]);
  const used = bytes(device, 6 + 8 * size);
  holds("used ring", used, [["idx", 2, 2, 1], ["len", 8, 4, 1025]]);
  assertEquals([...used.subarray(4, 8)], [head, 0, 0, 0], "id");
});

/** A disk of many sectors, which nobody reads. */
const HUGE: DiskBackend = {
  size: 0x01_0203_0405 * 512,
  readOnly: false,
  read() {},
  write() {},
  flush() {},
  zero() {},
  resize() {},
  [Symbol.dispose]() {},
} as DiskBackend;

Deno.test("spec legacy blk: each field of the configuration (drv.blk.legacy-config.1, dev.blk.legacy-config.1)", async () => {
  const model = new BlkDevice({
    disk: HUGE,
    sizeMax: 0x12000,
    segMax: 0x102,
    blockSize: 1024,
    queues: 3,
    geometry: { cylinders: 0x1234, heads: 5, sectors: 6 },
    topology: { physicalBlockExp: 1, alignmentOffset: 2, minIoSize: 0x304, optIoSize: 0x50607 },
    discard: { maxSectors: 0x80102, maxSegments: 3, alignment: 4 },
    writeZeroes: { maxSectors: 0x90103, maxSegments: 5 },
    secureErase: { maxSectors: 0xa0104, maxSegments: 6, alignment: 7 },
  });
  await using rig = await bootRecorded("blk", model, blkDriver, LEGACY);
  configHolds("virtio_blk_config", rig.bus.devices[0]!, model, [
    ["capacity", 0, 8, 0x0102030405],
    ["size_max", 8, 4, 0x12000],
    ["seg_max", 12, 4, 0x102],
    ["cylinders", 16, 2, 0x1234],
    ["blk_size", 20, 4, 1024],
    ["min_io_size", 26, 2, 0x304],
    ["opt_io_size", 28, 4, 0x50607],
    ["num_queues", 34, 2, 3],
    ["max_discard_sectors", 36, 4, 0x80102],
    ["max_discard_seg", 40, 4, 3],
    ["discard_sector_alignment", 44, 4, 4],
    ["max_write_zeroes_sectors", 48, 4, 0x90103],
    ["max_write_zeroes_seg", 52, 4, 5],
    ["max_secure_erase_sectors", 60, 4, 0xa0104],
    ["max_secure_erase_seg", 64, 4, 6],
    ["secure_erase_sector_alignment", 68, 4, 7],
  ]);
  const { blk } = rig;
  const { sizeMax, segMax, discard, writeZeroes, secureErase } = blk.limits;
  assertEquals([blk.sectors, sizeMax, segMax, blk.blockSize, blk.queues], [
    ...[0x0102030405, 0x12000, 0x102, 1024, 3],
  ]);
  assertEquals(blk.geometry, { cylinders: 0x1234, heads: 5, sectors: 6 });
  assertEquals([blk.topology!.minIoSize, blk.topology!.optIoSize], [0x304, 0x50607]);
  assertEquals([discard, secureErase].map((one) => Object.values(one!)), [
    [0x80102, 3, 4],
    [0xa0104, 6, 7],
  ]);
  assertEquals([writeZeroes!.maxSectors, writeZeroes!.maxSegments], [0x90103, 5]);
});

Deno.test("spec legacy blk: the fields of requests (drv.blk.legacy-operation.1, dev.blk.legacy-operation.1)", async () => {
  const disk = new MemoryDisk(1 << 20);
  const model = new BlkDevice({ disk, discard: { maxSectors: 2048, maxSegments: 1 } });
  await using rig = await bootRecorded("blk", model, blkDriver, LEGACY);
  await rig.blk.write(0x102, new Uint8Array(512).fill(7), SOON);
  await rig.blk.writeZeroes([{ sector: 0x203, sectors: 0x104 }], SOON);
  const [write, zeroes] = of(rig.seen, 0).slice(-2);
  holds("virtio_blk_req", write!.read, [["type", 0, 4, 1], ["sector", 8, 8, 0x102]]);
  assertEquals([disk.memory![0x102 * 512], disk.memory![0x103 * 512]], [7, 0]);
  holds("a range", zeroes!.read.subarray(16), [
    ["sector", 0, 8, 0x203],
    ["num_sectors", 8, 4, 0x104],
  ]);
  holds("virtio_blk_req", zeroes!.read, [["type", 0, 4, 13]]);
});

Deno.test("spec legacy net: status and max_virtqueue_pairs (drv.net.legacy-config.1, dev.net.legacy-config.1)", async () => {
  const model = new NetDevice({ backend: new Hub().port(), queuePairs: 2, speed: 10_000 });
  await using rig = await bootRecorded("net", model, createNetDriver({ pairs: 2 }), LEGACY);
  configHolds("virtio_net_config", rig.bus.devices[0]!, model, [
    ["status", 6, 2, 1],
    ["max_virtqueue_pairs", 8, 2, 2],
    ["mtu", 10, 2, 1500],
  ]);
  const { net } = rig;
  assertEquals([net.linkUp, net.maxQueuePairs, net.mtu], [true, 2, 1500]);
  model.setLink(false);
  await until("the link is down", () => !net.linkUp);
  model.setLink(true);
  await until("the link is up", () => net.linkUp);
  configHolds("virtio_net_config", rig.bus.devices[0]!, model, [["status", 6, 2, 1]]);
});

/** A TCP frame that must be cut in pieces, for any address. */
const LARGE = ((): Uint8Array => {
  const bytes = new Uint8Array(54 + 3000).fill(0x11);
  bytes.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0]);
  new DataView(bytes.buffer).setUint16(16, bytes.length - 14);
  bytes[23] = 6;
  bytes[46] = 0x50;
  return bytes;
})();

Deno.test("spec legacy net: the header of frames (drv.net.legacy-operation.1, dev.net.legacy-operation.1)", async () => {
  const hub = new Hub();
  const model = new NetDevice({ backend: hub.port() });
  await using rig = await bootRecorded("net", model, createNetDriver(), LEGACY);
  const wire = hub.port();
  const arrived: number[][] = [];
  wire.connect({
    accepts: Accept.ALL,
    flush: () => {},
    receive: (_bytes, _offset, length, { csumStart, csumOffset, gsoSize }) =>
      arrived.push([length, csumStart, csumOffset, gsoSize]),
  });
  await rig.net.send(LARGE, {
    csum: { start: 34, offset: 16 },
    gso: { type: "tcpv4", size: 1400, headerLength: 54 },
  });
  await until("the frame is sent", () => arrived.length > 0);
  const fields: readonly Field[] = [
    ["hdr_len", 2, 2, 54],
    ["gso_size", 4, 2, 1400],
    ["csum_start", 6, 2, 34],
    ["csum_offset", 8, 2, 16],
  ];
  holds("virtio_net_hdr, sent", of(rig.seen, 1)[0]!.read, fields);
  assertEquals(arrived, [[LARGE.length, 34, 16, 1400]]);
  const work = new Offload();
  Object.assign(work, {
    needsCsum: true,
    csumStart: 34,
    csumOffset: 16,
    gsoType: 1,
    gsoSize: 1400,
  });
  wire.send(LARGE, 0, LARGE.length, work);
  wire.flush();
  const { bytes, gsoSize, checksum } = await rig.net.receive(SOON);
  assertEquals([bytes, gsoSize, checksum], [LARGE, 1400, "partial"]);
  const [first] = of(rig.seen, 0);
  holds("virtio_net_hdr, received", first!.written!, fields.slice(1));
  const parts = of(rig.seen, 0).filter(({ written }) => written !== undefined).length;
  holds("virtio_net_hdr, received", first!.written!, [["num_buffers", 10, 2, parts]]);
});

Deno.test("spec legacy net: MAC tables, VLANs, pairs and offloads (drv.net.legacy-mac-filter.1, drv.net.legacy-vlan-filter.1, drv.net.legacy-mq.1, drv.net.legacy-offloads.1, dev.net.legacy-mac-filter.1, dev.net.legacy-vlan-filter.1, dev.net.legacy-mq.1, dev.net.legacy-offloads.1)", async () => {
  const model = new NetDevice({ backend: new Hub().port(), queuePairs: 2 });
  await using rig = await bootRecorded("net", model, createNetDriver({ pairs: 2 }), LEGACY);
  const { net } = rig;
  const CONTROL = 4;
  const command = async (run: () => Promise<void>): Promise<Uint8Array> => {
    await run();
    const { read, written } = of(rig.seen, CONTROL).at(-1)!;
    assertEquals([...written!], [0], "the device took it");
    return read;
  };
  const [one, two] = [Uint8Array.of(2, 0, 0, 0, 0, 1), Uint8Array.of(2, 0, 0, 0, 0, 2)];
  const group = Uint8Array.of(1, 0, 0x5e, 0, 0, 7);
  const table = await command(() => net.setMacTable([one, two], [group], SOON));
  holds("virtio_net_ctrl_mac", table, [["entries", 2, 4, 2], ["entries", 18, 4, 1]]);
  const frame = (to: Uint8Array, vlan: number): Uint8Array => {
    const bytes = new Uint8Array(60);
    bytes.set(to);
    bytes.set([0x81, 0, vlan >> 8, vlan & 0xff], 12);
    return bytes;
  };
  const passes = (to: Uint8Array, vlan: number): boolean =>
    model.filter.passes(frame(to, vlan), 0, 60);
  holds("VLAN", await command(() => net.addVlan(0x123, SOON)), [["id", 2, 2, 0x123]]);
  assertEquals([one, two, group].map((to) => passes(to, 0x123)), [true, true, true]);
  assertEquals([passes(one, 0x301), passes(Uint8Array.of(2, 0, 0, 0, 0, 3), 0x123)], [
    false,
    false,
  ]);
  holds("VLAN", await command(() => net.removeVlan(0x123, SOON)), [["id", 2, 2, 0x123]]);
  assertEquals(passes(one, 0x123), false);
  holds("virtio_net_ctrl_mq", await command(() => net.setPairs(2, SOON)), [
    ["virtqueue_pairs", 2, 2, 2],
  ]);
  // GUEST_CSUM is 1, GUEST_TSO4 7.
  const offloads = await command(() => net.setGuestOffloads([1, 7], SOON));
  holds("offloads", offloads, [["offloads", 2, 8, 0x82]]);
  assertEquals(model.accepts, Accept.CSUM | Accept.TSO4);
});

Deno.test("spec legacy console: configuration and control messages (drv.console.legacy-config.1, drv.console.legacy-operation.1, dev.console.legacy-config.1, dev.console.legacy-operation.1)", async () => {
  const written: number[] = [];
  const model = new ConsoleDevice({
    ports: [{ backend: loopbackPort(), console: true }, { backend: loopbackPort(), name: "p" }],
    multiport: true,
    maxPorts: 3,
    size: { cols: 0x102, rows: 0x50 },
    emergency: (byte) => written.push(byte),
  });
  await using rig = await bootRecorded("console", model, consoleDriver, LEGACY);
  const device = rig.bus.devices[0]!;
  configHolds("virtio_console_config", device, model, [
    ["cols", 0, 2, 0x102],
    ["rows", 2, 2, 0x50],
    ["max_nr_ports", 4, 4, 3],
  ]);
  // Two queues for the first port and for control messages, and two for each other one.
  assertEquals(device.queues.length, 8);
  rig.console.emergencyWrite("A");
  assertEquals([written, rig.seen.config.at(-1)], [[0x41], "w4@8=65"]);
  const port = await rig.console.port("p", SOON);
  const first = await rig.console.port(0, SOON);
  await until("the size is known", () => first.size !== undefined);
  assertEquals(first.size, { cols: 0x102, rows: 0x50 });
  using open = port.open();
  await open.hostOpened(SOON);
  const [TO_DRIVER, TO_DEVICE] = [2, 3];
  const told = (queue: number, id: number, event: number): Uint8Array | undefined =>
    of(rig.seen, queue).map(({ read, written }) => queue === TO_DEVICE ? read : written)
      .find((bytes) => bytes?.[0] === id && bytes[4] === event);
  // DEVICE_READY, PORT_READY and PORT_OPEN of the driver; PORT_ADD, PORT_NAME and PORT_OPEN of the device.
  await until("the driver opened the port", () => told(TO_DEVICE, 1, 6) !== undefined);
  for (const [event, id] of [[3, 1], [6, 1]] as const) {
    holds("virtio_console_control, of the driver", told(TO_DEVICE, id, event)!, [
      ["id", 0, 4, id],
      ["event", 4, 2, event],
      ["value", 6, 2, 1],
    ]);
  }
  holds("DEVICE_READY of the driver", of(rig.seen, TO_DEVICE)[0]!.read, [["value", 6, 2, 1]]);
  for (const [event, value] of [[1, 0], [7, 1], [6, 1]] as const) {
    holds("virtio_console_control, of the device", told(TO_DRIVER, 1, event)!, [
      ["id", 0, 4, 1],
      ["event", 4, 2, event],
      ...value === 1 ? [["value", 6, 2, 1] as const] : [],
    ]);
  }
  model.resize(0x103, 0x51);
  await until("the new size is known", () => first.size?.cols === 0x103);
  const sizes = of(rig.seen, TO_DRIVER).map(({ written }) => written)
    .filter((bytes) => bytes?.[4] === 5);
  holds("virtio_console_resize", sizes.at(-1)!, [
    ["event", 4, 2, 5],
    ["cols", 8, 2, 0x103],
    ["rows", 10, 2, 0x51],
  ]);
});

Deno.test("spec legacy balloon: statistics and commands of hints (drv.balloon.legacy-stats.1, drv.balloon.legacy-free-page-hint.1, dev.balloon.legacy-stats.1, dev.balloon.legacy-free-page-hint.1)", async () => {
  const model = new BalloonDevice();
  const regions: DmaRegion[] = [];
  const driver = createBalloonDriver({
    statistics: () => ({ 4: 0x0102030405, 9: 0x607 }),
    freePages: () => regions,
  });
  await using rig = await bootRecorded("balloon", model, driver, LEGACY);
  regions.push(rig.machine.dma.alloc(4096, { align: 4096 }));
  const { address } = regions[0]!;
  rig.machine.memory.view(address, 4096).fill(0x33);
  const values = await model.refresh();
  assertEquals([values.get(4), values.get(9)], [0x0102030405, 0x607]);
  const [STATISTICS, HINTS] = [2, 3];
  holds("virtio_balloon_stat", of(rig.seen, STATISTICS).at(-1)!.read, [
    ["tag", 0, 2, 4],
    ["val", 2, 8, 0x0102030405],
    ["tag", 10, 2, 9],
    ["val", 12, 8, 0x607],
  ]);
  model.startHinting();
  await until("the driver gave its page", () => of(rig.seen, HINTS).length >= 3);
  holds("command", of(rig.seen, HINTS)[0]!.read, [["id", 0, 4, 2]]);
  // Only the hints of a command that the device knows are discarded.
  assert(rig.machine.memory.view(address, 4096).every((byte) => byte === 0));
});

Deno.test("spec legacy scsi: each field of the configuration (drv.scsi.legacy-config.1, dev.scsi.legacy-config.1)", async () => {
  const disk = new MemoryDisk(1 << 20);
  const model = new ScsiDevice({ units: [{ target: 0, disk }], queues: 3 });
  await using rig = await bootRecorded("scsi", model, scsiDriver, LEGACY);
  configHolds("virtio_scsi_config", rig.bus.devices[0]!, model, [
    ["num_queues", 0, 4, 3],
    ["seg_max", 4, 4, 254],
    ["max_sectors", 8, 4, 0xffff],
    ["cmd_per_lun", 12, 4, 128],
    ["event_info_size", 16, 4, 16],
    ["sense_size", 20, 4, 96],
    ["cdb_size", 24, 4, 32],
    ["max_target", 30, 2, 255],
    ["max_lun", 32, 4, 16383],
  ]);
  const { scsi } = rig;
  assertEquals([scsi.maxTarget, scsi.maxLun], [255, 16383]);
  assert(scsi.maxBytes <= 0xffff * 512 && scsi.maxBytes >= 1 << 20);
  // The two that a driver may write, as Linux does.
  const { config } = rig.bus.devices[0]!;
  config.write32(20, 64);
  config.write32(24, 48);
  configHolds("virtio_scsi_config", rig.bus.devices[0]!, model, [
    ["sense_size", 20, 4, 64],
    ["cdb_size", 24, 4, 48],
  ]);
  // control, event and three for requests.
  assertEquals(rig.bus.devices[0]!.queues.length, 5);
});

Deno.test("spec legacy scsi: requests, control requests and events (drv.scsi.legacy-requestq.1, drv.scsi.legacy-controlq.1, drv.scsi.legacy-eventq.1, dev.scsi.legacy-requestq.1, dev.scsi.legacy-controlq.1, dev.scsi.legacy-eventq.1)", async () => {
  const model = new ScsiDevice({ units: [{ target: 0, disk: new MemoryDisk(1 << 20) }] });
  await using rig = await bootRecorded("scsi", model, scsiDriver, LEGACY);
  const [CONTROL, EVENT, REQUEST] = [0, 1, 2];
  const unit = rig.scsi.unit(0);
  await unit.ready(SOON);
  // INQUIRY with room for more bytes than it gives, and a command that no unit has.
  const inquiry = await rig.scsi.command({
    unit,
    cdb: Uint8Array.of(0x12, 0, 0, 1, 4, 0),
    read: 260,
    id: 0x0102,
  }, SOON);
  const asked = of(rig.seen, REQUEST).at(-1)!;
  holds("virtio_scsi_req_cmd", asked.read, [["id", 8, 8, 0x0102]]);
  assert(inquiry.residual > 0 && inquiry.residual < 260);
  holds("virtio_scsi_req_cmd's response", asked.written!, [["residual", 4, 4, inquiry.residual]]);
  const refused = await rig.scsi.command({ unit, cdb: Uint8Array.of(0xff, 0, 0, 0, 0, 0) }, SOON);
  assertEquals([refused.status, refused.sense?.key], [2, 5]);
  const answer = of(rig.seen, REQUEST).at(-1)!.written!;
  holds("virtio_scsi_req_cmd's response", answer, [["sense_len", 0, 4, 18]]);
  await rig.scsi.resetUnit(unit, SOON);
  const control = of(rig.seen, CONTROL).at(-1)!;
  // TMF is type 0; LOGICAL_UNIT_RESET is 5.
  holds("virtio_scsi_ctrl_tmf", control.read, [["subtype", 4, 4, 5]]);
  assertEquals([[...control.read.subarray(0, 4)], [...control.written!]], [[0, 0, 0, 0], [0]]);
  using events = rig.scsi.events(SOON);
  const next = events.next();
  model.resize(0, 0, 1 << 19);
  const { value } = await next;
  assertEquals(value, { kind: "changed", target: 0, lun: 0, asc: 0x2a, ascq: 9 });
  const event = of(rig.seen, EVENT)[0]!;
  // PARAM_CHANGE is 3; the code is in the first byte of reason, its qualifier in the second.
  holds("virtio_scsi_event", event.written!, [["event", 0, 4, 3], ["reason", 12, 4, 0x092a]]);
});

Deno.test("spec legacy scsi: a command is found by its id of 8 bytes (drv.scsi.legacy-requestq.1, drv.scsi.legacy-controlq.1, dev.scsi.legacy-requestq.1, dev.scsi.legacy-controlq.1)", async () => {
  const units = [{ target: 0, disk: new MemoryDisk(1 << 20) }];
  const model = new ScsiDevice({ units, hold: true });
  await using rig = await bootRecorded("scsi", model, scsiDriver, LEGACY);
  const unit = rig.scsi.unit(0);
  const id = 0x0102030405;
  const held = rig.scsi.command({ unit, cdb: new Uint8Array(6), id }, SOON);
  held.catch(() => {});
  await until("the device has the command", () => model.held === 1);
  // ABORT_TASK is 0.
  await rig.scsi.manage(0, unit, id, SOON);
  assertEquals(model.held, 0, "the device found it");
  await assertRejects(() => held, VireoError);
  holds("virtio_scsi_req_cmd", of(rig.seen, 2)[0]!.read, [["id", 8, 8, id]]);
  holds("virtio_scsi_ctrl_tmf", of(rig.seen, 0)[0]!.read, [["id", 16, 8, id]]);
});
