import { P9Errno, p9ErrnoName, VireoError, type VireoErrorCode } from "@vireo/hal";

const CODES: Readonly<Record<number, VireoErrorCode>> = {
  [P9Errno.EIO]: "IO_ERROR",
  [P9Errno.EROFS]: "READ_ONLY",
  [P9Errno.ENOSYS]: "UNSUPPORTED",
  [P9Errno.EOPNOTSUPP]: "UNSUPPORTED",
};

/**
 * A server refused a request: `READ_ONLY`, `IO_ERROR`, `UNSUPPORTED`, or `COMMAND_REFUSED` for all
 * other reasons, which {@linkcode P9Error.errnoName} tells.
 *
 * @example
 * ```ts
 * import { P9Error } from "@vireo/drivers/p9";
 * import { P9Errno } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const error = new P9Error("9P server refuses Tlopen", P9Errno.EROFS);
 * assertEquals([error.code, error.errnoName], ["READ_ONLY", "EROFS"]);
 * ```
 */
export class P9Error extends VireoError {
  /** Linux's error number. */
  readonly errno: number;

  /** Makes the error of an Rlerror. */
  constructor(what: string, errno: number, device?: string) {
    super(CODES[errno] ?? "COMMAND_REFUSED", what, { device, seen: p9ErrnoName(errno) });
    this.name = "P9Error";
    this.errno = errno;
  }

  /** The error number's name: `ENOENT`. */
  get errnoName(): string {
    return p9ErrnoName(this.errno);
  }
}
