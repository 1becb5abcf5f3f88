// One port alone, between a host's end that the test holds and two queues of chains.
import { assertEquals } from "@std/assert";
import type { BytePort } from "../../backends/byte_port.ts";
import type { DeviceContext } from "../../device.ts";
import { FakeChain, FakeHost } from "../../testing/fake_host.ts";
import { EchoModel } from "../../testing/echo_model.ts";
import { ConsolePort } from "./port.ts";

const [RECEIVE, TRANSMIT] = [0, 1];
const NONE = new Uint8Array(0);

/** A host's end: bytes to give, and room for those to take. */
class Host implements BytePort {
  room = Infinity;
  readonly written: number[][] = [];
  closed = 0;
  breaks = false;
  onChange: (() => void) | undefined;
  readonly #give: (Uint8Array | null)[] = [];

  give(...bytes: number[]): void {
    this.#give.push(Uint8Array.from(bytes));
  }
  end(): void {
    this.#give.push(null);
  }
  read(): Uint8Array | null | undefined {
    return this.#give.shift();
  }
  write(bytes: Uint8Array): void {
    if (this.breaks) throw new Error("broken");
    this.room -= bytes.length;
    this.written.push([...bytes]);
  }
  close(): void {
    this.closed++;
  }
}

class Rig {
  readonly host = new Host();
  readonly told: string[] = [];
  readonly fake: FakeHost;
  readonly port: ConsolePort;
  context: DeviceContext | undefined;

  constructor(options: { multiport?: boolean; console?: boolean; hostOpen?: boolean } = {}) {
    const { multiport = true, ...more } = options;
    // Only its queues are used.
    this.fake = new FakeHost(Object.assign(new EchoModel(), { notify: () => {} }));
    this.context = this.fake.context;
    this.port = new ConsolePort(0, { backend: this.host, ...more }, {
      context: () => this.context,
      multiport: () => multiport,
      hostChanged: ({ hostOpen }) => void this.told.push(`host ${hostOpen}`),
    });
    this.port.onGuestOpen = (open) => void this.told.push(`guest ${open}`);
  }

  /** The driver posts buffers of these sizes; the chains. */
  post(...sizes: number[]): FakeChain[] {
    const chains = sizes.map((size) => new FakeChain(NONE, NONE, size));
    this.fake.send(RECEIVE, ...chains);
    this.port.toGuest();
    return chains;
  }

  /** The driver sends bytes. */
  send(...all: number[][]): FakeChain[] {
    const chains = all.map((bytes) => new FakeChain(Uint8Array.from(bytes), NONE, 0));
    this.fake.send(TRANSMIT, ...chains);
    this.port.fromGuest();
    return chains;
  }
}

const got = (chains: readonly FakeChain[]): (number[] | undefined)[] =>
  chains.map(({ used, writable }) =>
    used === undefined ? undefined : [...writable.subarray(0, used)]
  );

Deno.test("console port: host bytes fill buffers once both sides are open, and the driver is told once", () => {
  const rig = new Rig();
  const { port, host, fake } = rig;
  host.give(1, 2, 3);
  host.give(4);
  const chains = rig.post(2, 2, 2, 2);
  assertEquals([got(chains), fake.signals], [[undefined, undefined, undefined, undefined], 0]);
  const before = fake.context.work.counters.steps;
  port.setGuestOpen(true);
  assertEquals([got(chains), fake.signals], [[[1, 2], [3], [4], undefined], 1]);
  assertEquals(fake.context.work.counters.steps - before, 3);
  port.toGuest();
  assertEquals(fake.signals, 1, "nothing new is no news");
  port.closeHost();
  host.give(5);
  port.toGuest();
  assertEquals(got(chains)[3], undefined);
  port.openHost();
  assertEquals(got(chains)[3], [5]);
  for (const again of [() => port.openHost(), () => port.setGuestOpen(true)]) again();
  assertEquals(rig.told, ["guest true", "host false", "host true"]);
});

Deno.test("console port: bytes that a buffer had no room for come first, and are in the state", () => {
  const rig = new Rig();
  const { port, host } = rig;
  port.setGuestOpen(true);
  host.give(1, 2, 3, 4, 5);
  assertEquals([got(rig.post(2)), port.pendingBytes], [[[1, 2]], 3]);
  assertEquals((port.snapshot() as { pending: number[] }).pending, [3, 4, 5]);
  const next = new Rig();
  next.port.restore(structuredClone(port.snapshot()) as Record<string, unknown>);
  assertEquals([next.port.guestOpen, next.port.pendingBytes, got(next.post(9))], [true, 3, [[
    3,
    4,
    5,
  ]]]);
});

Deno.test("console port: the end of the host's bytes closes its side, after what it gave", () => {
  const rig = new Rig();
  const { port, host } = rig;
  port.setGuestOpen(true);
  host.give(1);
  host.end();
  assertEquals([got(rig.post(4, 4)), port.hostOpen, rig.told], [
    [[1], undefined],
    ...[false, ["guest true", "host false"]],
  ]);
  port.openHost();
  host.give(9);
  port.toGuest();
  assertEquals(port.pendingBytes, 0, "it is not asked again");
});

