/**
 * Receive-side scaling and reported hashes of QEMU's network device: the flows are those of the RSS specification,
 * from the host's kernel over a tap device, and the hashes those that it publishes. Needs `qemu-system-x86_64`,
 * `ip`, `/dev/net/tun` and root or `sudo`.
 *
 * @module
 */
import { createSocket, type Socket } from "node:dgram";
import { connect } from "node:net";
import { assertEquals } from "@std/assert";
import { Bus, createNetDriver, type Frame, type Net } from "@vireo/drivers";
import { within } from "@vireo/drivers/wait";
import { findBoard } from "@vireo/firmware/boards";
import { FeatureSet } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";
import { RSS_KEY, RSS_VECTORS } from "../net/toeplitz.ts";
import { ip } from "../net/ip_tool.ts";
import { testWithRights } from "../with_rights.ts";

const SOON = { deadline: 5000 };
const MAC = "52:54:00:12:34:56";
const HASH_REPORT = 57;
const [TCP, UDP] = [6, 17];
/** All types for packets without IPv6 extension headers. */
const TYPES = 0x3f;
const TABLE = [2, 0, 3, 1];

/** QEMU's device with four queue pairs on a tap device of its own. */
class Rig implements AsyncDisposable {
  readonly tap: string;
  readonly platform: QtestPlatform;
  readonly bus: Bus;
  readonly net: Net;
  /** By the host's end. They stay open: a port is not free again the moment that its socket says it is closed. */
  readonly #sockets = new Map<string, Socket>();
  readonly #failed = Promise.withResolvers<never>();

  private constructor(tap: string, platform: QtestPlatform, bus: Bus, net: Net) {
    this.tap = tap;
    this.platform = platform;
    this.bus = bus;
    this.net = net;
  }

  static async start(name: string, without: readonly number[] = []): Promise<Rig> {
    const tap = `${name}${Deno.pid % 1_000_000}`;
    const platform = await QtestPlatform.start({
      board: findBoard("x86_64-q35"),
      extraArgs: [
        "-netdev",
        `tap,id=wire,ifname=${tap},script=no,downscript=no,vhost=off,queues=4`,
      ],
      devices: [`virtio-net-pci,netdev=wire,mac=${MAC},mq=on,vectors=10,rss=on,hash=on`],
    });
    const driver = createNetDriver();
    const bus = new Bus({ filter: FeatureSet.of(...without) });
    await bus.registerDriver(driver);
    await bus.addPlatform(platform);
    await ip("link", "set", tap, "up");
    return new Rig(tap, platform, bus, bus.get(driver)!);
  }

  /** Gives the host the address of one end, and a route to the other. */
  async route({ source, destination }: typeof RSS_VECTORS[number]): Promise<void> {
    const [from, to] = [source[0], destination[0]];
    const v4 = isV4(from);
    const family = v4 ? [] : ["-6"];
    await ip(...family, "addr", "add", from, "dev", this.tap, ...v4 ? [] : ["nodad"]);
    await ip(...family, "route", "add", to, "dev", this.tap, "src", from);
    await ip("neigh", "add", to, "lladdr", MAC, "dev", this.tap);
  }

  /** The next frame that matches; others do not make its time longer. */
  async next(match: (bytes: Uint8Array) => boolean): Promise<Frame> {
    const call = within(SOON);
    while (true) {
      const frame = await this.net.receive(call);
      if (match(frame.bytes)) return frame;
    }
  }

  /** A UDP packet of a flow, or the first of a TCP connection, as the driver gets it. */
  async packet(flow: typeof RSS_VECTORS[number], protocol: number): Promise<Frame> {
    const [[from, fromPort], [to, toPort]] = [flow.source, flow.destination];
    const v4 = isV4(from);
    const [at, ports] = v4 ? [23, 34] : [20, 54];
    const match = (bytes: Uint8Array): boolean =>
      bytes[12] === (v4 ? 8 : 0x86) && bytes[at] === protocol &&
      (bytes[ports]! << 8 | bytes[ports + 1]!) === fromPort;
    if (protocol === TCP) {
      const options = { host: to, port: toPort, localAddress: from, localPort: fromPort };
      const stream = connect(options).on("error", () => {});
      try {
        return await this.next(match);
      } finally {
        stream.destroy();
      }
    }
    await this.send(flow);
    return await this.next(match);
  }

