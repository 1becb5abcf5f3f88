import { type Blk, blkDriver, type BlkZone } from "@vireo/drivers/blk";
import {
  BLK_SECTOR_SIZE,
  BlkFeature,
  BlkZonedModel,
  BlkZoneState,
  BlkZoneType,
  featureName,
  nameIn,
  VireoError,
} from "@vireo/hal";
import { sha256 } from "../disk/sha256.ts";
import { type DiskContents, diskContents, diskText, hashDisk } from "../disk/disk_report.ts";
import type { BoardOptions } from "../target/options.ts";
import { progress, rate, sizeText } from "../terminal/output.ts";
import { keepOffTerminal, openInput, openSink } from "../terminal/files.ts";
import { parseCount, UsageError } from "../terminal/usage.ts";
import { readBytes, wholeBytes, writeBytes } from "../disk/byte_range.ts";
import type { Vireo } from "../vireo.ts";
import { openVireo } from "../session.ts";

/** Bytes copied at a time by read and write. */
const CHUNK = 256 * 1024;

/** Flags of every `vireo blk` command. */
interface DiskFlags {
  readonly disk: string;
  readonly json?: true | undefined;
}

/** Flags of commands over a range of sectors. */
interface RangeFlags extends DiskFlags {
  readonly sector: string;
  readonly count?: string | undefined;
}

/** Chosen disk and sectors. */
interface Wanted {
  readonly disk: number;
  readonly sector: number;
  readonly count: number | undefined;
}

/** Looks at the flags, which is done before a board is opened: that may take long. */
function wanted(flags: DiskFlags & Partial<RangeFlags>): Wanted {
  const sectors = (text: string, what: string, min: number): number =>
    parseCount(text, what, min, Math.floor(Number.MAX_SAFE_INTEGER / BLK_SECTOR_SIZE));
  return {
    disk: parseCount(flags.disk, "--disk"),
    sector: sectors(flags.sector ?? "0", "--sector", 0),
    count: flags.count === undefined ? undefined : sectors(flags.count, "--count", 1),
  };
}

function pick(vireo: Vireo, { disk: index }: Wanted): Blk {
  const disks = vireo.bus.all(blkDriver);
  if (disks.length === 0) return vireo.blk;
  const disk = disks[index];
  if (disk === undefined) {
    throw new UsageError(`--disk: expected 0 to ${disks.length - 1}, got ${index}`);
  }
  return disk;
}

/**
 * Finds out which sectors of a disk are meant: by default all from the first one on.
 *
 * @throws {UsageError} If the disk does not have them, or has them in part of a block only.
 */
function range(blk: Blk, { sector, ...wanted }: Wanted): { sector: number; count: number } {
  checkSector(blk, sector);
  const rest = blk.sectors - sector;
  const count = wanted.count ?? rest;
  if (count > rest) {
    throw new UsageError(
      `--sector, --count: the disk has ${blk.sectors} sectors, got ${sector} + ${count}`,
    );
  }
  const whole = wholeBytes(blk) / BLK_SECTOR_SIZE;
  if (sector + count > whole) {
    throw new UsageError(
      `--sector, --count: the disk has ${blk.sectors} sectors, but only the first ${whole} are whole ` +
        `blocks of ${blk.blockSize} bytes, got ${sector} + ${count}`,
    );
  }
  return { sector, count };
}

/**
 * @throws {UsageError} If the disk does not have this sector.
 * @throws {VireoError} `OUT_OF_RANGE` If the disk has none at all.
 */
function checkSector(blk: Blk, sector: number): void {
  if (blk.sectors === 0) {
    throw new VireoError("OUT_OF_RANGE", "The disk is empty: it has 0 sectors", {
      device: blk.device.name,
    });
  }
  if (sector < blk.sectors) return;
  throw new UsageError(
    `--sector: the disk has ${blk.sectors} sectors, 0 to ${blk.sectors - 1}, got ${sector}`,
  );
}

/** `vireo blk info`. */
export async function info(board: BoardOptions, flags: DiskFlags): Promise<void> {
  const want = wanted(flags);
  await using vireo = await openVireo(board);
  const blk = pick(vireo, want);
  const contents: DiskContents = await diskContents(blk);
  const report = {
    sectors: blk.sectors,
    bytes: blk.capacity,
    blockSize: blk.blockSize,
    readOnly: blk.readOnly,
    serial: await blk.getId(),
    queues: blk.queues,
    writeCache: blk.writeCache,
    features: [...blk.device.features].map((bit) => featureName(bit, BlkFeature)),
    topology: blk.topology ?? null,
    geometry: blk.geometry ?? null,
    unusable: blk.capacity - wholeBytes(blk),
    ...contents,
  };
  if (flags.json) return console.log(JSON.stringify(report));
  console.log(
    `${sizeText(report.bytes)} (${report.sectors} sectors), blocks of ${report.blockSize} bytes` +
      `${report.readOnly ? ", read-only" : ""}`,
  );
  const cache = report.writeCache ? "write back" : "write through";
  console.log(`serial '${report.serial}', ${report.queues} queue(s), ${cache}`);
  console.log(`features ${report.features.join(" ")}`);
  if (report.unusable > 0) {
    console.log(
      `the last ${report.unusable} bytes cannot be used: a block has ${report.blockSize} bytes`,
    );
  }
  console.log(diskText(contents).join("\n"));
}

