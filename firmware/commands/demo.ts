import { ping } from "../ip/mod.ts";
import { peerOn, sourceFor } from "../ip/source.ts";
import { VireoError } from "@vireo/hal";
import { type DiskContents, diskContents, diskText, hashDisk } from "../disk/disk_report.ts";
import type { StreamPort } from "@vireo/emu";
import { inGuest } from "../terminal/environment.ts";
import type { BoardOptions } from "../target/options.ts";
import { progress, sizeText } from "../terminal/output.ts";
import { parseTarget } from "../target/target.ts";
import type { Vireo } from "../vireo.ts";
import { openVireo } from "../session.ts";
import { hashFile } from "./blk.ts";
import { boardText, describeBoard } from "./probe.ts";

/** How long a single answer may take, in milliseconds; an emulated processor may share its host. */
const DEADLINE = 10_000;
/** Bytes of the entropy sample. */
const SAMPLE = 65536;
/** A fair source exceeds this chi-square over 256 byte values once in 10^8 samples. */
const CHI_SQUARE_LIMIT = 394;

/** Environment variable that tells a guest of the disk on the host, as JSON. */
const DEMO_DISK = "VIREO_DEMO_DISK";

/** Environment variable that tells a guest of the wire on the host, as JSON. */
const DEMO_PEER = "VIREO_DEMO_PEER";

/** IPv4 addresses on the board's wire: ours, and one that answers. */
interface DemoPeer {
  readonly source: string;
  readonly target: string;
}

/** The addresses of the wire; a guest has them from the host, whose interfaces they are. */
function demoPeer({ net }: BoardOptions): DemoPeer {
  const known = Deno.env.get(DEMO_PEER);
  if (known !== undefined) return JSON.parse(known) as DemoPeer;
  const target = peerOn(net);
  return { source: sourceFor(net, target), target };
}

/** A disk of the host, and what the driver must find on it. */
interface DemoDisk {
  readonly path: string;
  readonly sha256: string;
}

/**
 * Does the host's part of a demo in a guest: makes the disk, unless the user named one, and hashes it.
 *
 * @returns The board with the disk, and the guest's environment.
 */
export async function prepareDemo(
  board: BoardOptions,
  given: boolean,
): Promise<{ board: BoardOptions; env: Record<string, string> }> {
  const { board: full, disk } = await withDisk(board, given);
  const env = { [DEMO_PEER]: JSON.stringify(demoPeer(board)) };
  if (disk === undefined) return { board: full, env };
  const known: DemoDisk = { path: disk, sha256: await hashFile(disk) };
  return { board: full, env: { ...env, [DEMO_DISK]: JSON.stringify(known) } };
}

/** The board with a disk to read: the user's, or one that is made here. */
async function withDisk(
  board: BoardOptions,
  given: boolean,
): Promise<{ board: BoardOptions; disk: string | undefined }> {
  if (given) return { board, disk: board.blk[0]?.path };
  // A guest, where these take long to load, has the host's disk.
  const { CACHE } = await import("../image/paths.ts");
  const { makeDemoDisk } = await import("../disk/demo_disk.ts");
  const disk = `${CACHE}/demo.img`;
  await makeDemoDisk(disk);
  return { board: { ...board, blk: [{ ...board.blk[0]!, path: disk, readOnly: true }] }, disk };
}

/** Flags of `vireo demo`. */
interface DemoFlags {
  /** Whether the user named a disk. */
  readonly given: boolean;
  readonly json?: true | undefined;
}

interface Section {
  readonly title: string;
  readonly ok: boolean;
  readonly lines: readonly string[];
  readonly data: unknown;
}

/** `vireo demo`: drives all four devices and reports; fails if any check fails. */
export async function demo(board: BoardOptions, flags: DemoFlags): Promise<void> {
  const began = performance.now();
  const { board: full, known } = await findDisk(board, flags.given);
  await using vireo = await openVireo(full);
  const report = describeBoard(vireo, full);
  const sections: Section[] = [];
  const peer = demoPeer(full);
  const demoNet = (vireo: Vireo): Promise<Section> => pingPeer(vireo, peer);
  for (const part of [demoBlk, demoNet, talkBoth, demoRng]) {
    sections.push(await attempt(part, vireo, known));
  }
  const seconds = (performance.now() - began) / 1000;
  const ok = report.errors.length === 0 && sections.every((section) => section.ok);
  if (flags.json) {
    const results = Object.fromEntries(
      sections.map(({ title, ok, data }) => [title, { ok, data }]),
    );
    console.log(JSON.stringify({ ok, seconds, board: report, results }, null, 2));
  } else {
    console.log(boardText(report));
    for (const { title, ok, lines } of sections) {
      console.log(`\n${title}: ${ok ? "ok" : "FAILED"}`);
      for (const line of lines) console.log(`  ${line}`);
    }
    console.log(`\n${ok ? "All four devices work" : "FAILED"}, ${seconds.toFixed(2)} s`);
  }
  if (!ok) throw new VireoError("IO_ERROR", "The demo found a difference");
}

/** The disk's file, and its hash or a way to it. */
interface Disk {
  readonly path: string | undefined;
  readonly hash: () => Promise<string | null>;
}

/** The disk of this demo: this machine's own, the host's, or a file that is here. */
async function findDisk(
  board: BoardOptions,
  given: boolean,
): Promise<{ board: BoardOptions; known: Disk }> {
  if (["devmem", "vhost-user"].includes(parseTarget(board.target).kind) || inGuest()) {
    const text = Deno.env.get(DEMO_DISK);
    const disk: DemoDisk | undefined = text === undefined ? undefined : JSON.parse(text);
    const hash = () => Promise.resolve(disk?.sha256 ?? null);
    return { board, known: { path: disk?.path, hash } };
  }
  const { board: full, disk: path } = await withDisk(board, given);
  const hash = async () => path === undefined ? null : await hashFile(path);
  return { board: full, known: { path, hash } };
}