  /** Has the host send a UDP packet of a flow. */
  async send(
    { source: [from, fromPort], destination: [to, toPort] }: typeof RSS_VECTORS[number],
  ): Promise<void> {
    const known = this.#sockets.get(from);
    const socket = known ?? createSocket(isV4(from) ? "udp4" : "udp6");
    const step = (begin: (done: (error?: Error | null) => void) => void): Promise<void> =>
      Promise.race([
        this.#failed.promise,
        new Promise<void>((resolve, reject) => begin((error) => error ? reject(error) : resolve())),
      ]);
    if (known === undefined) {
      this.#sockets.set(from, socket.on("error", this.#failed.reject));
      await step((done) => socket.bind(fromPort, from, done));
    }
    await step((done) => socket.send("frame", toPort, to, done));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets.values()) socket.close();
    await this.bus[Symbol.asyncDispose]();
    await this.platform[Symbol.asyncDispose]();
  }
}

const isV4 = (address: string): boolean => address.includes(".");

/** The flows that this host can send: without IPv6 those of IPv4, and none to a group or a link. */
function flows(): typeof RSS_VECTORS {
  let v6 = true;
  try {
    Deno.statSync("/proc/net/if_inet6");
  } catch {
    v6 = false;
  }
  return RSS_VECTORS.filter(({ source: [from], destination: [to] }) =>
    isV4(from) || v6 && !/^f[ef]/.test(to)
  );
}

const told = ({ hash, hashReport, queue }: Frame): number[] => [hash, hashReport, queue];

testWithRights(import.meta.url, "rss on QEMU: the published hashes, and the queues", async () => {
  await using rig = await Rig.start("vq");
  const { net } = rig;
  assertEquals(net.hashLimits, { keySize: 40, tableLength: 128, types: 0x1ff });
  const all = flows();
  for (const flow of all) await rig.route(flow);
  const expected = (hash: number, report: number): number[] => [hash, report, TABLE[hash & 3]!];
  const rss = (types: number) => net.setRss({ types, key: RSS_KEY, table: TABLE, ...SOON });

  await rss(TYPES);
  for (const flow of all) {
    const first = isV4(flow.source[0]) ? 1 : 4;
    for (const protocol of [UDP, TCP]) {
      const report = first + (protocol === UDP ? 2 : 1);
      assertEquals(told(await rig.packet(flow, protocol)), expected(flow.ports, report));
    }
  }
  // Only the addresses.
  await rss(0x09);
  for (const flow of all) {
    const report = isV4(flow.source[0]) ? 1 : 4;
    assertEquals(told(await rig.packet(flow, UDP)), expected(flow.ip, report));
  }
  await rig.bus.freeze();
  await rig.bus.restore();
  const [flow] = all;
  assertEquals(told(await rig.packet(flow!, UDP)), expected(flow!.ip, 1), "after a recovery");
  // QEMU reports the types of packets with extension headers for those without too, if they are enabled.
  const v6 = all.find(({ source: [from] }) => !isV4(from));
  if (v6 !== undefined) {
    await rss(0x1ff);
    assertEquals(told(await rig.packet(v6, UDP)), expected(v6.ports, 9));
  }

  // A frame that has no hash: the host asks for an address that it does not know.
  await net.setRss({ types: TYPES, key: RSS_KEY, table: [0], unclassified: 3, ...SOON });
  await ip("neigh", "del", flow!.destination[0], "dev", rig.tap);
  await rig.send(flow!);
  const arp = await rig.next((bytes) => bytes[12] === 8 && bytes[13] === 6);
  assertEquals(told(arp), [0, 0, 3]);
  await ip("neigh", "replace", flow!.destination[0], "lladdr", MAC, "dev", rig.tap);

  await net.setHash({ types: TYPES, key: RSS_KEY, ...SOON });
  assertEquals(told(await rig.packet(flow!, UDP)).slice(0, 2), [flow!.ports, 3]);
  await net.setPairs(2, SOON);
  assertEquals(told(await rig.packet(flow!, UDP)).slice(0, 2), [flow!.ports, 3]);
});

testWithRights(import.meta.url, "rss on QEMU: the queues without reported hashes", async () => {
  await using rig = await Rig.start("vr", [HASH_REPORT]);
  const all = flows().filter(({ source: [from] }) => isV4(from));
  for (const flow of all) await rig.route(flow);
  await rig.net.setRss({ types: TYPES, key: RSS_KEY, table: TABLE, ...SOON });
  for (const flow of all) {
    assertEquals(told(await rig.packet(flow, UDP)), [0, 0, TABLE[flow.ports & 3]!]);
  }
});
