import { GPU_CURSOR_SIZE } from "@vireo/hal";
import type { ModelUsage } from "../../device.ts";
import type { WorkMeter } from "../../work.ts";
import { Backing } from "./_backing.ts";
import type { Rectangle } from "./_picture.ts";
import type { Picture } from "./png.ts";

/** Most pictures and blobs. */
const MAX_RESOURCES = 4096;
/** Bytes that a picture, and a piece of its memory, count for besides its pixels. */
const RESOURCE_COST = 512;
const ENTRY_COST = 16;
/** Bytes of a pointer's image. */
const CURSOR_BYTES = GPU_CURSOR_SIZE * GPU_CURSOR_SIZE * 4;

/** A picture, or a blob of the guest's memory that is one while a display shows it. */
export interface Resource {
  width: number;
  height: number;
  format: number;
  pixels: Uint8Array;
  /** Of one that is read from the guest's memory: its bytes, and where its rows are. */
  blob?: { readonly size: number; stride: number; offset: number };
  backing: Backing | undefined;
  /** The name that other devices may know it by, once it was asked for. */
  uuid?: readonly number[];
}

interface SavedResource {
  readonly id: number;
  readonly width: number;
  readonly height: number;
  readonly format: number;
  readonly pixels: Uint8Array;
  readonly blob: NonNullable<Resource["blob"]> | null;
  readonly backing: readonly (readonly [address: number, length: number])[] | null;
  readonly uuid?: readonly number[];
}

/** A display, and its pointer. */
interface Display {
  width: number;
  height: number;
  /** The part of a picture that it shows. */
  shows: { readonly id: number; readonly part: Rectangle } | undefined;
  /** The pixels that were flushed to it. */
  picture: Picture | undefined;
  cursor: { id: number; x: number; y: number; image: Uint8Array | undefined };
}

/** The state as plain data. */
export interface SavedState {
  readonly resources: readonly SavedResource[];
  readonly displays: readonly {
    readonly width: number;
    readonly height: number;
    readonly shows: Display["shows"] | null;
    readonly picture: Picture | null;
    readonly cursor: Omit<Display["cursor"], "image"> & { readonly image: Uint8Array | null };
  }[];
}

const blank = (): Pick<Display, "shows" | "picture" | "cursor"> => ({
  shows: undefined,
  picture: undefined,
  cursor: { id: 0, x: 0, y: 0, image: undefined },
});

/** Everything that a driver makes of a GPU: pictures, their memory, and what displays show, counted to a limit. */
export class GpuState {
  /** The displays. */
  readonly displays: readonly Display[];
  /** Pictures and blobs by their ids. */
  readonly resources: Map<number, Resource> = new Map();
  readonly #limit: number;
  #used = 0;

  /** @param limit Most bytes of everything together. */
  constructor(
    sizes: readonly { readonly width: number; readonly height: number }[],
    limit: number,
  ) {
    this.displays = sizes.map((size) => ({ ...size, ...blank() }));
    this.#limit = limit;
  }

  /** The most pictures, and bytes. */
  get bounds(): ModelUsage {
    return { items: MAX_RESOURCES, bytes: this.#limit + this.displays.length * CURSOR_BYTES };
  }

  /** Pictures, and bytes. */
  usage(): ModelUsage {
    const cursors = this.displays.filter(({ cursor }) => cursor.image !== undefined).length;
    return { items: this.resources.size, bytes: this.#used + cursors * CURSOR_BYTES };
  }

  /** Forgets everything. */
  reset(): void {
    this.resources.clear();
    this.#used = 0;
    for (const display of this.displays) Object.assign(display, blank());
  }

  /** Counts bytes, which are negative when they are given back; false if there is no room for them. */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.#limit) return false;
    this.#used += bytes;
    return true;
  }

  /** Counts a new picture with its pixels and the list of its memory; false if there is no room for it. */
  reserve(pixels: number, entries = 0): boolean {
    if (this.resources.size >= MAX_RESOURCES) return false;
    return this.take(RESOURCE_COST + pixels + entries * ENTRY_COST);
  }

  /** Gives a picture its memory, or takes it away; false if there is no room for the list. */
  setBacking(resource: Resource, backing: Backing | undefined): boolean {
    const more = (backing?.count ?? 0) - (resource.backing?.count ?? 0);
    if (!this.take(more * ENTRY_COST)) return false;
    resource.backing = backing;
    return true;
  }

  /** Gives a display a picture of its own to show, or none; false if there is no room for it. */
  setPicture(display: Display, shows: Display["shows"], work: WorkMeter): boolean {
    const { width, height } = shows?.part ?? { width: 0, height: 0 };
    const size = width * height * 4;
    if (!this.take(size - (display.picture?.rgba.length ?? 0))) return false;
    work.spend(0, size);
    display.shows = shows;
    display.picture = shows && { width, height, rgba: new Uint8Array(size) };
    return true;
  }

  /** Forgets a picture, and takes it off the displays; false if there is none. */
  remove(id: number, work: WorkMeter): boolean {
    const resource = this.resources.get(id);
    if (resource === undefined) return false;
    this.setBacking(resource, undefined);
    this.take(-resource.pixels.length - RESOURCE_COST);
    this.resources.delete(id);
    for (const display of this.displays) {
      if (display.shows?.id === id) this.setPicture(display, undefined, work);
    }
    return true;
  }

  /** Pictures and displays. */
  snapshot(): SavedState {
    const resources = [...this.resources].map(([id, { backing, blob, pixels, ...shape }]) => ({
      id,
      ...shape,
      pixels: pixels.slice(),
      blob: blob ?? null,
      backing: backing?.entries() ?? null,
    }));
    const displays = this.displays.map(({ shows, picture, cursor, ...size }) => ({
      ...size,
      shows: shows ?? null,
      picture: picture === undefined ? null : { ...picture, rgba: picture.rgba.slice() },
      cursor: { ...cursor, image: cursor.image?.slice() ?? null },
    }));
    return { resources, displays };
  }

  /** Takes the state back. @throws {RangeError} If it has other displays, or more than there is memory for. */
  restore({ resources, displays }: SavedState): void {
    if (displays.length !== this.displays.length) {
      throw new RangeError(
        `Cannot restore ${displays.length} displays: the GPU has ${this.displays.length}`,
      );
    }
    this.#used = 0;
    this.resources.clear();
    for (const { id, backing, blob, pixels, ...shape } of resources) {
      const list = backing === null ? undefined : new Backing(backing);
      this.#used += RESOURCE_COST + pixels.length + (list?.count ?? 0) * ENTRY_COST;
      this.resources.set(id, {
        ...shape,
        pixels: pixels.slice(),
        backing: list,
        ...blob === null ? {} : { blob: { ...blob } },
      });
    }
    displays.forEach(({ shows, picture, cursor, ...size }, i) => {
      this.#used += picture?.rgba.length ?? 0;
      Object.assign(this.displays[i]!, size, {
        shows: shows ?? undefined,
        picture: picture === null ? undefined : { ...picture, rgba: picture.rgba.slice() },
        cursor: { ...cursor, image: cursor.image?.slice() },
      });
    });
    if (this.#used > this.#limit) {
      throw new RangeError(
        `Cannot restore ${this.#used} bytes of pictures: the GPU has ${this.#limit}`,
      );
    }
  }
}