Deno.test("console port: without MULTIPORT the guest's side is always open", () => {
  const rig = new Rig({ multiport: false });
  rig.host.give(1);
  assertEquals([rig.port.guestOpen, got(rig.post(1))], [true, [[1]]]);
  rig.port.closeHost();
  rig.send([7]);
  assertEquals(rig.host.written, [[7]]);
});

Deno.test("console port: guest bytes go out as far as the host takes them, and the buffer comes back when it is empty", () => {
  const rig = new Rig();
  const { host, fake, port } = rig;
  host.room = 3;
  const [first, second, empty] = rig.send([1, 2], [3, 4], []);
  assertEquals([host.written, first!.used, second!.used, fake.signals], [
    [[1, 2], [3]],
    0,
    undefined,
    1,
  ]);
  port.fromGuest();
  assertEquals([host.written.length, fake.signals], [2, 1]);
  host.room = 9;
  port.fromGuest();
  assertEquals([host.written[2], second!.used, empty!.used, fake.signals], [[4], 0, 0, 2]);
});

Deno.test("console port: what nobody takes is thrown away as if it was sent", () => {
  const rows:
    readonly (readonly [ConstructorParameters<typeof Rig>[0], boolean, (rig: Rig) => void])[] = [
      [{}, true, () => {}],
      [{ hostOpen: false }, false, () => {}],
      [{ hostOpen: false, console: true }, true, () => {}],
      [{ hostOpen: false, multiport: false }, true, () => {}],
      [{}, false, ({ port }) => port.remove()],
      [{}, false, ({ host }) => void (host.breaks = true)],
    ];
  for (const [options, heard, act] of rows) {
    const rig = new Rig(options);
    act(rig);
    const [chain] = rig.send([1, 2, 3]);
    assertEquals([rig.host.written, chain!.used], [heard ? [[1, 2, 3]] : [], 0]);
    // A host that broke once is not asked again.
    rig.host.breaks = false;
    rig.send([4]);
    assertEquals(rig.host.written.length, heard ? 2 : 0);
  }
});

Deno.test("console port: a port that is removed lets go of its host and gives the driver its buffers back", () => {
  const rig = new Rig();
  const { port, host } = rig;
  host.onChange = () => {};
  port.setGuestOpen(true);
  host.room = 1;
  const chains = rig.send([1, 2], [3]);
  assertEquals(chains.map(({ used }) => used), [undefined, undefined]);
  port.remove();
  assertEquals([chains.map(({ used }) => used), host.written], [[0, 0], [[1]]]);
  assertEquals([host.closed, host.onChange, rig.told], [1, undefined, [
    "guest true",
    "guest false",
  ]]);
  host.give(5);
  port.setGuestOpen(true);
  assertEquals(got(rig.post(4)), [undefined]);
});

Deno.test("console port: a reset of its queues voids what it held, one of the device what the guest said, too", () => {
  for (const device of [false, true]) {
    const rig = new Rig();
    const { port, host } = rig;
    assertEquals([port.ready, port.guestOpen], [false, false]);
    port.setReady(true);
    port.setGuestOpen(true);
    host.room = 1;
    const [held] = rig.send([1, 2]);
    port.reset(device);
    host.room = 9;
    port.fromGuest();
    assertEquals([held!.used, host.written], [undefined, [[1]]]);
    assertEquals([port.ready, port.guestOpen], [!device, !device]);
  }
});

Deno.test("console port: a driver that sends without end is served a turn at a time", () => {
  const rig = new Rig();
  const { work } = rig.fake.context;
  const chain = new FakeChain(Uint8Array.of(1), NONE, 0);
  rig.fake.send(TRANSMIT, chain);
  // The budget of the turn is gone: the chain stays in the ring, which is looked at again.
  work.spend(0, 2 ** 40);
  const { yields } = work.counters;
  rig.port.fromGuest();
  assertEquals([chain.used, rig.host.written, work.counters.yields - yields], [undefined, [], 1]);
  work.clear();
});

Deno.test("console port: chains of the wrong direction are faults, and take nothing along", () => {
  const rig = new Rig();
  const { fake, port } = rig;
  port.setGuestOpen(true);
  rig.host.give(1);
  fake.send(RECEIVE, new FakeChain(Uint8Array.of(1), NONE, 4));
  port.toGuest();
  fake.send(RECEIVE, new FakeChain(NONE, NONE, 0));
  port.toGuest();
  fake.send(TRANSMIT, new FakeChain(Uint8Array.of(1), NONE, 1));
  port.fromGuest();
  assertEquals(fake.faults, [
    "receive buffer of port 0 is not device-writable only",
    "receive buffer of port 0 is not device-writable only",
    "transmit buffer of port 0 is device-writable",
  ]);
  assertEquals([fake.done, fake.signals, port.pendingBytes, rig.host.written], [[], 0, 1, []]);
  rig.send([2]);
  assertEquals(rig.host.written, [[2]]);
});

Deno.test("console port: without a driver nothing moves", () => {
  const rig = new Rig();
  rig.context = undefined;
  rig.host.give(1);
  rig.port.setGuestOpen(true);
  rig.port.fromGuest();
  assertEquals([rig.port.pendingBytes, rig.host.written], [0, []]);
});
