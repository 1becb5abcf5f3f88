import { assert, assertEquals, assertRejects } from "@std/assert";
import { EmulatedMachine, HostPeer, Hub, NetDevice, Tap } from "@vireo/emu";
import { Feature, FeatureSet, VireoError } from "@vireo/hal";
import { testWithRights } from "../with_rights.ts";
import { Bus, type BusOptions } from "../../drivers/bus/bus.ts";
import { createNetDriver } from "../../drivers/net/driver.ts";
import type { Net } from "../../drivers/net/net.ts";
import { ping } from "../../firmware/ip/ping.ts";

const driver = createNetDriver({ pairs: 2 });
const NO_RINGS = FeatureSet.of(Feature.INDIRECT_DESC, Feature.EVENT_IDX);

/** The reason of the fault that a test makes itself. */
const INJECTED = "a fault of the test's";

/** Two devices on one hub, in one machine, with a peer. */
class Board implements AsyncDisposable {
  readonly hub: Hub = new Hub();
  readonly models: readonly NetDevice[];
  readonly peer: HostPeer = new HostPeer(this.hub.port(), { ip: "10.0.2.2" });
  readonly machine: EmulatedMachine;
  readonly reports: Error[] = [];
  bus!: Bus;
  nets: readonly Net[] = [];

  constructor(version: 1 | 2) {
    this.models = [1, 2].map((i) =>
      new NetDevice({ backend: this.hub.port(), mac: `02:00:00:00:00:0${i}`, queuePairs: 2 })
    );
    this.machine = EmulatedMachine.create({
      devices: this.models.map((model) => ({ model, version })),
    });
  }

  static async open(version: 1 | 2, options: BusOptions = {}): Promise<Board> {
    const board = new Board(version);
    board.bus = new Bus({ onError: (error) => board.reports.push(error), ...options });
    await board.bus.registerDriver(driver);
    const devices = await board.bus.addPlatform(board.machine);
    assertEquals(board.bus.slotErrors, []);
    board.nets = devices.map(({ instance, error }) => {
      assertEquals(error, undefined);
      return instance as Net;
    });
    return board;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    const found = this.machine.violations().filter(({ reason }) => reason !== INJECTED);
    assertEquals(found, []);
    await this.machine[Symbol.asyncDispose]();
  }
}

for (const version of [1, 2] as const) {
  for (
    const [name, filter] of [["all ring features", FeatureSet.NONE], ["none", NO_RINGS]] as const
  ) {
    Deno.test(`net: whole machine, version ${version}, ${name}`, async () => {
      await using board = await Board.open(version, { filter });
      const [a, b] = board.nets as [Net, Net];
      assertEquals([a.macText, a.queuePairs, a.linkUp], ["02:00:00:00:00:01", 2, true]);
      const result = await ping(a, { source: "10.0.2.15", target: "10.0.2.2", count: 2 });
      assertEquals(result.replies.length, 2);
      await b.setPromiscuous(true);
      for (let i = 0; i < 200; i++) {
        const bytes = Uint8Array.from({ length: 60 + i * 7 }, (_, at) => at ^ i);
        bytes.set(b.mac, 0);
        bytes.set(a.mac, 6);
        bytes.set([0x88, 0xb5], 12);
        await a.send(bytes, { queue: i & 1 });
        const frame = await b.receive({ deadline: 2000 });
        // The ARP request and the echoes are there too, as the port is promiscuous.
        const ours = frame.bytes[12] === 0x88
          ? frame
          : await nextOf(b, (bytes) => bytes[12] === 0x88);
        assertEquals(ours.bytes, bytes);
      }
      assertEquals(board.reports, []);
    });
  }

  Deno.test(`net: whole machine, version ${version}: suspend, fault and recovery`, async () => {
    await using board = await Board.open(version);
    const [a, b] = board.nets as [Net, Net];
    await b.addVlan(5);
    await b.setPromiscuous(true);
    await board.bus.freeze();
    await assertRejects(() => a.send(new Uint8Array(60)), VireoError, "reset");
    await board.bus.restore();
    const before = board.models[1]!.snapshot();
    assertEquals(before.filter.vlans, [5]);
    const waiting = b.receive();
    waiting.catch(() => {});
    const recovered = board.bus.devices[1]!.recovered();
    board.machine.device(1).fault(INJECTED);
    assertEquals(await recovered, 1);
    await assertRejects(() => waiting, VireoError);
    assertEquals(board.models[1]!.snapshot(), before);
    const result = await ping(b, { source: "10.0.2.16", target: "10.0.2.2", count: 1 });
    assertEquals(result.replies.length, 1);
  });

  Deno.test(`net: whole machine, version ${version}: link and announce by config interrupt`, async () => {
    await using board = await Board.open(version);
    const [net] = board.nets as [Net, Net];
    const [model] = board.models as [NetDevice, NetDevice];
    const event = (type: string): Promise<Event> =>
      new Promise((resolve) => net.addEventListener(type, resolve, { once: true }));
    const link = event("link");
    model.setLink(false);
    await link;
    assertEquals(net.linkUp, false);
    const again = event("link");
    model.setLink(true);
    await again;
    const announce = event("announce");
    assert(model.announce());
    await announce;
    await net.setPromiscuous(false);
    assertEquals(model.readConfig(6, 2), 1, "acknowledged");
  });
}

async function nextOf(net: Net, match: (bytes: Uint8Array) => boolean) {
  while (true) {
    const frame = await net.receive({ deadline: 2000 });
    if (match(frame.bytes)) return frame;
  }
}

// Needs root or sudo, /dev/net/tun and `ip`; without them it fails with the reason, it does not pass.
testWithRights(
  import.meta.url,
  "net: the host's kernel answers our ping over a tap interface",
  async () => {
    using tap = Tap.open("vireon%d");
    // The kernel answers over the first interface of a subnet: another process's must be another one.
    const subnet = `10.${64 + (Deno.pid >> 8) % 64}.${Deno.pid % 256}`;
    for (
      const args of [
        ["addr", "add", `${subnet}.1/24`, "dev", tap.interfaceName],
        ["link", "set", tap.interfaceName, "up"],
      ]
    ) {
      const { success, stderr } = await new Deno.Command("ip", { args }).output();
      assert(success, `ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
    }
    const machine = EmulatedMachine.create({ devices: [new NetDevice({ backend: tap })] });
    const bus = new Bus();
    await bus.registerDriver(driver);
    await bus.addPlatform(machine);
    const net = bus.get(driver)!;
    const target = `${subnet}.1`;
    const options = { source: `${subnet}.2`, target, count: 5, deadline: 5000 };
    const { replies } = await ping(net, options);
    assertEquals(replies.map(({ sequence }) => sequence), [0, 1, 2, 3, 4]);
    const large = await ping(net, { ...options, count: 1, size: 1472 });
    assertEquals(large.replies.length, 1);
    await bus[Symbol.asyncDispose]();
    assertEquals(machine.violations(), []);
    await machine[Symbol.asyncDispose]();
  },
);