/** `vireo blk read`. */
export async function read(
  board: BoardOptions,
  flags: RangeFlags & { readonly output?: string; readonly hash?: true },
): Promise<void> {
  if (flags.json && flags.output === undefined && !flags.hash) {
    throw new UsageError("--json: needs -o FILE or --hash, standard output has the bytes");
  }
  if (!flags.hash) keepOffTerminal("blk read", flags.output);
  const want = wanted(flags);
  await using vireo = await openVireo(board);
  const blk = pick(vireo, want);
  const { sector, count } = range(blk, want);
  if (flags.hash) {
    const sha256 = await hashDisk(blk, { sector, count, onProgress: (d) => progress("read", d) });
    return console.log(flags.json ? JSON.stringify({ sector, count, sha256 }) : sha256);
  }
  using sink = await openSink(flags.output);
  for (let done = 0; done < count; done += CHUNK / BLK_SECTOR_SIZE) {
    const length = Math.min(CHUNK, (count - done) * BLK_SECTOR_SIZE);
    const bytes = await readBytes(blk, (sector + done) * BLK_SECTOR_SIZE, length);
    await sink.write(bytes);
    if (sink.path !== undefined) {
      progress("read", Math.min((done + CHUNK / BLK_SECTOR_SIZE) / count, 1));
    }
  }
  if (flags.json) console.log(JSON.stringify({ sector, count, bytes: count * BLK_SECTOR_SIZE }));
}

/** `vireo blk write`. */
export async function write(
  board: BoardOptions,
  flags: DiskFlags & { readonly sector: string; readonly input?: string; readonly flush?: true },
): Promise<void> {
  using file = flags.input === undefined ? undefined : await openInput(flags.input);
  const source = file ?? Deno.stdin;
  const want = wanted(flags);
  await using vireo = await openVireo(board);
  const blk = pick(vireo, want);
  const first = want.sector;
  checkSector(blk, first);
  const buffer = new Uint8Array(CHUNK);
  let bytes = 0;
  for (;;) {
    const length = await fill(source, buffer);
    if (length === 0) break;
    const room = Math.max(wholeBytes(blk) - first * BLK_SECTOR_SIZE, 0);
    if (bytes + length > room) {
      throw new VireoError("OUT_OF_RANGE", "The input is longer than the disk from there on", {
        seen: `${bytes + length} bytes`,
        expected: `at most ${room}`,
      });
    }
    await writeBytes(blk, first * BLK_SECTOR_SIZE + bytes, buffer.subarray(0, length));
    bytes += length;
    if (length < CHUNK) break;
  }
  if (flags.flush) await blk.flush();
  const report = { sector: first, bytes, flushed: flags.flush === true };
  console.log(flags.json ? JSON.stringify(report) : `wrote ${bytes} bytes at sector ${first}`);
}

async function fill(source: { read(into: Uint8Array): Promise<number | null> }, into: Uint8Array) {
  let length = 0;
  while (length < into.length) {
    const n = await source.read(into.subarray(length));
    if (n === null) break;
    length += n;
  }
  return length;
}

/** `vireo blk flush`. */
export async function flush(board: BoardOptions, flags: DiskFlags): Promise<void> {
  const want = wanted(flags);
  await using vireo = await openVireo(board);
  await pick(vireo, want).flush();
  console.log(flags.json ? JSON.stringify({ flushed: true }) : "flushed");
}

/** `vireo blk discard`. */
export async function discard(board: BoardOptions, flags: RangeFlags): Promise<void> {
  const want = wanted(flags);
  await using vireo = await openVireo(board);
  const blk = pick(vireo, want);
  const { sector, count } = range(blk, want);
  await blk.discard([{ sector, sectors: count }]);
  const report = { sector, count };
  console.log(
    flags.json ? JSON.stringify(report) : `discarded ${count} sectors from sector ${sector}`,
  );
}

/** Actions of `vireo blk zones` on one zone each. */
const ZONE_ACTIONS = ["open", "close", "finish", "reset"] as const;
const RESET_ALL = "reset-all";

/** Zones as people read them: without the values that mean none. */
interface ZoneRow extends Omit<BlkZone, "type" | "state"> {
  readonly type: string;
  readonly state: string;
}

