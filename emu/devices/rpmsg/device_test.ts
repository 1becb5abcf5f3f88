// A remote processor by the messages of its queues; numbers are typed again from Linux's virtio_rpmsg_bus.c.
import { assertEquals } from "@std/assert";
import { FakeChain, FakeHost } from "../../testing/fake_host.ts";
import { RpmsgDevice, type RpmsgService } from "./device.ts";

const [RECEIVE, TRANSMIT] = [0, 1];
const NAMES = 53;
const NONE = new Uint8Array(0);

/** A message: source, target, length and data. */
function message(
  src: number,
  dst: number,
  data: readonly number[],
  length = data.length,
): Uint8Array {
  const bytes = new Uint8Array(16 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, src, true);
  view.setUint32(4, dst, true);
  view.setUint16(12, length, true);
  bytes.set(data, 16);
  return bytes;
}

/** An announcement: 32 bytes of a name, an address, and 0 to create or 1 to destroy. */
function announcement(name: string, address: number, flags: number): number[] {
  const bytes = new Uint8Array(40);
  new TextEncoder().encodeInto(name, bytes);
  new DataView(bytes.buffer).setUint32(32, address, true);
  bytes[36] = flags;
  return [...bytes];
}

class Rig {
  readonly seen: unknown[] = [];
  readonly service: RpmsgService = {
    name: "echo",
    address: 0x400,
    handle: (from, bytes, reply) => {
      this.seen.push([from, ...bytes]);
      reply(bytes);
    },
  };
  readonly device: RpmsgDevice;
  readonly host: FakeHost;

  constructor(nameService = true) {
    this.device = new RpmsgDevice({ services: [this.service], nameService });
    this.host = new FakeHost(this.device);
  }

  /** The driver gives a buffer; the message in it, or nothing. */
  take(room = 512): number[] | undefined {
    const chain = new FakeChain(NONE, NONE, room);
    this.host.send(RECEIVE, chain);
    if (chain.used === undefined) return undefined;
    const view = new DataView(chain.writable.buffer);
    const length = view.getUint16(12, true);
    assertEquals([chain.used, view.getUint32(8, true), view.getUint16(14, true)], [
      16 + length,
      0,
      0,
    ]);
    return [
      view.getUint32(0, true),
      view.getUint32(4, true),
      ...chain.writable.subarray(16, 16 + length),
    ];
  }

  say(bytes: Uint8Array): FakeChain {
    const chain = new FakeChain(bytes, NONE, 0);
    this.host.send(TRANSMIT, chain);
    return chain;
  }
}

Deno.test("rpmsg device: its services are announced with the feature, and taken back", () => {
  const rig = new Rig();
  assertEquals(rig.take(), [NAMES, NAMES, ...announcement("echo", 0x400, 0)]);
  rig.device.withdraw(rig.service);
  assertEquals(rig.take(), [NAMES, NAMES, ...announcement("echo", 0x400, 1)]);
  assertEquals(rig.take(), undefined);
  rig.say(message(9, 0x400, [1]));
  assertEquals([rig.seen, rig.device.unknown, new Rig(false).device.waiting], [[], 1, 0]);
  const long = new RpmsgDevice({ services: [{ ...rig.service, name: "n".repeat(40) }] });
  const host = new FakeHost(long);
  const chain = new FakeChain(NONE, NONE, 512);
  host.send(RECEIVE, chain);
  assertEquals([...chain.writable.subarray(16 + 30, 16 + 33)], [110, 0, 0], "31 bytes and a zero");
});

Deno.test("rpmsg device: a message reaches its service, whose answer goes back", () => {
  const rig = new Rig(false);
  const chains = [rig.say(message(9, 0x400, [1, 2, 3])), rig.say(message(9, 0x400, [4, 5, 6], 2))];
  assertEquals([chains.map(({ used }) => used), rig.seen], [[0, 0], [[9, 1, 2, 3], [9, 4, 5]]]);
  assertEquals(rig.device.usage(), { items: 2, bytes: 5 });
  const signals = rig.host.signals;
  assertEquals([rig.take(), rig.take(), rig.take()], [
    [0x400, 9, 1, 2, 3],
    [0x400, 9, 4, 5],
    undefined,
  ]);
  // Each look at what the driver sent signals, too.
  assertEquals([rig.host.signals - signals, rig.device.waiting], [5, 0]);
  // The buffer that was left takes the next one at once.
  rig.device.send(1, 2, Uint8Array.of(7));
  assertEquals(rig.device.waiting, 0);
});

Deno.test("rpmsg device: buffers and messages that do not fit are the driver's faults", () => {
  const rows: readonly (readonly [(rig: Rig) => void, string | undefined])[] = [
    [(rig) => rig.say(new Uint8Array(15)), "message buffer of 15 bytes, expected 16 to 512"],
    [
      (rig) => rig.say(message(9, 8, Array(497).fill(0))),
      "message buffer of 513 bytes, expected 16 to 512",
    ],
    [(rig) => rig.say(message(9, 8, Array(496).fill(0))), undefined],
    [(rig) => rig.say(message(9, 8, [])), undefined],
    [(rig) => rig.say(message(9, 8, [1, 2], 3)), "message of 3 bytes in a buffer with 2"],
    [(rig) => {
      rig.device.send(1, 2, Uint8Array.of(1, 2));
      rig.take(17);
    }, "receive buffer of 17 bytes"],
    [(rig) => {
      rig.device.send(1, 2, Uint8Array.of(1, 2));
      rig.take(18);
    }, undefined],
  ];
  for (const [act, fault] of rows) {
    const rig = new Rig(false);
    act(rig);
    assertEquals(rig.host.faults, fault === undefined ? [] : [fault]);
  }
});

Deno.test("rpmsg device: names of the driver are kept up to 256, and forgotten when they are taken back", () => {
  const rig = new Rig(false);
  const { device } = rig;
  const name = (text: string, address: number, flags = 0): FakeChain =>
    rig.say(message(NAMES, NAMES, announcement(text, address, flags)));
  for (let i = 0; i < 257; i++) name(`s${i}`, i);
  assertEquals([device.announced.size, device.refused, device.usage()], [256, 1, {
    items: 256,
    bytes: 256 * 128,
  }]);
  name("s7", 99);
  assertEquals([device.announced.get("s7"), device.refused], [99, 1]);
  name("s7", 99, 1);
  name("s256", 5);
  assertEquals([device.announced.has("s7"), device.announced.get("s256"), device.refused], [
    ...[false, 5],
    1,
  ]);
  // Another length is no announcement, and no service has the address.
  rig.say(message(NAMES, NAMES, announcement("x", 1, 0).slice(1)));
  assertEquals([device.unknown, device.announced.has("x")], [1, false]);
});

Deno.test("rpmsg device: a driver that takes no answers is not read any more", () => {
  const rig = new Rig(false);
  let sent = 0;
  while (rig.say(message(9, 0x400, [1])).used !== undefined) sent++;
  assertEquals([sent, rig.device.waiting], [256, 256]);
  assertEquals([rig.take(), rig.device.waiting], [[0x400, 9, 1], 256], "the next one is read");
});
