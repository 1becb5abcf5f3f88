/**
 * What cli_guest_test.ts has `vireo run` do in a guest: many checks in one boot, as booting is slow.
 * Prints `ready` when the host is to change the devices, then its findings as JSON.
 */
import { type Blk, blkDriver, type Net, ping, type Port } from "@vireo/drivers";
import { VireoError } from "@vireo/hal";
import type { Vireo } from "@vireo/firmware";

/** Bytes of a slot of the disk; every write lies in one of its own. */
const SLOT = 65536;
/** Length of an answer to wait for, in milliseconds: a guest may have a small part of a busy machine. */
const DEADLINE = 20_000;

/** A write of the pattern that the guest writes and the host expects. */
interface PatternWrite {
  readonly sector: number;
  readonly bytes: Uint8Array;
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

/** Writes of random length at random places, none over another; the same for the same seed. */
export function* pattern(seed: number, disk: number, writes: number): Generator<PatternWrite> {
  const next = numbers(seed);
  const slots = Array.from({ length: disk / SLOT }, (_, i) => i);
  for (let i = 0; i < writes; i++) {
    const j = i + next() % (slots.length - i);
    [slots[i], slots[j]] = [slots[j]!, slots[i]!];
    const from = next() % 64;
    const length = (1 + next() % (128 - from)) * 512;
    const words = new Uint32Array(length / 4);
    for (let k = 0; k < words.length; k++) words[k] = next();
    yield { sector: slots[i]! * (SLOT / 512) + from, bytes: new Uint8Array(words.buffer) };
  }
}

/** The sectors that are discarded, and those that are zeroed, after the pattern. */
export const DISCARDED = { sector: 0, sectors: 2048 } as const;
export const ZEROED = { sector: 4096, sectors: 1024 } as const;

/** What the script found. */
export interface Findings {
  readonly writtenBytes: number;
  readonly differing: number;
  readonly serials: readonly string[];
  readonly readOnly: string;
  readonly replies: number;
  readonly echo: boolean;
  readonly entropy: { readonly bytes: number; readonly values: number };
  readonly link: readonly boolean[];
  readonly grown: number;
}

/** Arguments: seed, number of writes. */
export default async function main(vireo: Vireo): Promise<void> {
  const { net, args } = vireo;
  const blk = vireo.bus.all(blkDriver).find((disk) => !disk.readOnly)!;
  const [seed = 1, writes = 16] = args.map(Number);
  let writtenBytes = 0;
  for (const { sector, bytes } of pattern(seed, blk.capacity, writes)) {
    await blk.write(sector, bytes);
    writtenBytes += bytes.length;
  }
  let differing = 0;
  for (const { sector, bytes } of pattern(seed, blk.capacity, writes)) {
    const found = await blk.read(sector, bytes.length);
    if (!found.every((byte, i) => byte === bytes[i])) differing++;
  }
  await blk.discard([DISCARDED]);
  await blk.writeZeroes([ZEROED]);
  await blk.flush();
  const found: Omit<Findings, "link" | "grown"> = {
    writtenBytes,
    differing,
    ...await otherDisks(vireo),
    replies: (await ping(net, {
      source: "10.0.2.15",
      target: "10.0.2.2",
      count: 3,
      deadline: DEADLINE,
    })).replies.length,
    echo: await echo(await vireo.console.port("echo", { deadline: DEADLINE })),
    entropy: await entropy(vireo),
  };
  console.log(JSON.stringify({ ...found, ...await hotState(net, blk) }));
}

async function otherDisks({ bus }: Vireo): Promise<Pick<Findings, "serials" | "readOnly">> {
  const disks = bus.all(blkDriver);
  const serials = await Promise.all(disks.map((disk) => disk.getId()));
  const refused = await disks.find((disk) => disk.readOnly)?.write(0, new Uint8Array(512))
    .catch((error) => error);
  return { serials: serials.sort(), readOnly: refused instanceof VireoError ? refused.code : "" };
}

async function echo(device: Port): Promise<boolean> {
  using port = device.open();
  await port.hostOpened({ deadline: DEADLINE });
  const data = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 31) ^ (i >> 8));
  const sending = port.write(data, { deadline: DEADLINE });
  let at = 0;
  while (at < data.length) {
    const bytes = await port.read({ deadline: DEADLINE });
    if (bytes === null) return false;
    for (const byte of bytes) if (byte !== data[at++]) return false;
  }
  await sending;
  return true;
}

async function entropy({ rng }: Vireo): Promise<Findings["entropy"]> {
  const bytes = await rng.read(1 << 20, { deadline: DEADLINE });
  return { bytes: bytes.length, values: new Set(bytes).size };
}

/** The host takes the link down and up and makes the disk grow. */
async function hotState(net: Net, blk: Blk): Promise<Pick<Findings, "link" | "grown">> {
  const link: boolean[] = [];
  const done = Promise.withResolvers<number>();
  let grown = 0;
  const look = (): void => {
    if (link.length === 2 && grown > 0) done.resolve(grown);
  };
  net.addEventListener("link", () => {
    link.push(net.linkUp);
    console.log(`link ${net.linkUp}`);
    look();
  });
  blk.onCapacityChange = (sectors) => {
    grown = sectors;
    look();
  };
  const timer = setTimeout(() => done.reject(new Error("No config change came")), DEADLINE);
  console.log("ready");
  try {
    return { grown: await done.promise, link };
  } finally {
    clearTimeout(timer);
  }
}
