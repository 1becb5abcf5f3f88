import { formatMac, type Net } from "@vireo/drivers/net";
import {
  SYSTEM_TIMERS,
  type Timers,
  waitFor,
  waitOn,
  type WaitOptions,
  within,
} from "@vireo/drivers/core";
import { VireoError } from "@vireo/hal";
import { dhcp, type DhcpLease } from "./dhcp.ts";
import {
  arpRequest,
  BROADCAST,
  buildEcho,
  buildEthernet,
  EtherType,
  parseArp,
  parseEcho,
  parseEthernet,
  parseIpv4,
} from "./ethernet.ts";
import type { IpConfig, TcpClient, UdpHandler, UdpHost } from "./host.ts";
import { resolveName } from "./dns.ts";
import { type FetchOptions, fetchUrl, type IpResponse } from "./http.ts";
import {
  buildIpv4,
  buildTcp,
  buildUdp,
  IpProtocol,
  type Ipv4Packet,
  parseIpv4Packet,
  parseTcp,
  parseUdp,
  TcpFlag,
  type TcpSegment,
} from "./packets.ts";
import { TcpConnection } from "./tcp.ts";

/** How often a neighbour is asked for, and the milliseconds between. */
const ARP_TRIES = 3;
const ARP_PAUSE = 500;
/** Milliseconds that an answer of a neighbour is good for. */
const ARP_LIFE = 60_000;
/** Milliseconds that a connection may take to open, unless told otherwise. */
const CONNECT_DEADLINE = 10_000;
const FIRST_PORT = 49152;
const NOBODY = "0.0.0.0";

/** Carries frames: a network device, or a test's wire. */
export interface Wire {
  /** Our Ethernet address. */
  readonly mac: Uint8Array;
  /** Sends a frame. */
  send(frame: Uint8Array): Promise<void>;
  /** Takes the next frame; `verified` if its checksums need not be looked at. */
  receive(signal: AbortSignal): Promise<{ readonly bytes: Uint8Array; readonly verified: boolean }>;
}

/** How a stack is made. */
export interface IpStackOptions {
  /** Time; the machine's own by default. */
  readonly timers?: Timers;
  /** Gives initial sequence numbers and ids, 0 to 2^32 - 1; random by default. */
  readonly random?: () => number;
}

/**
 * A small IPv4 host above a network device: ARP, echo replies, UDP, DHCP, TCP as a client. It takes all
 * frames of the device while it is open; packets are never cut, and cut ones are dropped.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { IpStack } from "@vireo/firmware/ip";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await using vireo = await openVireo();
 * await using stack = IpStack.static(vireo.net, { address: "10.0.2.15", mask: "255.255.255.0" });
 * assertEquals(stack.address, "10.0.2.15");
 * // The emulated wire has a host that answers ARP and pings, and no server of TCP.
 * await assertRejects(
 *   () => stack.connect({ host: "10.0.2.77", port: 80 }, { deadline: 5 }),
 *   Error,
 *   "Timed out",
 * );
 * ```
 */
export class IpStack implements UdpHost, TcpClient, AsyncDisposable {
  readonly #wire: Wire;
  readonly #timers: Timers;
  readonly #random: () => number;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  readonly #neighbours = new Map<string, { readonly mac: string; readonly until: number }>();
  readonly #asked = new Map<string, Set<() => void>>();
  readonly #udp = new Map<number, UdpHandler>();
  readonly #tcp = new Map<string, TcpConnection>();
  #config: IpConfig = { address: NOBODY };
  #lease: DhcpLease | undefined;
  #identification = 0;
  #failure: Error | undefined;

  /** Starts to take frames; without an address until it is configured. */
  constructor(wire: Wire, options: IpStackOptions = {}) {
    this.#wire = wire;
    this.#timers = options.timers ?? SYSTEM_TIMERS;
    this.#random = options.random ?? (() => crypto.getRandomValues(new Uint32Array(1))[0]!);
    this.#running = this.#run();
  }

