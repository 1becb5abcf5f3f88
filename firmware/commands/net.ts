import { arpRequest, IpStack, PcapWriter, ping } from "../ip/mod.ts";
import { type Net, parseMac } from "@vireo/drivers/net";
import { timedOut } from "@vireo/drivers/core";
import { featureName, NetFeature, VireoError } from "@vireo/hal";
import type { BoardOptions } from "../target/options.ts";
import { keepJsonApart, keepOffTerminal, openSink } from "../terminal/files.ts";
import { progress, rate } from "../terminal/output.ts";
import { parseCount, parseHexBytes, UsageError } from "../terminal/usage.ts";
import type { JsonFlag } from "./command.ts";
import { inGuest } from "../terminal/environment.ts";
import { noWayBack, sourceFor } from "../ip/source.ts";
import { openVireo } from "../session.ts";

/** Shortest Ethernet frame that has a header, in bytes. */
const HEADER = 14;

/** `vireo net info`. */
export async function info(board: BoardOptions, flags: JsonFlag): Promise<void> {
  await using vireo = await openVireo(board);
  const { net } = vireo;
  const report = {
    mac: net.macText,
    linkUp: net.linkUp,
    mtu: net.mtu,
    queuePairs: net.queuePairs,
    maxQueuePairs: net.maxQueuePairs,
    features: [...net.device.features].map((bit) => featureName(bit, NetFeature)),
  };
  if (flags.json) return console.log(JSON.stringify(report));
  console.log(
    `${report.mac}, link ${report.linkUp ? "up" : "down"}, mtu ${report.mtu}, ` +
      `${report.queuePairs} of ${report.maxQueuePairs} queue pairs`,
  );
  console.log(`features ${report.features.join(" ")}`);
}

/** Flags of `vireo net ping`. */
interface PingFlags extends JsonFlag {
  readonly source?: string;
  readonly count: string;
  readonly deadline: string;
}

/** Looks at the flags of `vireo net ping` where the wire is: on the host, whatever the target. */
export function preparePing(
  board: BoardOptions,
  target: string,
  flags: PingFlags,
): { source: string; count: number; deadline: number } {
  const count = parseCount(flags.count, "--count", 1, 1_000_000);
  const deadline = parseCount(flags.deadline, "--deadline", 1);
  return { source: source(board, "address", target, flags.source), count, deadline };
}

/** Our address for a target: the one that was given, or one of the wire's network. */
function source(board: BoardOptions, name: string, target: string, given?: string): string {
  checkAddress(name, target);
  if (given !== undefined) checkAddress("--source", given);
  const chosen = given ?? sourceFor(board.net, target);
  // The host has said it before it booted the guest, whose own interfaces are others.
  const warning = inGuest() ? undefined : noWayBack(board.net, chosen);
  if (warning !== undefined) console.error(`vireo: ${warning}`);
  return chosen;
}

/** @throws {UsageError} If a text is not an IPv4 address. */
function checkAddress(name: string, text: string): void {
  if (/^(\d{1,3}\.){3}\d{1,3}$/.test(text) && text.split(".").every((n) => +n <= 255)) return;
  throw new UsageError(`${name}: expected an IPv4 address, got '${text}'`);
}

/** `vireo net ping`. */
export async function pingHost(
  board: BoardOptions,
  target: string,
  flags: PingFlags,
): Promise<void> {
  const { source, count, deadline } = preparePing(board, target, flags);
  await using vireo = await openVireo(board);
  const result = await ping(vireo.net, { source, target, count, deadline });
  const { mac, replies } = result;
  if (flags.json) console.log(JSON.stringify({ target, mac, sent: count, replies }));
  else {
    console.log(`${target} is at ${mac}`);
    for (const reply of replies) {
      console.log(`reply ${reply.sequence} in ${reply.milliseconds.toFixed(3)} ms`);
    }
    console.log(`${count} sent, ${replies.length} received`);
  }
  if (replies.length < count) {
    const missing = `${count - replies.length} of ${count} echo replies`;
    throw timedOut(missing, deadline, { device: target });
  }
}

/** `vireo net send`. */
export async function send(board: BoardOptions, hex: string, flags: JsonFlag): Promise<void> {
  const frame = parseHexBytes(hex, "frame");
  if (frame.length < HEADER) {
    throw new UsageError(`frame: expected ${HEADER} bytes or more, got ${frame.length}`);
  }
  await using vireo = await openVireo(board);
  const most = vireo.net.mtu + HEADER;
  // The MTU does not count a tag of 4 bytes.
  const tagged = frame[12] === 0x81 && frame[13] === 0;
  if (frame.length > most + (tagged ? 4 : 0)) {
    throw new UsageError(
      `frame: expected ${HEADER} to ${most} bytes, as the MTU is ${vireo.net.mtu}, got ${frame.length}`,
    );
  }
  await vireo.net.send(frame, { signal: vireo.signal });
  console.log(flags.json ? JSON.stringify({ sent: frame.length }) : `sent ${frame.length} bytes`);
}

/** `vireo net dhcp`. */
export async function lease(
  board: BoardOptions,
  flags: JsonFlag & { readonly deadline: string },
): Promise<void> {
  const deadline = parseCount(flags.deadline, "--deadline", 1);
  await using vireo = await openVireo(board);
  await using ip = await IpStack.dhcp(vireo.net, { deadline, signal: vireo.signal });
  const { address, mask, router, dns, server, seconds } = ip.lease!;
  if (flags.json) console.log(JSON.stringify(ip.lease));
  else {
    console.log(
      `${address}, mask ${mask}, router ${router ?? "none"}, dns ${dns.join(" ") || "none"}`,
    );
    console.log(`lent by ${server} for ${seconds} s`);
  }
}

