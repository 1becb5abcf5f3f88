import {
  P9_ACCESS,
  P9_HEADER,
  P9_NO_FID,
  p9ErrnoName,
  P9LockFlag,
  P9LockStatus,
  P9LockType,
  P9OpenFlag,
  P9SetAttribute,
  P9Type,
  P9XattrFlag,
} from "@vireo/hal";
import { bitsOf, bytesText, nameOf, textOf } from "./names.ts";
import type { DeviceWords } from "./places.ts";

/** How a field is told: a number of so many bytes, text, names after their count, or in words; `fid` may be none. */
type Kind =
  | "2"
  | "4"
  | "8"
  | "text"
  | "names"
  | "fid"
  | "lock"
  | "errno"
  | "status"
  | "octal"
  | keyof typeof FLAGS;
/** Fields that are bits, 32 each. */
const FLAGS = { open: P9OpenFlag, set: P9SetAttribute, block: P9LockFlag, xattr: P9XattrFlag };
type Field = readonly [name: string, kind: Kind];

function message(...fields: readonly (readonly [string, Kind])[]): readonly Field[] {
  return fields;
}

const FID: Field = ["fid", "fid"];
const NAME: Field = ["", "text"];
const COUNT: Field = ["count", "4"];
const OFFSET: Field = ["offset", "8"];
const MODE: Field = ["mode", "octal"];
const GID: Field = ["gid", "fid"];
const LOCK_RANGE: readonly Field[] = [["start", "8"], ["length", "8"], ["process", "4"], [
  "client",
  "text",
]];

/** The fields of requests, up to the last that says what is asked (9P2000.L). */
const REQUESTS: Readonly<Record<number, readonly Field[]>> = {
  [P9Type.VERSION]: message(["msize", "4"], NAME),
  [P9Type.AUTH]: message(["afid", "fid"], ["user", "text"], ["tree", "text"]),
  [P9Type.ATTACH]: message(FID, ["afid", "fid"], ["user", "text"], ["tree", "text"]),
  [P9Type.FLUSH]: message(["old tag", "2"]),
  [P9Type.WALK]: message(FID, ["to fid", "fid"], ["", "names"]),
  [P9Type.LOPEN]: message(FID, ["", "open"]),
  [P9Type.LCREATE]: message(FID, NAME, ["", "open"], MODE, GID),
  [P9Type.SYMLINK]: message(FID, NAME, ["to", "text"], GID),
  [P9Type.MKNOD]: message(FID, NAME, MODE, ["major", "4"], ["minor", "4"], GID),
  [P9Type.RENAME]: message(FID, ["to fid", "fid"], NAME),
  [P9Type.READLINK]: message(FID),
  [P9Type.GETATTR]: message(FID, ["mask", "8"]),
  [P9Type.SETATTR]: message(FID, ["set", "set"], MODE, ["uid", "fid"], GID, ["size", "8"]),
  [P9Type.XATTRWALK]: message(FID, ["to fid", "fid"], NAME),
  [P9Type.XATTRCREATE]: message(FID, NAME, ["size", "8"], ["", "xattr"]),
  [P9Type.READDIR]: message(FID, OFFSET, COUNT),
  [P9Type.FSYNC]: message(FID),
  [P9Type.LOCK]: message(FID, ["", "lock"], ["", "block"], ...LOCK_RANGE),
  [P9Type.GETLOCK]: message(FID, ["", "lock"], ...LOCK_RANGE),
  [P9Type.LINK]: message(["directory fid", "fid"], FID, NAME),
  [P9Type.MKDIR]: message(FID, NAME, MODE, GID),
  [P9Type.RENAMEAT]: message(FID, NAME, ["to fid", "fid"], NAME),
  [P9Type.UNLINKAT]: message(FID, NAME, ["flags", "octal"]),
  [P9Type.READ]: message(FID, OFFSET, COUNT),
  [P9Type.WRITE]: message(FID, OFFSET, COUNT),
  [P9Type.CLUNK]: message(FID),
  [P9Type.REMOVE]: message(FID),
  [P9Type.STATFS]: message(FID),
};