  /**
   * A host with an address of its own.
   *
   * @throws {TypeError} If an address makes no sense.
   */
  static static(net: Net, config: IpConfig, options: IpStackOptions = {}): IpStack {
    for (const text of [config.address, config.mask, config.router]) {
      if (text !== undefined) parseIpv4(text);
    }
    const stack = new IpStack(netWire(net), options);
    stack.#config = config;
    return stack;
  }

  /**
   * A host with an address that a server of the network lends it (RFC 2131).
   *
   * @throws {VireoError} `TIMEOUT` If no server answers within the deadline, 5 s by default.
   */
  static async dhcp(net: Net, options: WaitOptions & IpStackOptions = {}): Promise<IpStack> {
    const stack = new IpStack(netWire(net), options);
    try {
      await stack.requestLease(options);
      return stack;
    } catch (error) {
      await stack[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Our address; 0.0.0.0 if there is none yet. */
  get address(): string {
    return this.#config.address;
  }

  /** Our Ethernet address. */
  get mac(): Uint8Array {
    return this.#wire.mac;
  }

  /** The address around ours. */
  get config(): IpConfig {
    return this.#config;
  }

  /** Lease of the DHCP server, if there is one. */
  get lease(): DhcpLease | undefined {
    return this.#lease;
  }

  /** Time, for what runs on the stack. */
  get timers(): Timers {
    return this.#timers;
  }

  /** A random number, 0 to 2^32 - 1. */
  random(): number {
    return this.#random() >>> 0;
  }

  /** Asks for an address, or for the one it has again. @throws As {@linkcode IpStack.dhcp}. */
  async requestLease(options: WaitOptions = {}): Promise<DhcpLease> {
    const lease = await dhcp(this, options);
    this.#lease = lease;
    this.#config = lease;
    return lease;
  }

  /**
   * Finds the address of a name, by the first name server of the lease.
   *
   * @param name A name, or an address, which stays as it is.
   * @throws {VireoError} `NO_DEVICE` If there is no such name, or no server to ask; `TIMEOUT` after 5 s or
   * the deadline; `BAD_STATUS` If the server fails; the signal's reason.
   */
  async resolve(name: string, options: WaitOptions = {}): Promise<string> {
    return await resolveName(this, this.#lease?.dns[0], name, options);
  }

  /**
   * Connects to a TCP port.
   *
   * @param to An IPv4 address or a name, and the port.
   * @throws {VireoError} `COMMAND_REFUSED` If nobody listens there; `TIMEOUT` after 10 s or the deadline;
   * `NO_DEVICE` If there is no way; the signal's reason.
   */
  async connect(
    { host: name, port }: { readonly host: string; readonly port: number },
    options: WaitOptions = {},
  ): Promise<TcpConnection> {
    options.signal?.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure;
    const call = within(options, CONNECT_DEADLINE, this.#timers);
    const host = await this.resolve(name, call);
    const mac = await this.#resolve(host, call);
    const local = this.#freePort(host, port);
    const key = `${host}:${port}:${local}`;
    const between = { source: this.address, target: host };
    const connection: TcpConnection = new TcpConnection({
      timers: this.#timers,
      initial: this.random(),
      peer: `${host}:${port}`,
      send: (segment) => {
        const whole: TcpSegment = { ...segment, sourcePort: local, targetPort: port };
        this.#sendPacket(mac, {
          ...between,
          protocol: IpProtocol.TCP,
          payload: buildTcp(between, whole),
        });
      },
      ended: () => void this.#tcp.delete(key),
    });
    this.#tcp.set(key, connection);
    const subject = { what: `${host}:${port} to take the connection`, timers: this.#timers };
    try {
      await waitOn(connection.opened, subject, call);
      return connection;
    } catch (error) {
      connection.reset(error as Error);
      throw error;
    }
  }

  /**
   * Fetches a file by HTTP/1.1.
   *
   * @param url `http://` and an IPv4 address or a name, with a port perhaps.
   * @throws {VireoError} As {@linkcode IpStack.connect}; `BAD_STATUS` If the answer is not HTTP; `TIMEOUT`
   * If the server falls silent in it.
   */
  fetch(url: string | URL, options: FetchOptions = {}): Promise<IpResponse> {
    return fetchUrl(this, url, options);
  }

  /**
   * Takes the datagrams of a UDP port.
   *
   * @returns Ends it.
   * @throws {RangeError} If the port is in use.
   */
  listenUdp(port: number, handler: UdpHandler): Disposable {
    if (this.#udp.has(port)) throw new RangeError(`Cannot take UDP port ${port}: it is in use`);
    this.#udp.set(port, handler);
    return { [Symbol.dispose]: () => void this.#udp.delete(port) };
  }

  /** Sends a UDP datagram; to 255.255.255.255 it reaches all of the wire. */
  async sendUdp(
    from: number,
    to: { readonly address: string; readonly port: number },
    data: Uint8Array,
  ): Promise<void> {
    const broadcast = to.address === "255.255.255.255";
    const mac = broadcast ? BROADCAST : await this.#resolve(to.address);
    const between = { source: this.address, target: to.address };
    const payload = buildUdp(between, { sourcePort: from, targetPort: to.port, data });
    this.#sendPacket(mac, { ...between, protocol: IpProtocol.UDP, payload });
  }

  /** Ends all connections and gives the device's frames back. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new VireoError("PORT_CLOSED", "IP stack is closed");
    this.#failure ??= closed;
    for (const connection of [...this.#tcp.values()]) connection.reset(closed);
    for (const waiting of [...this.#asked.values()]) for (const resolve of waiting) resolve();
    this.#stop.abort(closed);
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        const { bytes, verified } = await this.#wire.receive(this.#stop.signal);
        this.#take(bytes, verified);
      }
    } catch (error) {
      this.#failure ??= error as Error;
      for (const connection of [...this.#tcp.values()]) connection.fail(this.#failure);
    }
  }

  #take(frame: Uint8Array, verified: boolean): void {
    const arp = parseArp(frame);
    if (arp !== undefined) return this.#takeArp(arp);
    const ethernet = parseEthernet(frame);
    if (ethernet?.type !== EtherType.IPV4) return;
    const packet = parseIpv4Packet(ethernet.payload);
    if (packet === undefined) return;
    const ours = packet.target === this.address || this.address === NOBODY ||
      packet.target === "255.255.255.255";
    if (!ours) return;
    if (packet.protocol === IpProtocol.TCP) this.#takeTcp(packet, verified);
    else if (packet.protocol === IpProtocol.UDP) {
      const datagram = parseUdp(packet, verified);
      if (datagram === undefined) return;
      const from = { address: packet.source, port: datagram.sourcePort };
      this.#udp.get(datagram.targetPort)?.(from, datagram.data.slice());
    } else {
      const echo = parseEcho(frame);
      if (echo?.operation !== "request") return;
      const addresses = { destination: ethernet.source, source: formatMac(this.mac) };
      const { source: target, target: source } = echo;
      this.#sendFrame(buildEcho(addresses, { ...echo, operation: "reply", source, target }));
    }
  }

  #takeArp(arp: NonNullable<ReturnType<typeof parseArp>>): void {
    const until = this.#timers.now() + ARP_LIFE;
    this.#neighbours.set(arp.senderIp, { mac: arp.senderMac, until });
    for (const resolve of this.#asked.get(arp.senderIp) ?? []) resolve();
    if (arp.operation !== "request" || arp.targetIp !== this.address) return;
    const reply = new Uint8Array(28);
    reply.set([0, 1, 8, 0, 6, 4, 0, 2]);
    reply.set(this.mac, 8);
    reply.set(parseIpv4(this.address), 14);
    reply.set(arp.senderMac.split(":").map((byte) => parseInt(byte, 16)), 18);
    reply.set(parseIpv4(arp.senderIp), 24);
    const source = formatMac(this.mac);
    const header = { destination: arp.senderMac, source, type: EtherType.ARP };
    this.#sendFrame(buildEthernet(header, reply));
  }

  #takeTcp(packet: Ipv4Packet, verified: boolean): void {
    const segment = parseTcp(packet, verified);
    if (segment === undefined) return;
    const { sourcePort, targetPort, flags } = segment;
    const connection = this.#tcp.get(`${packet.source}:${sourcePort}:${targetPort}`);
    if (connection !== undefined) return connection.handle(segment);
    if ((flags & TcpFlag.RST) !== 0) return;
    // Nobody is here (RFC 9293 §3.10.7.1).
    const mac = this.#neighbours.get(this.#via(packet.source))?.mac;
    if (mac === undefined) return;
    const between = { source: this.address, target: packet.source };
    const acked = (flags & TcpFlag.ACK) !== 0;
    const length = segment.data.length + (flags & (TcpFlag.SYN | TcpFlag.FIN) ? 1 : 0);
    const payload = buildTcp(between, {
      sourcePort: targetPort,
      targetPort: sourcePort,
      sequence: acked ? segment.acknowledgement : 0,
      acknowledgement: acked ? 0 : segment.sequence + length >>> 0,
      flags: TcpFlag.RST | (acked ? 0 : TcpFlag.ACK),
      window: 0,
      data: new Uint8Array(0),
    });
    this.#sendPacket(mac, { ...between, protocol: IpProtocol.TCP, payload });
  }

  /** The neighbour through which an address is reached. */
  #via(address: string): string {
    const { mask = "255.255.255.0", router } = this.#config;
    const bits = parseIpv4(mask);
    const here = parseIpv4(this.address);
    const there = parseIpv4(address);
    const near = there.every((byte, i) => (byte & bits[i]!) === (here[i]! & bits[i]!));
    return near || router === undefined ? address : router;
  }

  /** Finds the Ethernet address for an IPv4 address; the caller's time counts. */
  async #resolve(target: string, call: WaitOptions = {}): Promise<string> {
    if (this.#failure !== undefined) throw this.#failure;
    const address = this.#via(target);
    for (let attempt = 0; attempt < ARP_TRIES; attempt++) {
      const known = this.#neighbours.get(address);
      if (known !== undefined && known.until > this.#timers.now()) return known.mac;
      const subject = { what: `${address} to answer ARP`, timers: this.#timers };
      await waitFor<void>(subject, call, (waiter) => {
        const resolve = (): void => waiter.resolve();
        const waiting = this.#asked.get(address) ?? new Set();
        this.#asked.set(address, waiting.add(resolve));
        const cancel = this.#timers.after(ARP_PAUSE, resolve);
        this.#sendFrame(arpRequest({ mac: this.mac, source: this.address, target: address }));
        return () => {
          cancel();
          waiting.delete(resolve);
          if (waiting.size === 0) this.#asked.delete(address);
        };
      });
      if (this.#failure !== undefined) throw this.#failure;
    }
    const known = this.#neighbours.get(address);
    if (known !== undefined && known.until > this.#timers.now()) return known.mac;
    throw new VireoError("NO_DEVICE", `Cannot reach ${target}: ${address} does not answer ARP`);
  }

  #freePort(host: string, port: number): number {
    for (;;) {
      const local = FIRST_PORT + this.random() % (65536 - FIRST_PORT);
      if (!this.#tcp.has(`${host}:${port}:${local}`)) return local;
    }
  }

  #sendPacket(mac: string, packet: Ipv4Packet): void {
    const header = { destination: mac, source: formatMac(this.mac), type: EtherType.IPV4 };
    this.#sendFrame(buildEthernet(header, buildIpv4(packet, this.#identification++)));
  }

  /** A frame that cannot be sent is lost, as on any wire. */
  #sendFrame(frame: Uint8Array): void {
    this.#wire.send(frame).catch(() => {});
  }
}

/**
 * A network device as a wire.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { netWire } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo();
 * const wire = netWire(vireo.net);
 * assertEquals(wire.mac, vireo.net.mac);
 * await wire.send(new Uint8Array(60));
 * ```
 */
export function netWire(net: Net): Wire {
  return {
    mac: net.mac,
    send: (frame) => net.send(frame),
    async receive(signal) {
      const { bytes, checksum } = await net.receive({ signal });
      return { bytes, verified: checksum !== "none" };
    },
  };
}
