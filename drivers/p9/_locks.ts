import { P9_MAX_NAME, P9LockStatus, P9LockType, P9Type } from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import { P9Writer } from "./_message.ts";
import type { P9Session } from "./_session.ts";

/** A lock of a range of a file, as POSIX has them: it hinders other owners that ask for it, and nobody else. */
export interface P9Lock {
  /** `read` may be shared, `write` not; `none` gives the range back. */
  readonly type: "read" | "write" | "none";
  /** First byte; 0 by default. */
  readonly start?: number;
  /** Bytes; 0, which is the default, means to the end, wherever that will be. */
  readonly length?: number;
  /** The owner within this client, as a process is one; 0 by default. */
  readonly owner?: number;
  /** This client's name among the server's clients; `vireo` by default. */
  readonly client?: string;
}

/** The server's word: `blocked` if another owner has it, `grace` if it takes none yet after a restart. */
export type P9LockResult = "success" | "blocked" | "error" | "grace";

const TYPES = { read: P9LockType.READ, write: P9LockType.WRITE, none: P9LockType.UNLOCK } as const;
const CLIENT = "vireo";

/** Asks for a lock, or gives it back. */
export async function lock(
  session: P9Session,
  fid: number,
  wanted: P9Lock,
  options: WaitOptions,
): Promise<P9LockResult> {
  const message = P9Writer.begin(P9Type.LOCK).u32(fid).u8(TYPES[wanted.type]).u32(0);
  const status = (await session.call(range(message, wanted), 1, options)).u8();
  switch (status) {
    case P9LockStatus.SUCCESS:
      return "success";
    case P9LockStatus.BLOCKED:
      return "blocked";
    case P9LockStatus.ERROR:
      return "error";
    case P9LockStatus.GRACE:
      return "grace";
    default:
      throw session.error("BAD_STATUS", "9P server answers Tlock with a word that is none", status);
  }
}

/** Asks whether a lock could be had: the one that is in its way, or undefined. */
export async function getLock(
  session: P9Session,
  fid: number,
  wanted: P9Lock,
  options: WaitOptions,
): Promise<Required<P9Lock> | undefined> {
  const message = P9Writer.begin(P9Type.GETLOCK).u32(fid).u8(TYPES[wanted.type]);
  const room = 1 + 8 + 8 + 4 + 2 + P9_MAX_NAME;
  const answer = await session.call(range(message, wanted), room, options);
  const type = answer.u8();
  if (type > P9LockType.UNLOCK) {
    throw session.error("BAD_STATUS", "9P server answers Tgetlock with no kind of lock", type);
  }
  if (type === P9LockType.UNLOCK) return undefined;
  const [start, length, owner] = [answer.u64(), answer.u64(), answer.u32()];
  const client = answer.text();
  return { type: type === P9LockType.READ ? "read" : "write", start, length, owner, client };
}

/** @throws {RangeError} If a number is out of its range. */
function range(message: P9Writer, wanted: P9Lock): P9Writer {
  const { start = 0, length = 0, owner = 0, client = CLIENT } = wanted;
  if (!Number.isSafeInteger(start) || start < 0 || !Number.isSafeInteger(length) || length < 0) {
    throw new RangeError(
      `Cannot lock ${length} bytes at offset ${start}: expected integers from 0 to 2^53-1`,
    );
  }
  if (!Number.isInteger(owner) || owner < 0 || owner > 0xffffffff) {
    throw new RangeError(`Cannot lock for owner ${owner}: expected 0 to ${0xffffffff}`);
  }
  return message.u64(start).u64(length).u32(owner).text(client);
}