async function attempt(
  part: (vireo: Vireo, disk: Disk) => Promise<Section>,
  vireo: Vireo,
  disk: Disk,
): Promise<Section> {
  try {
    return await part(vireo, disk);
  } catch (error) {
    if (!(error instanceof VireoError)) throw error;
    const title = part.name.replace("demo", "").toLowerCase();
    const data = { code: error.code, message: error.message };
    return { title, ok: false, lines: [error.message], data };
  }
}

async function demoBlk(vireo: Vireo, { path, hash }: Disk): Promise<Section> {
  const { blk } = vireo;
  const contents: DiskContents = await diskContents(blk);
  const serial = await blk.getId();
  const sha256 = await hashDisk(blk, { onProgress: (done) => progress("hashing", done) });
  const host = await hash();
  const lines = [
    `${path ?? "disk"}, ${sizeText(blk.capacity)}, serial '${serial}'`,
    ...diskText(contents),
    `sha256 by the driver  ${sha256}`,
  ];
  if (host !== null) {
    lines.push(`sha256 by the host    ${host} ${host === sha256 ? "equal" : "DIFFERENT"}`);
  }
  const ok = host === null || host === sha256;
  return { title: "blk", ok, lines, data: { path, serial, sha256, host, ...contents } };
}

async function pingPeer({ net }: Vireo, { source, target }: DemoPeer): Promise<Section> {
  const result = await ping(net, { source, target, count: 4, deadline: DEADLINE });
  const times = result.replies.map((reply) => reply.milliseconds).sort((a, b) => a - b);
  const median = times[times.length >> 1] ?? NaN;
  const lines = [
    `${net.macText}, link ${net.linkUp ? "up" : "down"}, mtu ${net.mtu}`,
    `ARP   ${target} is at ${result.mac}`,
    `ICMP  ${result.replies.length} of 4 echo replies, median ${median.toFixed(3)} ms`,
  ];
  const ok = result.replies.length === 4;
  return { title: "net", ok, lines, data: { target, mac: result.mac, milliseconds: times } };
}

/** Messages between the host and the guest. */
const DOWN = "hello, guest\n";
const UP = "hello, host\n";

interface Talk {
  readonly toGuest: string;
  readonly toHost: string;
  readonly how: string;
}

/** Both directions, from both ends. */
async function talk(vireo: Vireo, host: StreamPort): Promise<Talk> {
  using port = (await vireo.console.port("host", { deadline: DEADLINE })).open();
  const writer = host.writable.getWriter();
  const [, toGuest] = await Promise.all([
    writer.write(new TextEncoder().encode(DOWN)),
    port.read({ deadline: DEADLINE }),
  ]);
  const reader = host.readable.getReader();
  const [, toHost] = await Promise.all([
    port.writeText(UP, { deadline: DEADLINE }),
    reader.read(),
  ]);
  writer.releaseLock();
  reader.releaseLock();
  return { toGuest: text(toGuest), toHost: text(toHost.value), how: "port 'host', both ends" };
}

/** Both directions from here: the host's end is in another process and sends back what it gets. */
async function echoBoth(vireo: Vireo): Promise<Talk> {
  using port = (await vireo.console.port("echo", { deadline: DEADLINE })).open();
  await port.hostOpened({ deadline: DEADLINE });
  const answers: string[] = [];
  for (const sent of [DOWN, UP]) {
    await port.writeText(sent, { deadline: DEADLINE });
    let answer = "";
    while (answer.length < sent.length) {
      const bytes = await port.read({ deadline: DEADLINE });
      if (bytes === null) break;
      answer += text(bytes);
    }
    answers.push(answer);
  }
  const [toGuest = "", toHost = ""] = answers;
  return { toGuest, toHost, how: "port 'echo', there and back" };
}

async function talkBoth(vireo: Vireo): Promise<Section> {
  const { hostPort } = vireo;
  const { toGuest, toHost, how } = hostPort === undefined
    ? await echoBoth(vireo)
    : await talk(vireo, hostPort);
  const got = { toGuest, toHost };
  const lines = [
    `ports ${vireo.console.ports.map((p) => `${p.id} '${p.name}'`).join(", ")}`,
    how,
    `host to guest  ${JSON.stringify(got.toGuest)}`,
    `guest to host  ${JSON.stringify(got.toHost)}`,
  ];
  const ok = got.toGuest === DOWN && got.toHost === UP;
  return { title: "console", ok, lines, data: got };
}

function text(bytes: Uint8Array | null | undefined): string {
  return new TextDecoder().decode(bytes ?? new Uint8Array());
}

async function demoRng(vireo: Vireo): Promise<Section> {
  const bytes = await vireo.rng.read(SAMPLE, { deadline: DEADLINE });
  const counts = new Uint32Array(256);
  for (const byte of bytes) counts[byte]!++;
  const mean = bytes.length / 256;
  let chiSquare = 0;
  for (const count of counts) chiSquare += (count - mean) ** 2 / mean;
  const sample = [...bytes.subarray(0, 16)].map((b) => b.toString(16).padStart(2, "0")).join(" ");
  const lines = [
    `${bytes.length} bytes: ${sample} ...`,
    `chi-square ${chiSquare.toFixed(1)} over byte values (255 expected, under ${CHI_SQUARE_LIMIT})`,
  ];
  const data = { bytes: bytes.length, chiSquare };
  return { title: "rng", ok: chiSquare < CHI_SQUARE_LIMIT, lines, data };
}
