// An input device by its queues and configuration; every number is typed again from virtio 1.4 §5.8.
import { assertEquals } from "@std/assert";
import { FakeChain, FakeHost } from "../../testing/fake_host.ts";
import { InputDevice, type InputDeviceOptions } from "./device.ts";

const [EVENT, STATUS] = [0, 1];
const [SYN, KEY, ABS] = [0, 1, 3];
const NONE = new Uint8Array(0);

class Rig {
  readonly device: InputDevice;
  readonly host: FakeHost;

  constructor(options: Partial<InputDeviceOptions> = {}) {
    this.device = new InputDevice({ name: "Key", codes: { [KEY]: [1, 30] }, ...options });
    this.host = new FakeHost(this.device);
  }

  /** The driver gives buffers; the events in them: type, code and value. */
  take(count: number, room = 8): (number[] | undefined)[] {
    const chains = Array.from({ length: count }, () => new FakeChain(NONE, NONE, room));
    this.host.send(EVENT, ...chains);
    return chains.map(({ used, writable }) => {
      if (used === undefined) return undefined;
      const view = new DataView(writable.buffer);
      return [view.getUint16(0, true), view.getUint16(2, true), view.getInt32(4, true)];
    });
  }

  /** What the driver reads after it selected something. */
  ask(select: number, subsel = 0): number[] {
    this.device.writeConfig(0, 2, select | subsel << 8);
    const read = (at: number): number => this.device.readConfig(at, 1);
    assertEquals([read(0), read(1)], [select, subsel]);
    const bytes = Array.from({ length: 128 }, (_, i) => read(8 + i));
    assertEquals(bytes.slice(read(2)).every((byte) => byte === 0), true);
    return bytes.slice(0, read(2));
  }
}

Deno.test("input device: a packet is delivered as its buffers come, with an end, and the driver told once", () => {
  const rig = new Rig();
  const { host, device } = rig;
  device.send(KEY, 30, 1).send(ABS, 2, -5).sync();
  device.tap(1);
  assertEquals(device.usage(), { items: 7, bytes: 7 * 64 });
  assertEquals(rig.take(2), [[KEY, 30, 1], [ABS, 2, -5]]);
  assertEquals([host.signals, device.usage().items], [1, 5]);
  assertEquals(rig.take(7), [
    ...[[SYN, 0, 0], [KEY, 1, 1], [SYN, 0, 0], [KEY, 1, 0], [SYN, 0, 0]],
    ...[undefined, undefined],
  ]);
  assertEquals([host.signals, rig.take(0), host.signals], [2, [], 2]);
  // The buffers that are left take the next one at once.
  device.send(KEY, 1, 1).sync();
  assertEquals([host.signals, device.usage().items], [3, 0]);
});

Deno.test("input device: events wait up to 1024, and those of no driver are lost", () => {
  const rig = new Rig();
  const { device } = rig;
  for (let i = 0; i < 512; i++) device.send(KEY, 1, i).sync();
  assertEquals([device.lost, device.usage().items], [0, 1024]);
  device.sync();
  assertEquals([device.lost, device.usage().items], [1, 1024]);
  rig.take(1);
  device.sync();
  assertEquals([device.lost, device.usage().items], [1, 1024]);
  device.reset();
  device.send(KEY, 1, 1).sync();
  assertEquals([device.lost, device.usage().items], [3, 0]);
});

Deno.test("input device: the driver's events are kept, the last 1024, and told", () => {
  const told: unknown[] = [];
  const rig = new Rig({ onStatus: ({ type, code, value }) => void told.push([type, code, value]) });
  const { device, host } = rig;
  const send = (value: number, size = 8): FakeChain => {
    const bytes = new Uint8Array(size);
    new DataView(bytes.buffer).setInt16(0, 0x11, true);
    bytes[2] = 4;
    if (size >= 8) new DataView(bytes.buffer).setInt32(4, value, true);
    const chain = new FakeChain(bytes, NONE, 0);
    host.send(STATUS, chain);
    return chain;
  };
  assertEquals([send(-1).used, told, host.signals], [0, [[0x11, 4, -1]], 1]);
  for (let i = 0; i < 1024; i++) send(i);
  assertEquals([device.statuses.length, device.statuses[0]?.value], [1024, 0]);
  assertEquals(device.usage(), { items: 1024, bytes: 1024 * 64 });
  send(0, 7);
  assertEquals(host.faults, ["status event of 7 bytes, expected 8"]);
});

Deno.test("input device: a buffer that is too short for an event is the driver's fault", () => {
  const rig = new Rig();
  rig.device.send(KEY, 1, 1).sync();
  rig.take(1, 7);
  assertEquals([rig.host.faults, rig.host.done], [["event buffer of 7 bytes, expected 8"], []]);
});

Deno.test("input device: what the driver selects is answered, in as many bytes as there are", () => {
  const rig = new Rig({
    serial: "S1",
    ids: [0x1234, 0x5678, 0x9abc, 0xdef0],
    properties: [0, 9],
    codes: { [KEY]: [1, 30], [ABS]: [2] },
    axes: { 2: { min: -1, max: 255, fuzz: 2, flat: 3, resolution: 4 } },
  });
  const text = (words: string): number[] => [...new TextEncoder().encode(words)];
  assertEquals(rig.ask(1), text("Key"));
  assertEquals(rig.ask(2), text("S1"));
  assertEquals(rig.ask(3), [0x34, 0x12, 0x78, 0x56, 0xbc, 0x9a, 0xf0, 0xde]);
  assertEquals(rig.ask(0x10), [1, 2]);
  assertEquals(rig.ask(0x11, KEY), [2, 0, 0, 0x40]);
  assertEquals(rig.ask(0x11, ABS), [4]);
  assertEquals(rig.ask(0x11, 2), []);
  const axis = [[255, 255, 255, 255], [255, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0], [4, 0, 0, 0]];
  assertEquals(rig.ask(0x12, 2), axis.flat());
  assertEquals(rig.ask(0x12, 3), []);
  for (const unset of [0, 4, 0x13]) assertEquals(rig.ask(unset), []);
  const plain = new Rig({ axes: { 0: { min: 0, max: 1 } } });
  assertEquals([plain.ask(2), plain.ask(3), plain.ask(0x10)], [[], [], []]);
  assertEquals(plain.ask(0x12), [0, 0, 0, 0, 1, 0, 0, 0, ...new Array(12).fill(0)]);
  // Only the first two bytes are the driver's.
  rig.device.writeConfig(0, 4, 0xffff0001);
  assertEquals([rig.device.readConfig(2, 1), rig.device.readConfig(3, 1)], [3, 0]);
});
