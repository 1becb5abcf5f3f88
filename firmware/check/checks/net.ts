import { join, u16, u32, zeroes } from "../bytes.ts";
import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { FRAME, netHeader, TYPE } from "../requests.ts";
import { ACK, command, control, NET_CONTROL } from "./net_control.ts";

const NET = { devices: [TYPE.NET] } as const;
const CSUM = 0;
const MTU = 3;
const MAC = 5;
const STATUS = 16;
const CTRL_RX = 18;
const CTRL_VLAN = 19;
const RX_EXTRA = 20;
const CTRL_MAC = 23;
const HOST_USO = 56;
const SPEED = 63;
const { CTRL_VQ, MQ } = NET_CONTROL;
const { OK, ERR } = ACK;

/** 200 bytes from port 7 to port 9 of an address without a meaning, to all, with the pseudo-header's sum. */
const UDP_PACKET = join(
  FRAME.subarray(0, 12),
  [8, 0, 0x45, 0, 0, 228, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2],
  [0, 7, 0, 9, 0, 208, 0x84, 0xe5],
  zeroes(200),
);

const address = (c: CheckContext): Uint8Array =>
  Uint8Array.from({ length: 6 }, (_, i) => c.device.config(i, 1));

const config: Check[] = [
  {
    id: "net.mac",
    clauses: ["virtio 1.4 §5.1.4"],
    done: "mac is read",
    expected: "not a multicast address, and not zeroes",
    offers: [MAC],
    scope: NET,
    run(c) {
      const mac = address(c);
      c.expect("mac", (mac[0]! & 1) === 0 && mac.some((byte) => byte !== 0), mac, "unicast");
    },
  },
  {
    id: "net.status",
    clauses: ["virtio 1.4 §5.1.4"],
    done: "status is read",
    expected: "no bits but LINK_UP and ANNOUNCE",
    offers: [STATUS],
    scope: NET,
    run: (c) => c.equal("other bits of status", c.device.config(6, 2) & ~3, 0),
  },
  {
    id: "net.pairs",
    clauses: ["dev.net.config.1"],
    done: "max_virtqueue_pairs is read where MQ is offered",
    expected: "1 to 0x8000",
    offers: [MQ],
    scope: NET,
    run(c) {
      const pairs = c.device.config(8, 2);
      c.expect("max_virtqueue_pairs", pairs >= 1 && pairs <= 0x8000, pairs, "1 to 0x8000");
    },
  },
  {
    id: "net.mtu",
    clauses: ["dev.net.config.2", "dev.net.config.4"],
    done: "mtu is read twice, with a reset between",
    expected: "68 or more, and the same",
    offers: [MTU],
    scope: NET,
    async run(c) {
      const mtu = c.device.config(10, 2);
      c.expect("mtu", mtu >= 68, mtu, "68 or more");
      await c.init({ features: [MTU] });
      c.equal("mtu", c.device.config(10, 2), mtu);
    },
  },
  {
    id: "net.speed",
    clauses: ["dev.net.config.9", "dev.net.config.10"],
    done: "speed and duplex are read where SPEED_DUPLEX is offered",
    expected: "speed up to 0x7fffffff or all ones, duplex 0, 1 or 0xff",
    offers: [SPEED],
    scope: NET,
    run(c) {
      const [speed, duplex] = [c.device.config(12, 4), c.device.config(16, 1)];
      c.expect("speed", speed <= 0x7fffffff || speed === 0xffffffff, speed, "0 to 0x7fffffff");
      c.expect("duplex", duplex <= 1 || duplex === 0xff, duplex, "0, 1 or 0xff");
    },
  },
  {
    id: "net.rx-extra-with-control",
    clauses: ["dev.net.config.13"],
    done: "the offer is read",
    expected: "CTRL_RX_EXTRA is offered only with CTRL_VQ",
    offers: [RX_EXTRA],
    scope: NET,
    run: (c) => c.equal("CTRL_VQ is offered", c.offered().has(CTRL_VQ), true),
  },
];

