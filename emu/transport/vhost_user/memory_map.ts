import { alignUp, hex, RegionAllocator, VireoError } from "@vireo/hal";
import type { Libc, Mapping } from "@vireo/hal/vhost-user";
import { GuestMemory, type MemoryRegion } from "../../memory.ts";

const PAGE = 4096;
/** Places in the range are multiples of this if a region is as long: its file may have huge pages. */
const HUGE_PAGE = 2 * 1024 * 1024;
/** Regions of earlier tables that stay mapped at most. */
const MAX_STALE = 64;
/** Addresses that are taken unless told otherwise, in bytes: they cost no memory. */
const DEFAULT_CAPACITY = 2 ** 38;

/** A region of guest memory, as a front end describes it. */
export interface FrontEndRegion {
  /** Guest address of the first byte. */
  readonly guest: number;
  /** Bytes. */
  readonly size: number;
  /** Address of the first byte in the front end's process. */
  readonly user: number;
  /** Where it is in the file. */
  readonly offset: number;
  /** The file; it stays the caller's to close. */
  readonly fd: number;
}

interface Mapped {
  readonly region: Omit<FrontEndRegion, "fd">;
  /** Device and inode of the file. */
  readonly file: string;
  /** Where it is in the range. */
  readonly place: number;
}

/**
 * The guest memory of a front end, mapped: its regions lie in one range of addresses that stays as long as
 * the device, so that running queues and chains outlive a change of the table. Where a region was, there
 * are zeroes afterwards.
 *
 * A front end that cuts its own file short while it is mapped ends this process when the lost pages are
 * touched, as it does any back end; QEMU's `memory-backend-memfd` cannot.
 */
export class MemoryMap implements Disposable {
  /** Memory that queues read and write. */
  readonly memory: GuestMemory;
  readonly #libc: Libc;
  readonly #range: Mapping;
  readonly #places: RegionAllocator;
  #mapped: Mapped[] = [];
  /** Regions of earlier tables, the oldest first, that queues may still look at. */
  #stale: Mapped[] = [];