/** `vireo blk zones`. */
export async function zones(
  board: BoardOptions,
  action: string | undefined,
  flags: RangeFlags,
): Promise<void> {
  const each = ZONE_ACTIONS.find((name) => name === action);
  if (action !== undefined && each === undefined && action !== RESET_ALL) {
    throw new UsageError(
      `action: expected ${[...ZONE_ACTIONS, RESET_ALL].join(", ")}, got '${action}'`,
    );
  }
  const want = wanted(flags);
  await using vireo = await openVireo(board);
  const blk = pick(vireo, want);
  const { zones } = blk;
  if (zones === undefined) {
    throw new VireoError("UNSUPPORTED", "Disk has no zones", {
      device: blk.device.name,
      expected: "a host-managed or host-aware disk, as --blk-zoned makes it on the emulator",
    });
  }
  checkSector(blk, want.sector);
  const count = want.count ?? (each === undefined ? Infinity : 1);
  if (action === RESET_ALL) await zones.resetAll();
  if (each !== undefined) {
    for (const { start } of await zones.report(want.sector, { count })) await zones[each](start);
  }
  const rows = (await zones.report(want.sector, { count })).map((zone): ZoneRow => ({
    ...zone,
    type: nameIn(BlkZoneType, zone.type)!,
    state: nameIn(BlkZoneState, zone.state)!,
  }));
  const { model, ...limits } = zones.zoned;
  const name = model === BlkZonedModel.HM ? "host-managed" : "host-aware";
  if (flags.json) return console.log(JSON.stringify({ model: name, ...limits, zones: rows }));
  const { zoneSectors, maxOpenZones, maxActiveZones, maxAppendSectors, writeGranularity } = limits;
  const most = (what: string, number: number): string =>
    number === 0 ? `any number ${what}` : `at most ${number} ${what}`;
  console.log(
    `${name}, ${zones.count} zones of ${zoneSectors} sectors (${
      sizeText(zoneSectors * BLK_SECTOR_SIZE)
    })`,
  );
  console.log(`${most("open", maxOpenZones)}, ${most("open or closed", maxActiveZones)}`);
  console.log(`appends of ${maxAppendSectors} sectors, writes of ${writeGranularity} bytes`);
  for (const { start, capacity, pointer, type, state } of rows) {
    const where = pointer === undefined ? "" : `, next write at ${pointer}`;
    console.log(`${start}: ${capacity} sectors, ${type} ${state}${where}`);
  }
}

/** Flags of `vireo blk bench`. */
interface BenchFlags extends DiskFlags {
  readonly op: "read" | "write";
  readonly depth: string;
  readonly bytes: string;
  readonly requests: string;
}

/** `vireo blk bench`: random requests at a depth, through the promise API. */
export async function bench(board: BoardOptions, flags: BenchFlags): Promise<void> {
  const depth = parseCount(flags.depth, "--depth", 1, 4096);
  const bytes = parseCount(flags.bytes, "--bytes", BLK_SECTOR_SIZE, 16 * 1024 * 1024);
  const requests = parseCount(flags.requests, "--requests", 1, 1e9);
  if (bytes % BLK_SECTOR_SIZE !== 0) {
    throw new UsageError(`--bytes: expected a multiple of 512, got ${bytes}`);
  }
  const want = wanted(flags);
  await using vireo = await openVireo(board);
  const blk = pick(vireo, want);
  const places = Math.floor(blk.capacity / bytes);
  if (places < 1) throw new UsageError(`--bytes: the disk has only ${blk.capacity} bytes`);
  let started = 0;
  const worker = async (): Promise<void> => {
    const data = new Uint8Array(bytes);
    while (started++ < requests) {
      const sector = Math.floor(Math.random() * places) * (bytes / BLK_SECTOR_SIZE);
      if (flags.op === "read") await blk.read(sector, data);
      else await blk.write(sector, data);
      if ((started & 0xfff) === 0) progress("bench", started / requests);
    }
  };
  const begin = performance.now();
  await Promise.all(Array.from({ length: Math.min(depth, requests) }, worker));
  const seconds = (performance.now() - begin) / 1000;
  progress("bench", 1);
  const perSecond = requests / seconds;
  const report = { op: flags.op, depth, bytes, requests, seconds, perSecond };
  if (flags.json) return console.log(JSON.stringify(report));
  console.log(
    `${flags.op} ${bytes} bytes at depth ${depth}: ${rate(perSecond)} requests/s, ` +
      `${rate(perSecond * bytes)}B/s`,
  );
}

/** SHA-256 of a host file, for comparison. */
export async function hashFile(path: string): Promise<string> {
  const hash = await sha256();
  using file = await Deno.open(path);
  const buffer = new Uint8Array(CHUNK);
  for (;;) {
    const n = await file.read(buffer);
    if (n === null) return hash.digest("hex");
    hash.update(buffer.subarray(0, n));
  }
}
