/**
 * Works on the devices in a guest for tests/guest/matrix_test.ts, besides the matrix: 64 MiB of a pattern on a
 * disk, another disk read whole, ports, entropy, and states that QEMU changes.
 */
import { createHash } from "node:crypto";
import { type Blk, blkDriver } from "@vireo/drivers/blk";
import type { Port } from "@vireo/drivers/console";
import { ping } from "@vireo/firmware/ip";
import { VireoError } from "@vireo/hal";
import type { Vireo } from "@vireo/firmware";

/** Bytes of a slot of the disk; every write lies in one of its own. */
const SLOT = 1 << 20;
/** Serial of the disk that is written. */
export const WRITTEN = "WRITTEN";
/** Serial of the read-only disk, which has a partition table and a file system. */
export const READ_ONLY = "READ-ONLY";
/** Length of an answer to wait for, in milliseconds: a guest may have a small part of a busy machine. */
const DEADLINE = 20_000;
/** How many reads and writes are in flight. */
const DEPTH = 4;

/** A write of the pattern that the guest writes and the host expects. */
interface PatternWrite {
  readonly sector: number;
  /** Aligned to four bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A sequence of 32-bit numbers by their seed (xorshift). */
function numbers(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/**
 * Writes of random length, half a slot to a whole one, at random places that do not overlap; the same for
 * the same seed. What each writes is a piece of one random block, from a place of its own.
 */
export function* pattern(seed: number, disk: number, writes: number): Generator<PatternWrite> {
  const next = numbers(seed);
  const block = new Uint32Array(2 * SLOT / 4);
  for (let k = 0; k < block.length; k++) block[k] = next();
  const slots = Array.from({ length: disk / SLOT }, (_, i) => i);
  for (let i = 0; i < writes; i++) {
    const j = i + next() % (slots.length - i);
    [slots[i], slots[j]] = [slots[j]!, slots[i]!];
    const length = SLOT / 2 + (1 + next() % 1024) * 512;
    const from = next() % ((SLOT - length) / 512 + 1);
    const bytes = new Uint8Array(block.buffer, (next() % (SLOT / 4)) * 4, length);
    yield { sector: slots[i]! * (SLOT / 512) + from, bytes };
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  const words = (bytes: Uint8Array): Uint32Array =>
    new Uint32Array(
      (bytes.byteOffset % 4 === 0 ? bytes : bytes.slice()).buffer,
      bytes.byteOffset % 4 === 0 ? bytes.byteOffset : 0,
      bytes.length / 4,
    );
  const [x, y] = [words(a), words(b)];
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return false;
  return a.length === b.length;
}

/** Does something with every item, so many at a time. */
async function each<T>(items: Iterator<T>, work: (item: T) => Promise<void>): Promise<void> {
  const worker = async (): Promise<void> => {
    for (let item = items.next(); !item.done; item = items.next()) await work(item.value);
  };
  await Promise.all(Array.from({ length: DEPTH }, worker));
}

/** The sectors that are discarded, and those that are zeroed, after the pattern. */
export const DISCARDED = { sector: 0, sectors: 2048 } as const;
export const ZEROED = { sector: 4096, sectors: 1024 } as const;

/** Findings of the script. */
export interface Findings {
  readonly writtenBytes: number;
  readonly differing: number;
  readonly serials: readonly string[];
  readonly readOnly: string;
  readonly sha256: string;
  readonly replies: number;
  readonly echo: readonly boolean[];
  readonly entropy: { readonly bytes: number; readonly values: number };
  readonly link: readonly boolean[];
  readonly grown: number;
}

/**
 * Does all of it, on a board with disks of these two serials.
 *
 * @param args Seed and number of writes of the pattern.
 */
export async function checkDevices(vireo: Vireo, args: readonly number[]): Promise<Findings> {
  const { net } = vireo;
  const disks = vireo.bus.all(blkDriver);
  const serials = await Promise.all(disks.map((disk) => disk.getId()));
  const blk = disks[serials.indexOf(WRITTEN)]!;
  const other = disks[serials.indexOf(READ_ONLY)]!;
  const [seed = 1, writes = 16] = args;
  let writtenBytes = 0;
  await each(pattern(seed, blk.capacity, writes), async ({ sector, bytes }) => {
    await blk.write(sector, bytes, { deadline: DEADLINE });
    writtenBytes += bytes.length;
  });
  let differing = 0;
  await each(pattern(seed, blk.capacity, writes), async ({ sector, bytes }) => {
    if (!equal(await blk.read(sector, bytes.length, { deadline: DEADLINE }), bytes)) differing++;
  });
  await blk.discard([DISCARDED]);
  await blk.writeZeroes([ZEROED]);
  await blk.flush();
  const refused = await other.write(0, new Uint8Array(512)).catch((error) => error);
  const ports = await Promise.all(
    ["console", "echo"].map((name) => vireo.console.port(name, { deadline: DEADLINE })),
  );
  const found: Omit<Findings, "link" | "grown"> = {
    writtenBytes,
    differing,
    serials: serials.sort(),
    readOnly: refused instanceof VireoError ? refused.code : "",
    sha256: await hash(other),
    replies: (await ping(net, {
      source: "10.0.2.15",
      target: "10.0.2.2",
      count: 3,
      deadline: DEADLINE,
    })).replies.length,
    echo: await Promise.all(ports.map(echo)),
    entropy: await entropy(vireo),
  };
  return { ...found, ...await hotState(vireo, blk) };
}

/** Reads a disk whole. */
async function hash(disk: Blk): Promise<string> {
  const sum = createHash("sha256");
  const count = SLOT / 512;
  for (let sector = 0; sector < disk.capacity / 512; sector += count) {
    sum.update(await disk.read(sector, count * 512, { deadline: DEADLINE }));
  }
  return sum.digest("hex");
}

async function echo(device: Port, index: number): Promise<boolean> {
  using port = device.open();
  await port.hostOpened({ deadline: DEADLINE });
  const data = new Uint8Array(100_000);
  for (let i = 0; i < data.length; i++) data[i] = (i * 31) ^ (i >> 8) ^ index;
  const sending = port.write(data, { deadline: DEADLINE });
  let at = 0;
  while (at < data.length) {
    const bytes = await port.read({ deadline: DEADLINE });
    if (bytes === null) return false;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== data[at++]) return false;
  }
  await sending;
  return true;
}

async function entropy({ rng }: Vireo): Promise<Findings["entropy"]> {
  const bytes = await rng.read(1 << 20, { deadline: DEADLINE });
  return { bytes: bytes.length, values: countValues(bytes) };
}

/** Counts the different values among bytes: a `Set` of a million takes seconds under TCG. */
export function countValues(bytes: Uint8Array): number {
  const seen = new Uint8Array(256);
  for (let i = 0; i < bytes.length; i++) seen[bytes[i]!] = 1;
  return seen.reduce((sum, one) => sum + one, 0);
}

/** Has QEMU take the link down and up and make the disk grow, and waits for each to be seen. */
async function hotState(
  { net, qmp }: Vireo,
  blk: Blk,
): Promise<Pick<Findings, "link" | "grown">> {
  const link: boolean[] = [];
  for (const up of [false, true]) {
    const changed = soon("link", (seen) => net.addEventListener("link", seen, { once: true }));
    await qmp!.execute("set_link", { name: "net0", up }, { deadline: DEADLINE });
    await changed;
    link.push(net.linkUp);
  }
  const grown = soon<number>("capacity", (seen) => blk.onCapacityChange = seen);
  const size = 2 * blk.capacity;
  await qmp!.execute("block_resize", { "node-name": "disk0", size }, { deadline: DEADLINE });
  return { grown: await grown, link };
}

/** Resolves when something happens. */
async function soon<T>(what: string, listen: (seen: (value: T) => void) => void): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const timer = setTimeout(() => reject(new Error(`No change of the ${what} came`)), DEADLINE);
  listen(resolve);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}
