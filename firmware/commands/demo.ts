import { ping } from "@vireo/drivers";
import { VireoError } from "@vireo/hal";
import { type DiskContents, diskContents, diskText, hashDisk } from "../disk_report.ts";
import { makeDemoDisk } from "../demo_disk.ts";
import type { BoardOptions } from "../options.ts";
import { progress, sizeText } from "../output.ts";
import { openVireo, type Vireo } from "../vireo.ts";
import { hashFile } from "./blk.ts";
import { boardText, describeBoard } from "./probe.ts";

/** Where the demo keeps the disk it makes. */
const CACHE = new URL("../../.cache/", import.meta.url).pathname;
/** How long a single answer may take, in milliseconds. */
const DEADLINE = 2000;
/** Bytes of the entropy sample. */
const SAMPLE = 65536;
/** A fair source exceeds this chi-square over 256 byte values once in 10^8 samples. */
const CHI_SQUARE_LIMIT = 394;

/** Flags of `vireo demo`. */
export interface DemoFlags {
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
  let disk = board.blk[0]?.path;
  if (!flags.given) {
    await Deno.mkdir(CACHE, { recursive: true });
    disk = `${CACHE}demo.img`;
    await makeDemoDisk(disk);
  }
  const blk = flags.given ? board.blk : [{ ...board.blk[0]!, path: disk, readOnly: true }];
  await using vireo = await openVireo({ ...board, blk });
  const report = describeBoard(vireo);
  const sections: Section[] = [];
  for (const part of [demoBlk, demoNet, demoConsole, demoRng]) {
    sections.push(await attempt(part, vireo, disk));
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

async function attempt(
  part: (vireo: Vireo, disk: string | undefined) => Promise<Section>,
  vireo: Vireo,
  disk: string | undefined,
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

async function demoBlk(vireo: Vireo, path: string | undefined): Promise<Section> {
  const { blk } = vireo;
  const contents: DiskContents = await diskContents(blk);
  const serial = await blk.getId();
  const sha256 = await hashDisk(blk, { onProgress: (done) => progress("hashing", done) });
  const host = path === undefined ? null : await hashFile(path);
  const lines = [
    `${path ?? "memory disk"}, ${sizeText(blk.capacity)}, serial '${serial}'`,
    ...diskText(contents),
    `sha256 by the driver  ${sha256}`,
  ];
  if (host !== null) {
    lines.push(`sha256 by the host    ${host} ${host === sha256 ? "equal" : "DIFFERENT"}`);
  }
  const ok = host === null || host === sha256;
  return { title: "blk", ok, lines, data: { path, serial, sha256, host, ...contents } };
}

async function demoNet(vireo: Vireo): Promise<Section> {
  const { net } = vireo;
  const target = "10.0.2.2";
  const result = await ping(net, { source: "10.0.2.15", target, count: 4, deadline: DEADLINE });
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

async function demoConsole(vireo: Vireo): Promise<Section> {
  const down = "hello, guest\n";
  const up = "hello, host\n";
  const host = vireo.hostPort;
  if (host === undefined) throw new VireoError("UNSUPPORTED", "No host end of the console here");
  using port = (await vireo.console.port("host", { deadline: DEADLINE })).open();
  const writer = host.writable.getWriter();
  const [, toGuest] = await Promise.all([
    writer.write(new TextEncoder().encode(down)),
    port.read({ deadline: DEADLINE }),
  ]);
  const reader = host.readable.getReader();
  const [, toHost] = await Promise.all([
    port.writeText(up, { deadline: DEADLINE }),
    reader.read(),
  ]);
  writer.releaseLock();
  reader.releaseLock();
  const got = { toGuest: text(toGuest), toHost: text(toHost.value) };
  const lines = [
    `ports ${vireo.console.ports.map((p) => `${p.id} '${p.name}'`).join(", ")}`,
    `host to guest  ${JSON.stringify(got.toGuest)}`,
    `guest to host  ${JSON.stringify(got.toHost)}`,
  ];
  const ok = got.toGuest === down && got.toHost === up;
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
