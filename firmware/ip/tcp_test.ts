import { assert, assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { buildEthernet, EtherType, parseArp, parseEthernet, parseIpv4 } from "./ethernet.ts";
import { formatMac, parseMac } from "@vireo/drivers";
import {
  buildIpv4,
  buildTcp,
  IpProtocol,
  IpStack,
  parseIpv4Packet,
  parseTcp,
  parseUdp,
  TcpFlag as F,
  type TcpSegment,
  type Wire,
} from "./mod.ts";
import type { Timers } from "@vireo/drivers";

const MAC = parseMac("52:54:00:00:00:01");
const PEER_MAC = "52:54:00:00:00:02";
const [HERE, PEER] = ["10.1.0.1", "10.1.0.2"];
const PORT = 80;

/** Time that passes when nothing else is left to do. */
class FakeTimers implements Timers {
  #now = 0;
  #waiting: { readonly at: number; readonly run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, run: () => void): () => void {
    const timer = { at: this.#now + milliseconds, run };
    this.#waiting.push(timer);
    return () => void (this.#waiting = this.#waiting.filter((other) => other !== timer));
  }

  /** Goes on to the next timer; false if there is none. */
  step(): boolean {
    const next = this.#waiting.sort((a, b) => a.at - b.at).shift();
    if (next === undefined) return false;
    this.#now = next.at;
    next.run();
    return true;
  }
}

/** A seeded random number from 0 to 1. */
function seeded(seed: number): () => number {
  let x = seed * 2654435761 >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x = (x ^ x << 5) >>> 0;
    return x / 2 ** 32;
  };
}

/** What the wire does to frames, each way. */
interface Weather {
  readonly lose: number;
  readonly twice: number;
  readonly late: number;
  readonly spoil: number;
}

/**
 * A server at the other end of a wire, written apart from the client: it acknowledges what is next,
 * sends what it is told to with a fixed timer, and answers ARP.
 */
class Peer implements Wire {
  readonly mac: Uint8Array = MAC;
  readonly received: number[] = [];
  readonly #toClient: { bytes: Uint8Array; at: number }[] = [];
  #wake = Promise.withResolvers<void>();
  readonly #random: () => number;
  readonly #weather: Weather;
  readonly #timers: FakeTimers;
  #client: { port: number; expected: number } | undefined;
  #sequence = 5_000_000_000 % 2 ** 32;
  #acknowledged = this.#sequence;
  #send: Uint8Array;
  #finFrom = -1;
  #clientWindow = 0;
  sawFin = false;
  refuse = false;
  mute = false;
  #base: number;

  constructor(timers: FakeTimers, send: Uint8Array, weather: Weather, seed: number) {
    this.#timers = timers;
    this.#send = send;
    this.#weather = weather;
    this.#random = seeded(seed);
    this.#base = this.#sequence + 1 >>> 0;
  }

  send(frame: Uint8Array): Promise<void> {
    if (this.mute) return Promise.resolve();
    const arp = parseArp(frame);
    if (arp !== undefined) {
      const reply = new Uint8Array(28);
      reply.set([0, 1, 8, 0, 6, 4, 0, 2, ...parseMac(PEER_MAC), ...parseIpv4(PEER)]);
      reply.set([...MAC, ...parseIpv4(HERE)], 18);
      const header = { destination: formatMac(MAC), source: PEER_MAC, type: EtherType.ARP };
      this.#put(buildEthernet(header, reply));
    } else this.#through(frame.slice(), (bytes) => this.#take(bytes));
    return Promise.resolve();
  }

  async receive(signal: AbortSignal): Promise<{ bytes: Uint8Array; verified: boolean }> {
    for (;;) {
      signal.throwIfAborted();
      const next = this.#toClient.shift();
      if (next !== undefined) return { bytes: next.bytes, verified: false };
      const aborted = Promise.withResolvers<void>();
      signal.addEventListener("abort", () => aborted.resolve(), { once: true });
      await Promise.race([this.#wake.promise, aborted.promise]);
    }
  }

  #put(bytes: Uint8Array): void {
    this.#toClient.push({ bytes, at: 0 });
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  /** Loses, doubles, delays or spoils a frame. */
  #through(bytes: Uint8Array, deliver: (bytes: Uint8Array) => void): void {
    const { lose, twice, late, spoil } = this.#weather;
    if (this.#random() < lose) return;
    if (this.#random() < spoil) {
      const at = 20 + Math.floor(this.#random() * (bytes.length - 20));
      bytes[at]! ^= 1 + Math.floor(this.#random() * 255);
    }
    const times = this.#random() < twice ? 2 : 1;
    for (let i = 0; i < times; i++) {
      if (this.#random() < late) this.#timers.after(5 + this.#random() * 50, () => deliver(bytes));
      else this.#timers.after(1, () => deliver(bytes));
    }
  }

  #take(frame: Uint8Array): void {
    const packet = parseIpv4Packet(parseEthernet(frame)!.payload);
    const segment = packet && parseTcp(packet, false);
    if (packet?.source !== HERE || segment === undefined || segment.targetPort !== PORT) return;
    const { flags, sequence, data } = segment;
    if ((flags & F.SYN) !== 0) {
      if (this.refuse) {
        const ack = sequence + 1 >>> 0;
        return this.#reply(segment.sourcePort, F.RST | F.ACK, 0, ack, new Uint8Array(0));
      }
      this.#client = { port: segment.sourcePort, expected: sequence + 1 >>> 0 };
      this.#clientWindow = segment.window;
      return this.#reply(this.#client.port, F.SYN | F.ACK, this.#sequence, this.#client.expected);
    }
    const client = this.#client;
    if (client === undefined || (flags & F.RST) !== 0) return;
    const first = this.#acknowledged === this.#sequence;
    if (((segment.acknowledgement - this.#acknowledged) | 0) > 0) {
      this.#acknowledged = segment.acknowledgement;
    }
    this.#clientWindow = segment.window;
    if (data.length > 0 || (flags & F.FIN) !== 0) {
      if (sequence === client.expected) {
        this.received.push(...data);
        client.expected = sequence + data.length >>> 0;
        if ((flags & F.FIN) !== 0 && !this.sawFin) {
          this.sawFin = true;
          client.expected = client.expected + 1 >>> 0;
        }
      }
      this.#reply(client.port, F.ACK, this.#acknowledged, client.expected);
    }
    if (first && this.#acknowledged !== this.#sequence) this.#output();
  }

  /** Sends what fits into the client's window from what was not acknowledged, again and again. */
  #output(): void {
    const client = this.#client!;
    const done = (this.#acknowledged - this.#base) >>> 0;
    if (this.#finFrom >= 0 && done > this.#send.length) return;
    const end = Math.min(this.#send.length, done + this.#clientWindow, done + 20 * 1000);
    for (let at = done; at < end; at += 1000) {
      const data = this.#send.subarray(at, Math.min(at + 1000, end));
      this.#reply(client.port, F.ACK, this.#base + at >>> 0, client.expected, data);
    }
    if (end === this.#send.length) {
      this.#finFrom = end;
      this.#reply(client.port, F.FIN | F.ACK, this.#base + end >>> 0, client.expected);
    }
    this.#timers.after(30, () => this.#output());
  }

  #reply(
    port: number,
    flags: number,
    sequence: number,
    acknowledgement: number,
    data: Uint8Array = new Uint8Array(0),
  ): void {
    const between = { source: PEER, target: HERE };
    const segment: TcpSegment = {
      sourcePort: PORT,
      targetPort: port,
      sequence: sequence >>> 0,
      acknowledgement,
      flags,
      window: 20_000,
      mss: (flags & F.SYN) !== 0 ? 900 : undefined,
      data,
    };
    const payload = buildTcp(between, segment);
    const packet = buildIpv4({ ...between, protocol: IpProtocol.TCP, payload }, 1);
    const header = { destination: formatMac(MAC), source: PEER_MAC, type: EtherType.IPV4 };
    this.#through(buildEthernet(header, packet), (bytes) => this.#put(bytes));
  }
}

/** Lets promises run, then time pass, until something is done. */
async function until<T>(timers: FakeTimers, work: Promise<T>): Promise<T> {
  let done = false;
  const mark = (): void => void (done = true);
  work.then(mark, mark);
  for (let idle = 0; !done; idle++) {
    assert(idle < 100_000, "it does not end");
    for (let i = 0; i < 20 && !done; i++) await Promise.resolve();
    if (!done) timers.step();
  }
  return await work;
}

function rig(send: Uint8Array, weather: Weather, seed: number) {
  const timers = new FakeTimers();
  const peer = new Peer(timers, send, weather, seed);
  const random = seeded(seed + 1);
  const stack = new IpStack(peer, { timers, random: () => Math.floor(random() * 2 ** 32) });
  // As `static` does, for a wire.
  Object.defineProperty(stack, "address", { get: () => HERE });
  Object.defineProperty(stack, "config", { get: () => ({ address: HERE }) });
  return { timers, peer, stack };
}

const pattern = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => i * 131 + (i >> 8) * 17);

const CALM = { lose: 0, twice: 0, late: 0, spoil: 0 };
const WEATHERS: Readonly<Record<string, Weather>> = {
  calm: CALM,
  "5 % lost": { ...CALM, lose: 0.05 },
  "doubled and late": { ...CALM, twice: 0.1, late: 0.2 },
  "all of it, and spoiled": { lose: 0.05, twice: 0.05, late: 0.1, spoil: 0.03 },
};

for (const [name, weather] of Object.entries(WEATHERS)) {
  for (const seed of [1, 2, 3]) {
    Deno.test(`tcp: bytes go both ways and arrive once and in order (${name}, seed ${seed})`, async () => {
      const down = pattern(name === "5 % lost" ? 1 << 20 : 150_000);
      const up = pattern(120_000).reverse();
      const { timers, peer, stack } = rig(down, weather, seed);
      const work = (async () => {
        const connection = await stack.connect({ host: PEER, port: PORT }, { deadline: 60_000 });
        const got: Uint8Array[] = [];
        const writer = connection.writable.getWriter();
        const sending = writer.write(up).then(() => writer.close());
        for await (const part of connection.readable) got.push(part);
        await sending;
        await connection.closed;
        return got;
      })();
      const got = await until(timers, work);
      let at = 0;
      for (const part of got) {
        assertEquals(part, down.subarray(at, at + part.length));
        at += part.length;
      }
      assertEquals(at, down.length);
      assertEquals(peer.received.length, up.length);
      assertEquals(Uint8Array.from(peer.received), up);
      assertEquals(peer.sawFin, true);
      await stack[Symbol.asyncDispose]();
    });
  }
}

Deno.test("tcp: refusal, silence, and a neighbour that is not there are typed errors", async () => {
  const code = async (set: (peer: Peer) => void): Promise<string> => {
    const { timers, peer, stack } = rig(new Uint8Array(0), CALM, 1);
    set(peer);
    const work = assertRejects(
      () => stack.connect({ host: PEER, port: PORT }, { deadline: 20_000 }),
      VireoError,
    );
    const error = await until(timers, work);
    await stack[Symbol.asyncDispose]();
    return error.code;
  };
  assertEquals(await code((peer) => void (peer.refuse = true)), "COMMAND_REFUSED");
  assertEquals(await code((peer) => void (peer.mute = true)), "NO_DEVICE");
  const { timers, peer, stack } = rig(new Uint8Array(0), { ...CALM, lose: 1 }, 1);
  void peer;
  const silent = assertRejects(
    () => stack.connect({ host: PEER, port: PORT }, { deadline: 20_000 }),
    VireoError,
  );
  assertEquals((await until(timers, silent)).code, "TIMEOUT");
  await stack[Symbol.asyncDispose]();
});

Deno.test("ip: packets that are cut, cut off or spoiled are none", () => {
  const between = { source: HERE, target: PEER };
  const segment = { sourcePort: 1, targetPort: 2, sequence: 3, acknowledgement: 4, flags: 16 };
  const payload = buildTcp(between, { ...segment, window: 5, data: Uint8Array.of(1, 2, 3) });
  const bytes = buildIpv4({ ...between, protocol: IpProtocol.TCP, payload }, 7);
  const packet = parseIpv4Packet(bytes)!;
  assertEquals(parseTcp(packet, false)?.data, Uint8Array.of(1, 2, 3));
  for (let i = 0; i < bytes.length; i++) {
    const spoiled = bytes.slice();
    spoiled[i]! ^= 0x10;
    const read = parseIpv4Packet(spoiled);
    assert(read === undefined || parseTcp(read, false) === undefined, `byte ${i}`);
    assertEquals(parseIpv4Packet(bytes.subarray(0, i)), undefined);
  }
  assertEquals(parseUdp({ ...packet, payload: Uint8Array.of(1, 2, 3) }, false), undefined);
});