const transmit: Check[] = [
  {
    id: "net.unknown-flags",
    clauses: ["dev.net.tx.1"],
    done: "a frame is sent whose header has flags without a meaning",
    expected: "they are ignored, and the frame is used",
    scope: NET,
    async run(c) {
      await c.init();
      const header = zeroes(netHeader(c));
      header[0] = 0x80;
      await c.ask(1, [header, FRAME]);
    },
  },
  {
    id: "net.no-checksum",
    clauses: ["dev.net.tx.2"],
    done: "a frame is sent with csum_start and csum_offset beyond it, without NEEDS_CSUM",
    expected: "they go unused, and the frame is used",
    scope: NET,
    async run(c) {
      await c.init();
      const header = zeroes(netHeader(c));
      header.set(u16(0xffff, 0xffff), 6);
      await c.ask(1, [header, FRAME]);
    },
  },
  {
    id: "net.hint-of-length",
    clauses: ["dev.net.tx.4"],
    done: "a frame is sent with hdr_len 0xffff",
    expected: "it is not trusted, and the frame is used",
    scope: NET,
    async run(c) {
      await c.init();
      const header = zeroes(netHeader(c));
      header.set(u16(0xffff), 2);
      await c.ask(1, [header, FRAME]);
    },
  },
  {
    id: "net.uso",
    clauses: ["virtio 1.4 §5.1.9.2"],
    done: "a UDP packet of two datagrams is sent, which HOST_USO has the device cut",
    expected: "the packet is used",
    offers: [CSUM, HOST_USO],
    scope: NET,
    async run(c) {
      await c.init({ features: [CSUM, HOST_USO] });
      await c.ask(1, [join([1, 5], u16(42, 100, 34, 6), zeroes(2)), UDP_PACKET]);
    },
  },
  {
    id: "net.receive-waits",
    clauses: ["dev.split-ring.framing.1"],
    done: "a receive buffer is posted, and the device resets",
    expected: "it is taken or left, and memory around it as it was",
    scope: NET,
    async run(c) {
      await c.init();
      c.offer(0, c.chain([c.writable(1526)]));
      await c.quiet();
      await c.reset();
      c.intact();
    },
  },
];

const COMMANDS: readonly (readonly [
  name: string,
  features: readonly number[],
  clause: string,
  group: number,
  code: number,
  data: (c: CheckContext) => Uint8Array[],
  answer: number,
])[] = [
  ...["promisc", "allmulti"].map((name, code) =>
    [name, [CTRL_RX], "dev.net.rx-filter.1", 0, code, () => [Uint8Array.of(0)], OK] as const
  ),
  ...["alluni", "nomulti", "nouni", "nobcast"].map((name, i) =>
    [
      name,
      [CTRL_RX, RX_EXTRA],
      "dev.net.rx-filter.5",
      0,
      2 + i,
      () => [Uint8Array.of(0)],
      OK,
    ] as const
  ),
  ["mac-table", [CTRL_RX], "virtio 1.4 §5.1.9.5.2", 1, 0, () => [u32(0), u32(0)], OK],
  [
    "mac-table-of-two",
    [CTRL_RX],
    "virtio 1.4 §5.1.9.5.2",
    1,
    0,
    () => [join(u32(1), [2, 0, 0, 0, 0, 9]), join(u32(1), [3, 0, 0, 0, 0, 9])],
    OK,
  ],
  ["vlan-add", [CTRL_VLAN], "virtio 1.4 §5.1.9.5.3", 2, 0, () => [u16(5)], OK],
  ["vlan-del", [CTRL_VLAN], "virtio 1.4 §5.1.9.5.3", 2, 1, () => [u16(5)], OK],
  ["pairs-1", [MQ], "virtio 1.4 §5.1.9.5.6", 4, 0, () => [u16(1)], OK],
];

const commands: Check[] = COMMANDS.map(([name, features, clause, group, code, data, answer]) => ({
  id: `net.command.${name}`,
  clauses: [clause],
  done: `the control command ${group}, ${code} is sent`,
  expected: "OK",
  offers: [CTRL_VQ, ...features],
  scope: NET,
  async run(c) {
    const queue = await control(c, ...features);
    c.equal("ack", await command(c, queue, group, code, ...data(c)), answer);
  },
}));