/** The fields of answers, by the type of their request; data, qids and attributes are left out. */
const ANSWERS: Readonly<Record<number, readonly Field[]>> = {
  [P9Type.VERSION]: message(["msize", "4"], NAME),
  [P9Type.LERROR]: message(["", "errno"]),
  [P9Type.WALK]: message(["qids", "2"]),
  [P9Type.READ]: message(COUNT),
  [P9Type.WRITE]: message(COUNT),
  [P9Type.READDIR]: message(COUNT),
  [P9Type.XATTRWALK]: message(["size", "8"]),
  [P9Type.READLINK]: message(NAME),
  [P9Type.LOCK]: message(["", "status"]),
  [P9Type.GETLOCK]: message(["", "lock"], ...LOCK_RANGE),
};

/** Words of the 9P transport: messages of 9P2000.L, without the data of files. */
export const P9_WORDS: DeviceWords = {
  request: ({ bytes }, view) => words("T", bytes, view),
  answer: ({ bytes }, view) => words("R", bytes, view),
};

function words(letter: "T" | "R", bytes: Uint8Array, view: DataView): string | undefined {
  if (bytes.length < P9_HEADER.SIZE) return undefined;
  const type = view.getUint8(P9_HEADER.type.offset) - (letter === "R" ? 1 : 0);
  const name = nameOf(P9Type, type).toLowerCase();
  const text = `9p ${letter}${name} tag ${view.getUint16(P9_HEADER.tag.offset, true)}`;
  const fields = (letter === "T" ? REQUESTS : ANSWERS)[type];
  if (fields !== undefined) return text + tell(fields, bytes, view);
  const size = bytesText(view.getUint32(P9_HEADER.size.offset, true));
  return letter === "R" ? text : `${text} ${size}`;
}

/** The fields of a message, as far as its bytes go. */
function tell(fields: readonly Field[], bytes: Uint8Array, view: DataView): string {
  let at = P9_HEADER.SIZE;
  let text = "";
  const string = (): string | undefined => {
    if (at + 2 > bytes.length) return undefined;
    const start = at + 2;
    at = start + view.getUint16(at, true);
    return at > bytes.length ? undefined : textOf(bytes.subarray(start, at));
  };
  for (const [name, kind] of fields) {
    let value: string | undefined;
    if (kind === "text") value = string();
    else if (kind === "names") {
      const names: string[] = [];
      const count = at + 2 > bytes.length ? 0 : view.getUint16(at, true);
      at += 2;
      for (let next; names.length < count && (next = string()) !== undefined;) names.push(next);
      value = names.join("/");
    } else {
      const size = SIZES[kind] ?? 4;
      if (at + size > bytes.length) break;
      value = number(kind, size, at, view);
      at += size;
    }
    if (value === undefined) break;
    if (value !== "") text += name === "" ? ` ${value}` : ` ${name} ${value}`;
  }
  return text;
}

/** Bytes of those fields that have not four. */
const SIZES: Partial<Record<Kind, number>> = { "2": 2, "8": 8, lock: 1, status: 1 };

function number(kind: Kind, size: number, at: number, view: DataView): string {
  if (size === 8) return String(view.getBigUint64(at, true));
  const value = size === 4
    ? view.getUint32(at, true)
    : size === 2
    ? view.getUint16(at, true)
    : view.getUint8(at);
  switch (kind) {
    case "fid":
      return value === P9_NO_FID ? "none" : `${value}`;
    case "lock":
      return nameOf(P9LockType, value);
    case "status":
      return nameOf(P9LockStatus, value);
    case "errno":
      return p9ErrnoName(value);
    case "octal":
      return `0o${value.toString(8)}`;
    case "open": {
      const access = nameOf(P9OpenFlag, value & P9_ACCESS);
      const others = (value & ~P9_ACCESS) >>> 0;
      return others === 0 ? access : `${access}|${bitsOf(P9OpenFlag, others)}`;
    }
    case "set":
    case "block":
    case "xattr":
      return bitsOf(FLAGS[kind], value);
    default:
      return `${value}`;
  }
}