  /**
   * Takes the range.
   *
   * @param capacity The most bytes of all regions; 2^38 by default.
   * @throws {VireoError} `HOST_ERROR` If the host has no such range.
   */
  constructor(libc: Libc, capacity: number = DEFAULT_CAPACITY) {
    this.#libc = libc;
    this.#range = libc.reserve(capacity, HUGE_PAGE);
    this.#places = new RegionAllocator(0, capacity);
    this.memory = new GuestMemory(this.#range.buffer, 0);
    this.memory.setRegions([]);
  }

  /** Regions that are mapped now. */
  get count(): number {
    return this.#mapped.length;
  }

  /**
   * Takes a table in place of the one before; regions that are in both stay where they are. The others
   * stay mapped, without an address, until {@linkcode MemoryMap.release}: a region that was only cut
   * otherwise is the same memory, and queues run on in it.
   *
   * @throws {VireoError} `BAD_MESSAGE` If a region cannot be; nothing has changed then.
   */
  setTable(regions: readonly FrontEndRegion[]): void {
    const old = [...this.#mapped];
    const fresh = regions.map((region) => {
      check(region, this.#libc.fileSize(region.fd));
      const file = fileOf(region.fd);
      const at = old.findIndex((mapped) => mapped.file === file && same(mapped.region, region));
      return at < 0 ? { region, file } : old.splice(at, 1)[0]!;
    });
    checkApart(regions);
    const made: Mapped[] = [];
    try {
      // The largest is first in the range, where its addresses take the least to translate.
      const bySize = [...fresh].sort((a, b) => b.region.size - a.region.size);
      for (const entry of bySize) {
        if (!("place" in entry)) made.push(this.#map(entry.region as FrontEndRegion, entry.file));
      }
    } catch (error) {
      for (const mapped of made) this.#unmap(mapped);
      throw error;
    }
    const kept = fresh.filter((entry): entry is Mapped => "place" in entry);
    this.#mapped = [...kept, ...made];
    this.#publish();
    this.#stale.push(...old);
    while (this.#stale.length > MAX_STALE) this.#unmap(this.#stale.shift()!);
  }

  /** Lets go of what earlier tables had; no queue runs. */
  release(): void {
    for (const mapped of this.#stale.splice(0)) this.#unmap(mapped);
  }

  /** Adds a region. @throws {VireoError} `BAD_MESSAGE` If it cannot be. */
  add(region: FrontEndRegion): void {
    check(region, this.#libc.fileSize(region.fd));
    checkApart([...this.#mapped.map((mapped) => mapped.region), region]);
    this.#mapped.push(this.#map(region, fileOf(region.fd)));
    this.#publish();
  }

  /** Removes a region. @throws {VireoError} `BAD_MESSAGE` If there is none like this. */
  remove(region: Omit<FrontEndRegion, "fd">): void {
    const at = this.#mapped.findIndex(({ region: own }) =>
      own.guest === region.guest && own.size === region.size && own.user === region.user
    );
    if (at < 0) {
      throw wrong("Cannot remove a region", region.guest, "a region that was added");
    }
    const [mapped] = this.#mapped.splice(at, 1);
    this.#publish();
    this.#unmap(mapped!);
  }

  /** Forgets all regions. */
  clear(): void {
    const old = this.#mapped;
    this.#mapped = [];
    this.#publish();
    for (const mapped of old) this.#unmap(mapped);
    this.release();
  }

  /** The guest address of an address of the front end's process; undefined if it is not guest memory. */
  toGuest(user: number): number | undefined {
    for (const { region } of this.#mapped) {
      const into = user - region.user;
      if (into >= 0 && into < region.size) return region.guest + into;
    }
    return undefined;
  }

  /** Gives the range back. */
  [Symbol.dispose](): void {
    this.#mapped = [];
    this.memory.setRegions([]);
    this.#libc.unmap(this.#range);
  }

  #map(region: FrontEndRegion, file: string): Mapped {
    const align = region.size >= HUGE_PAGE ? HUGE_PAGE : PAGE;
    const place = this.#places.alloc(alignUp(region.size, align), align);
    try {
      this.#libc.mapAt(this.#range, place, region.size, region.fd, region.offset);
    } catch (error) {
      this.#places.free(place);
      throw error;
    }
    const { guest, size, user, offset } = region;
    return { region: { guest, size, user, offset }, file, place };
  }

  #unmap({ place, region }: Mapped): void {
    this.#libc.clearAt(this.#range, place, region.size);
    this.#places.free(place);
  }

  #publish(): void {
    this.memory.setRegions(this.#mapped.map(({ place, region }): MemoryRegion => ({
      address: region.guest,
      size: region.size,
      offset: place,
    })));
  }
}

function fileOf(fd: number): string {
  const { dev, ino } = Deno.statSync(`/proc/self/fd/${fd}`);
  return `${dev}:${ino}`;
}

function same(a: Omit<FrontEndRegion, "fd">, b: FrontEndRegion): boolean {
  return a.guest === b.guest && a.size === b.size && a.user === b.user && a.offset === b.offset;
}

function check({ guest, size, user, offset }: FrontEndRegion, fileSize: number): void {
  for (const value of [guest, size, offset]) {
    if (value % PAGE !== 0) throw wrong("Cannot map a region", value, "multiples of a page");
  }
  if (size === 0) throw wrong("Cannot map a region", size, "at least a page");
  for (const start of [guest, user, offset]) {
    if (!Number.isSafeInteger(start + size)) {
      throw wrong("Cannot map a region", start, "addresses up to 2^53-1");
    }
  }
  if (offset + size > fileSize) {
    throw new VireoError("BAD_MESSAGE", "Cannot map a region past the end of its file", {
      seen: `bytes ${offset} to ${offset + size}`,
      expected: `at most ${fileSize}`,
    });
  }
}

function checkApart(regions: readonly Omit<FrontEndRegion, "fd">[]): void {
  const apart = (a: number, b: number, aSize: number, bSize: number): boolean =>
    a + aSize <= b || b + bSize <= a;
  for (const [i, a] of regions.entries()) {
    for (const b of regions.slice(i + 1)) {
      if (apart(a.guest, b.guest, a.size, b.size) && apart(a.user, b.user, a.size, b.size)) {
        continue;
      }
      throw wrong("Cannot map regions that overlap", b.guest, "regions apart from each other");
    }
  }
}

function wrong(what: string, seen: number, expected: string): VireoError {
  return new VireoError("BAD_MESSAGE", what, { seen: hex(seen), expected });
}
