import {
  P9_ATTRIBUTES,
  P9_GETATTR_BASIC,
  P9_MODE_KIND,
  P9_NO_ID,
  P9Mode,
  P9SetAttribute,
  P9Type,
} from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import type { P9Handler } from "./_call.ts";
import { type P9Qid, type P9Reader, P9Writer } from "./_message.ts";
import type { P9Session } from "./_session.ts";

/** Kinds of files. */
export type P9Kind = "file" | "directory" | "symlink" | "other";

/** The number of a device file. */
export interface P9DeviceNumber {
  /** Kind of the device, 0 to 4095. */
  readonly major: number;
  /** Which of that kind, 0 to 1048575. */
  readonly minor: number;
}

/** Attributes of a file, as the server reports them. */
export interface P9Stat {
  /** Kind and number of the file on the server. */
  readonly kind: P9Kind;
  /** Names it on the server. */
  readonly qid: P9Qid;
  /** Permissions: the mode's low 12 bits. */
  readonly mode: number;
  /** Whose it is. */
  readonly uid: number;
  /** Whose group's it is. */
  readonly gid: number;
  /** Hard links. */
  readonly links: number;
  /** The device that a device file stands for; zeroes for other files. */
  readonly device: P9DeviceNumber;
  /** Bytes. */
  readonly size: number;
  /** Blocks of 512 bytes that it takes. */
  readonly blocks: number;
  /** When it was last read. */
  readonly atime: Date;
  /** When its contents last changed. */
  readonly mtime: Date;
  /** When anything of it last changed. */
  readonly ctime: Date;
}

/** Attributes to change. */
export interface P9Changes {
  /** Permissions. */
  readonly mode?: number;
  /** Whose it is: 0 to 4294967294. */
  readonly uid?: number;
  /** Whose group's it is: 0 to 4294967294. */
  readonly gid?: number;
  /** Bytes: what is beyond is cut off, what is missing reads as zeroes. */
  readonly size?: number;
  /** When it was last read. */
  readonly atime?: Date;
  /** When its contents last changed. */
  readonly mtime?: Date;
}

const MILLION = 1e6;

/** Takes the answer to Tgetattr. */
const GETATTR: P9Handler<P9Stat> = {
  take(answer) {
    answer.u64();
    const qid = answer.qid();
    const mode = answer.u32();
    const uid = answer.u32();
    const gid = answer.u32();
    const links = answer.u64();
    const device = deviceNumber(answer.u32());
    answer.u32();
    const size = answer.u64();
    answer.u64();
    const blocks = answer.u64();
    const atime = time(answer);
    const mtime = time(answer);
    const ctime = time(answer);
    const kind = kindOf(mode);
    const access = mode & 0o7777;
    return { kind, qid, mode: access, uid, gid, links, device, size, blocks, atime, mtime, ctime };
  },
};

/** Asks what a fid is. */
export function getAttributes(
  session: P9Session,
  fid: number,
  options: WaitOptions,
): Promise<P9Stat> {
  const message = P9Writer.begin(P9Type.GETATTR).u32(fid).u64(P9_GETATTR_BASIC);
  return session.ask(message, P9_ATTRIBUTES.SIZE, options, GETATTR);
}

function time(answer: P9Reader): Date {
  return new Date(answer.u64() * 1000 + answer.u64() / MILLION);
}

/** Changes a file. */
export async function setAttributes(
  session: P9Session,
  fid: number,
  changes: P9Changes,
  options: WaitOptions,
): Promise<void> {
  const { mode, uid, gid, size, atime, mtime } = changes;
  checkOwner("uid", uid);
  checkOwner("gid", gid);
  const S = P9SetAttribute;
  let valid = 0;
  if (mode !== undefined) valid |= S.MODE;
  if (uid !== undefined) valid |= S.UID;
  if (gid !== undefined) valid |= S.GID;
  if (size !== undefined) valid |= S.SIZE;
  if (atime !== undefined) valid |= S.ATIME | S.ATIME_SET;
  if (mtime !== undefined) valid |= S.MTIME | S.MTIME_SET;
  const message = P9Writer.begin(P9Type.SETATTR).u32(fid).u32(valid).u32(mode ?? 0);
  message.u32(uid ?? 0).u32(gid ?? 0).u64(size ?? 0);
  for (const time of [atime, mtime]) {
    const ms = time?.getTime() ?? 0;
    message.u64(Math.floor(ms / 1000)).u64(ms % 1000 * MILLION);
  }
  await session.call(message, 0, options);
}

function checkOwner(what: string, id: number | undefined): void {
  if (id === undefined || Number.isInteger(id) && id >= 0 && id < P9_NO_ID) return;
  throw new RangeError(`Cannot set ${what} ${id}: expected an integer from 0 to ${P9_NO_ID - 1}`);
}

/** Takes Linux's number of a device apart (`new_decode_dev`). */
function deviceNumber(word: number): P9DeviceNumber {
  return { major: word >>> 8 & 0xfff, minor: word & 0xff | word >>> 12 & 0xfff00 };
}

function kindOf(mode: number): P9Kind {
  switch (mode & P9_MODE_KIND) {
    case P9Mode.FILE:
      return "file";
    case P9Mode.DIRECTORY:
      return "directory";
    case P9Mode.SYMLINK:
      return "symlink";
    default:
      return "other";
  }
}