function isHttpUrl(text: string): boolean {
  // An address that is cut short, 10.0.2, would be another one to URL.
  return /^http:\/\/[\w.-]+(:\d+)?(\/|$)/.test(text) && URL.canParse(text) &&
    (!/^http:\/\/[\d.]+(:|\/|$)/.test(text) || /^http:\/\/\d+\.\d+\.\d+\.\d+(:|\/|$)/.test(text));
}

/** `vireo net fetch`. */
export async function fetchFile(
  board: BoardOptions,
  url: string,
  flags: JsonFlag & {
    readonly output?: string;
    readonly deadline: string;
    readonly idle: string;
  },
): Promise<void> {
  const deadline = parseCount(flags.deadline, "--deadline", 1);
  const idle = parseCount(flags.idle, "--idle", 1);
  if (!isHttpUrl(url)) {
    throw new UsageError(`url: expected http:// and an IPv4 address or a name, got '${url}'`);
  }
  keepJsonApart(flags, "bytes");
  await using vireo = await openVireo(board);
  await using ip = await IpStack.dhcp(vireo.net, { deadline, signal: vireo.signal });
  const { status, headers, body } = await ip.fetch(url, {
    deadline,
    idle,
    signal: vireo.signal,
  });
  if (status !== 200) {
    await body.cancel();
    const moved = headers.get("location");
    throw new VireoError("BAD_STATUS", `Server does not have ${url}`, {
      seen: moved === null ? String(status) : `${status} with the address ${moved}`,
      expected: "200",
    });
  }
  const total = Number(headers.get("content-length") ?? 0);
  using sink = await openSink(flags.output);
  const begin = performance.now();
  let bytes = 0;
  for await (const part of body) {
    // As curl: text is for reading, anything else for a file.
    if (part.includes(0)) keepOffTerminal("net fetch", flags.output);
    await sink.write(part);
    bytes += part.length;
    if (total > 0) progress("fetching", Math.min(0.99, bytes / total));
  }
  progress("fetching", 1);
  const seconds = (performance.now() - begin) / 1000;
  if (flags.json) console.log(JSON.stringify({ url, bytes, seconds, file: flags.output }));
  else console.error(`${bytes} bytes, ${rate(bytes / seconds)}B/s`);
}

/** Flags of `vireo net capture`. */
interface CaptureFlags extends JsonFlag {
  readonly output?: string;
  readonly count: string;
  readonly deadline: string;
  readonly ping?: string;
  readonly source?: string;
}

/** Looks at the flags of `vireo net capture`, as {@linkcode preparePing} does. */
export function prepareCapture(
  board: BoardOptions,
  flags: CaptureFlags,
): { source: string | undefined; count: number; deadline: number } {
  const count = parseCount(flags.count, "--count", 1);
  const deadline = parseCount(flags.deadline, "--deadline", 1);
  keepOffTerminal("net capture", flags.output);
  keepJsonApart(flags, "frames");
  if (flags.ping === undefined) return { source: undefined, count, deadline };
  return { source: source(board, "--ping", flags.ping, flags.source), count, deadline };
}

/** `vireo net capture`. */
export async function capture(board: BoardOptions, flags: CaptureFlags): Promise<void> {
  const { source, count, deadline } = prepareCapture(board, flags);
  await using vireo = await openVireo(board);
  const { net } = vireo;
  using sink = await openSink(flags.output);
  const pcap = new PcapWriter();
  await sink.write(pcap.header());
  await net.setPromiscuous(true).catch((error) => {
    // A device without a control queue passes everything anyway, or can't be asked to.
    if (!(error instanceof VireoError && error.code === "UNSUPPORTED")) throw error;
  });
  let captured = 0;
  const asking = flags.ping === undefined ? undefined : askFor(net, flags.ping, source!);
  try {
    while (captured < count) {
      const frame = await net.receive({ deadline, signal: vireo.signal });
      await sink.write(pcap.record(frame.bytes, Date.now()));
      captured++;
    }
  } catch (error) {
    if (!(error instanceof VireoError && error.code === "TIMEOUT")) throw error;
  }
  await asking;
  if (flags.json) console.log(JSON.stringify({ captured, file: flags.output }));
  else console.error(`${captured} ${captured === 1 ? "frame" : "frames"} captured`);
}

/** Broadcasts an ARP request, whose answer is something to capture. */
async function askFor(net: Net, target: string, source: string): Promise<void> {
  const frame = arpRequest({ mac: net.mac, source, target });
  await net.send(frame);
}

/** `vireo net bench`: frames out through the driver to the wire. */
export async function bench(
  board: BoardOptions,
  flags: JsonFlag & { readonly bytes: string; readonly frames: string },
): Promise<void> {
  const bytes = parseCount(flags.bytes, "--bytes", HEADER, 65535);
  const frames = parseCount(flags.frames, "--frames", 1, 1e9);
  await using vireo = await openVireo(board);
  const { net } = vireo;
  const frame = new Uint8Array(bytes);
  frame.set(parseMac("ff:ff:ff:ff:ff:ff"), 0);
  frame.set(net.mac, 6);
  frame.set([0x88, 0xb5], 12);
  const begin = performance.now();
  for (let sent = 0; sent < frames;) {
    if (net.trySend(frame)) sent++;
    else await net.writable({ deadline: 5000 });
    if ((sent & 0xffff) === 0) progress("bench", sent / frames);
  }
  const seconds = (performance.now() - begin) / 1000;
  progress("bench", 1);
  const perSecond = frames / seconds;
  if (flags.json) return console.log(JSON.stringify({ bytes, frames, seconds, perSecond }));
  console.log(
    `${bytes} bytes: ${rate(perSecond)} frames/s, ${rate(perSecond * bytes * 8)}bit/s sent`,
  );
}
