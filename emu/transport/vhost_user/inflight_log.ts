import { VireoError } from "@vireo/hal";
import { INFLIGHT_SPLIT as SPLIT } from "@vireo/hal/vhost-user";
import type { InflightLog } from "../../ring/inflight.ts";

/** The version of the notes; 0 is memory that nobody wrote to. */
const VERSION = 1;

/** A log of a queue, which can say where the queue of an earlier back end stood. */
export interface RecoverableLog<P> extends InflightLog {
  /**
   * Says where the queue goes on: what was in flight is taken again.
   *
   * @param position Where it goes on if nobody wrote notes yet.
   * @throws {VireoError} `BAD_MESSAGE` If the notes contradict themselves, the ring or the memory.
   */
  recover(position: P): P;
}

/** A part of the memory by words of each width. */
export interface Views {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
}

/** Views of a part of a buffer. */
export function views(buffer: ArrayBuffer, offset: number, bytes: number): Views {
  return {
    u8: new Uint8Array(buffer, offset, bytes),
    u16: new Uint16Array(buffer, offset, bytes / 2),
    u32: new Uint32Array(buffer, offset, bytes / 4),
  };
}

/** Writes a count of 64 bits. */
export function writeCount({ u32 }: Views, at: number, value: number): void {
  u32[at / 4] = value >>> 0;
  u32[at / 4 + 1] = Math.floor(value / 0x1_0000_0000);
}

/** Reads a count of 64 bits. */
export function readCount({ u32 }: Views, at: number): number {
  const value = u32[at / 4]! + u32[at / 4 + 1]! * 0x1_0000_0000;
  if (Number.isSafeInteger(value)) return value;
  throw wrong(`a request with the number ${value}`);
}

/** The error for notes that cannot be. @param seen What they have. */
export function wrong(seen: string): VireoError {
  return new VireoError("BAD_MESSAGE", "Cannot go on by the notes of an earlier back end", {
    seen,
    expected: "requests of this queue",
  });
}

/** Reads the header's version and size; false if nobody wrote notes yet. */
export function written({ u16 }: Views, size: number): boolean {
  const version = u16[SPLIT.version.offset / 2]!;
  if (version === 0) return false;
  const count = u16[SPLIT.desc_num.offset / 2]!;
  if (version !== VERSION) throw wrong(`version ${version}`);
  if (count !== size) throw wrong(`a queue of ${count} in place of ${size} descriptors`);
  return true;
}

/** Writes the header's version and size. */
export function writeHeader({ u16 }: Views, size: number): void {
  u16[SPLIT.desc_num.offset / 2] = size;
  u16[SPLIT.version.offset / 2] = VERSION;
}
