import {
  P9_MODE_KIND,
  P9EntryType,
  P9Errno,
  type P9MessageWriter,
  P9Mode,
  P9QidType,
} from "@vireo/hal";
import { type P9Attributes, type P9Path, P9Refusal } from "./export.ts";

/** Deepest place that a fid may be at. */
const MAX_DEPTH = 256;

/** Appends a file's qid. */
export function writeQid(out: P9MessageWriter, { mode, path }: P9Attributes): P9MessageWriter {
  const kind = mode & P9_MODE_KIND;
  const type = kind === P9Mode.DIRECTORY
    ? P9QidType.DIRECTORY
    : kind === P9Mode.SYMLINK
    ? P9QidType.SYMLINK
    : P9QidType.FILE;
  return out.u8(type).u32(0).u64(path);
}

/** A place in a directory. @throws {P9Refusal} If it is too deep. */
export function child(path: P9Path, name: string): P9Path {
  if (path.length >= MAX_DEPTH) throw new P9Refusal(P9Errno.ENAMETOOLONG);
  return [...path, name];
}

/** Whether it is a directory. */
export function isDirectory({ mode }: P9Attributes): boolean {
  return (mode & P9_MODE_KIND) === P9Mode.DIRECTORY;
}

/** An entry of a directory. */
export function entryType({ mode }: P9Attributes): P9EntryType {
  const kind = mode & P9_MODE_KIND;
  if (kind === P9Mode.DIRECTORY) return P9EntryType.DIRECTORY;
  if (kind === P9Mode.SYMLINK) return P9EntryType.SYMLINK;
  return kind === P9Mode.FILE ? P9EntryType.FILE : P9EntryType.UNKNOWN;
}