const set: Check[] = [
  {
    id: "net.command.mac-address",
    clauses: ["dev.net.mac-filter.3"],
    done: "another address is set by MAC_ADDR_SET, and mac read; then the first one is set again",
    expected: "OK, and mac is the new address by the time the command is used",
    offers: [CTRL_VQ, CTRL_MAC, MAC],
    scope: NET,
    async run(c) {
      const queue = await control(c, CTRL_MAC, MAC);
      const before = address(c);
      const other = Uint8Array.of(2, 0x10, 0x20, 0x30, 0x40, 0x50);
      c.equal("ack", await command(c, queue, 1, 1, other), OK);
      const seen = address(c);
      c.equal("ack", await command(c, queue, 1, 1, before), OK);
      c.equal("mac", seen, other);
      c.equal("mac in the end", address(c), before);
    },
  },
];

/** Commands that must fail, and those whose shape is wrong. */
const refused: Check[] = ([
  ["unknown-class", [], 99, 0, [Uint8Array.of(0)]],
  ["unknown-rx-code", [CTRL_RX], 0, 77, [Uint8Array.of(0)]],
  ["unknown-mac-code", [CTRL_RX], 1, 77, [Uint8Array.of(0)]],
  ["pairs-0", [MQ], 4, 0, [u16(0)]],
  ["pairs-65535", [MQ], 4, 0, [u16(0xffff)]],
  ["vlan-without-id", [CTRL_VLAN], 2, 0, []],
  ["promisc-without-value", [CTRL_RX], 0, 0, []],
  ["mac-of-5-bytes", [CTRL_MAC], 1, 1, [zeroes(5)]],
  ["mac-table-cut", [CTRL_RX], 1, 0, [u32(4), u32(0)]],
  ["mac-table-huge", [CTRL_RX], 1, 0, [u32(0xffffffff), u32(0xffffffff)]],
] as const).map(([name, features, group, code, data]) => ({
  id: `net.hostile.${name}`,
  clauses: ["virtio 1.4 §5.1.9.5"],
  done: `the control command ${group}, ${code} is sent with data that makes no sense`,
  expected: "ERR",
  hostile: true,
  offers: [CTRL_VQ, ...features],
  scope: NET,
  async run(c) {
    const queue = await control(c, ...features);
    c.equal("ack", await command(c, queue, group, code, ...data), ERR);
  },
}));

const shapes: Check[] = ([
  ["command-of-one-byte", 2, [Uint8Array.of(0)], [1]],
  ["command-without-ack", 2, [Uint8Array.of(0, 0), Uint8Array.of(0)], []],
  ["command-without-bytes", 2, [], [1]],
  ["header-cut", 1, [zeroes(5)], []],
  ["header-alone", 1, [zeroes(12)], []],
  ["frame-of-64k", 1, [zeroes(12), zeroes(65535)], []],
  ["gso-without-size", 1, [join([1, 1], u16(54, 0, 34, 16), zeroes(2)), FRAME], []],
  ["uso-not-negotiated", 1, [join([1, 5], u16(42, 100, 34, 6), zeroes(2)), UDP_PACKET], []],
  ["gso-unknown", 1, [join([1, 77], u16(54, 1000, 34, 16), zeroes(2)), FRAME], []],
  ["checksum-outside", 1, [join([1, 0], u16(0, 0, 0xfff0, 0xfff0), zeroes(2)), FRAME], []],
  ["receive-of-one-byte", 0, [], [1]],
  ["receive-readable", 0, [zeroes(64)], []],
] as const).map(([name, queue, readable, writable]) => ({
  id: `net.hostile.${name}`,
  clauses: ["virtio 1.4 §5.1.9"],
  done: `a buffer is made available to queue ${queue} whose shape is wrong`,
  expected: "the device drops it or stops, and after a reset works as before",
  hostile: true,
  scope: NET,
  async run(c) {
    await control(c, CTRL_RX);
    await c.tell(queue, [...readable], [...writable]);
  },
}));

/** Network devices. */
export const NET_CHECKS: readonly Check[] = [
  ...config,
  ...transmit,
  ...commands,
  ...set,
  ...refused,
  ...shapes,
];
