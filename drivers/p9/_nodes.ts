import { P9_MAX_XATTR, P9Mode, P9Type, P9XattrFlag } from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import { P9Writer } from "./_message.ts";
import type { P9Session } from "./_session.ts";
import { P9File } from "./file.ts";

/** A device file, a pipe or a socket to make. */
export interface P9NodeOptions extends WaitOptions {
  /** Its kind. */
  readonly kind: "character" | "block" | "fifo" | "socket";
  /** Permissions; 0o644 by default. */
  readonly mode?: number;
  /** Kind of the device, 0 to 4095; 0 by default. */
  readonly major?: number;
  /** Which of that kind, 0 to 1048575; 0 by default. */
  readonly minor?: number;
}

/** How to set an extended attribute. */
export interface P9XattrOptions extends WaitOptions {
  /** `create` if the file must not have it yet, `replace` if it must; either by default. */
  readonly must?: "create" | "replace" | undefined;
}

const KINDS = {
  character: P9Mode.CHARACTER,
  block: P9Mode.BLOCK,
  fifo: P9Mode.FIFO,
  socket: P9Mode.SOCKET,
} as const;
const MODE = 0o644;
const MAX_MAJOR = 0xfff;
const MAX_MINOR = 0xfffff;

/** Checks a file to make, and returns the fields of Tmknod. @throws {RangeError} If a number is out of its range. */
export function checkNode(
  { kind, mode = MODE, major = 0, minor = 0 }: P9NodeOptions,
): { readonly mode: number; readonly major: number; readonly minor: number } {
  if (!Object.hasOwn(KINDS, kind)) {
    throw new TypeError(
      `Cannot make a file of kind '${kind}': expected ${Object.keys(KINDS).join(", ")}`,
    );
  }
  const numbers = [["major", major, MAX_MAJOR], ["minor", minor, MAX_MINOR]] as const;
  for (const [what, value, most] of numbers) {
    if (Number.isInteger(value) && value >= 0 && value <= most) continue;
    throw new RangeError(
      `Cannot make a device file of ${what} number ${value}: expected 0 to ${most}`,
    );
  }
  return { mode: KINDS[kind] | mode & 0o7777, major, minor };
}

/** @throws {RangeError} If an extended attribute cannot have so many bytes. */
export function checkXattr(length: number): void {
  if (length >= 1 && length <= P9_MAX_XATTR) return;
  throw new RangeError(
    `Cannot set an extended attribute of ${length} bytes: expected 1 to ${P9_MAX_XATTR}`,
  );
}

/** Reads an extended attribute of a fid; the list of their names if the name is empty. */
export async function readXattr(
  session: P9Session,
  fid: number,
  name: string,
  options: WaitOptions,
): Promise<Uint8Array> {
  const own = session.takeFid();
  const message = P9Writer.begin(P9Type.XATTRWALK).u32(fid).u32(own).text(name);
  const answer = await session.call(message, 8, options, {
    // One that was given up may have got the fid after all.
    onFailed: (late) => late === undefined ? session.giveFid(own) : session.forget(own),
  });
  try {
    const size = answer.u64();
    if (size > P9_MAX_XATTR) {
      throw session.error("BAD_LENGTH", "9P server has too long an extended attribute", size);
    }
    return await new P9File(session, own, 0).read(0, size, options);
  } finally {
    session.forget(own);
  }
}

/** Writes an extended attribute by a fid of its file, which goes with it; no bytes remove it. */
export async function writeXattr(
  session: P9Session,
  fid: number,
  attribute: {
    readonly name: string;
    readonly value: Uint8Array;
    readonly must?: "create" | "replace" | undefined;
  },
  options: WaitOptions,
): Promise<void> {
  const { name, value, must } = attribute;
  const flags = must === undefined
    ? 0
    : must === "create"
    ? P9XattrFlag.CREATE
    : P9XattrFlag.REPLACE;
  try {
    const message = P9Writer.begin(P9Type.XATTRCREATE).u32(fid).text(name);
    await session.call(message.u64(value.length).u32(flags), 0, options);
    // One part after the other: the server takes them in order only.
    const file = new P9File(session, fid, 0);
    for (let at = 0; at < value.length; at += file.chunk) {
      await file.write(at, value.subarray(at, at + file.chunk), options);
    }
  } catch (error) {
    session.forget(fid);
    throw error;
  }
  // Only now the server sets it, and says what is wrong with it.
  await session.clunk(fid, options);
}
