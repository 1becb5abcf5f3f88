import { type Deadline, timedOut, timeLeft, type WaitOptions, within } from "@vireo/drivers/core";
import { formatMac, type Net } from "@vireo/drivers/net";
import { VireoError } from "@vireo/hal";
import { arpRequest, buildEcho, parseArp, parseEcho, parseIpv4 } from "./ethernet.ts";

/** Target and options of {@linkcode ping}. */
export interface PingOptions extends WaitOptions {
  /** IPv4 address to send from. */
  readonly source: string;
  /** IPv4 address to ping; it must be on the same wire. */
  readonly target: string;
  /** How many echo requests are sent; 4 by default. */
  readonly count?: number;
  /** Bytes of data in each; 56 by default. */
  readonly size?: number;
}

/** One echo reply. */
export interface PingReply {
  /** From 0 up. */
  readonly sequence: number;
  /** The round trip in milliseconds. */
  readonly milliseconds: number;
}

/** Result of {@linkcode ping}. */
export interface PingResult {
  /** The target's Ethernet address. */
  readonly mac: string;
  /** The replies that came in time, in order. */
  readonly replies: readonly PingReply[];
}

/**
 * How often a host is asked for its address within the deadline: an interface of Linux drops what it sends until
 * the kernel has heard that its link is up (`net/core/link_watch.c`), and so may a switch.
 */
const ARP_TRIES = 4;

/** Milliseconds after which it is asked again at the latest. */
const ARP_PAUSE = 1000;

/**
 * Finds a host by ARP, which is asked again while the deadline lasts, and sends it ICMP echo requests, one after the
 * other. Frames that are not answers are dropped meanwhile.
 *
 * @param net The network device.
 * @param options `deadline` is for each answer, in milliseconds; 1000 by default.
 * @returns The replies; one that did not come in time is left out.
 * @throws {VireoError} `TIMEOUT` If the target does not answer ARP.
 * @throws {TypeError} If an address makes no sense.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { ping } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo();
 * const options = { source: "10.0.2.15", target: "10.0.2.2", count: 2 };
 * const { mac, replies } = await ping(vireo.net, options);
 * assertEquals([mac.length, replies.map(({ sequence }) => sequence)], [17, [0, 1]]);
 * ```
 */
export async function ping(net: Net, options: PingOptions): Promise<PingResult> {
  const { source, target, count = 4, size = 56, deadline = 1000 } = options;
  parseIpv4(target);
  const limits = { signal: options.signal, until: options.until, deadline };
  let mac: string | undefined;
  const call = within(limits);
  const pause = Math.min(deadline / ARP_TRIES, ARP_PAUSE);
  for (let last = false; mac === undefined && !last;) {
    const left = timeLeft(call);
    last = left < 1.5 * pause;
    const turn = within({ ...call, deadline: last ? left : pause });
    await net.send(arpRequest({ mac: net.mac, source, target }), call);
    mac = await answer(net, turn, (frame) => {
      const arp = parseArp(frame);
      return arp?.operation === "reply" && arp.senderIp === target ? arp.senderMac : undefined;
    });
  }
  if (mac === undefined) {
    throw timedOut(`${target} to answer ARP`, deadline, { device: net.device.name });
  }
  const identifier = Math.floor(Math.random() * 0x10000);
  const data = Uint8Array.from({ length: size }, (_, i) => i & 0xff);
  const replies: PingReply[] = [];
  for (let sequence = 0; sequence < count; sequence++) {
    const frame = buildEcho(
      { destination: mac, source: formatMac(net.mac) },
      { operation: "request", source, target, identifier, sequence: sequence & 0xffff, data },
    );
    // From the frame's handing over to its answer's; what building and reading them takes, in a guest
    // under TCG a third of all, is no part of the way.
    const begin = performance.now();
    await net.send(frame, within(limits));
    const milliseconds = await answer(net, within(limits), (bytes, arrived) => {
      const echo = parseEcho(bytes);
      const ours = echo?.operation === "reply" && echo.identifier === identifier &&
        echo.sequence === (sequence & 0xffff) && echo.source === target;
      return ours && sameBytes(echo.data, data) ? arrived - begin : undefined;
    });
    if (milliseconds !== undefined) replies.push({ sequence, milliseconds });
  }
  return { mac, replies };
}

/** The first frame that `match` knows, or undefined after the deadline. */
async function answer<T>(
  net: Net,
  call: Deadline,
  match: (frame: Uint8Array, arrived: number) => T | undefined,
): Promise<T | undefined> {
  while (true) {
    const left = timeLeft(call);
    let frame;
    try {
      frame = await net.receive(call);
    } catch (error) {
      if (error instanceof VireoError && error.code === "TIMEOUT") return undefined;
      throw error;
    }
    const found = match(frame.bytes, performance.now());
    if (found !== undefined) return found;
    if (left === 0) return undefined;
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
