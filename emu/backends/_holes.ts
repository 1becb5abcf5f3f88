const SYMBOLS = {
  fallocate64: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
} as const;
/** Linux include/uapi/linux/falloc.h: KEEP_SIZE and PUNCH_HOLE. */
const PUNCH_HOLE = 0x01 | 0x02;

/** Makes holes in files through the C library, for which the runtime has no call. */
export class Holes implements Disposable {
  #library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;
  #able = true;

  /**
   * Makes a range of a file a hole: it reads as zeroes and takes no room.
   *
   * @param fd The file's descriptor.
   * @returns Whether it is one now; not where the host, the file system or Deno's rights forbid it.
   */
  punch(fd: number, offset: number, length: number): boolean {
    if (length === 0) return true;
    if (!this.#able) return false;
    try {
      this.#library ??= Deno.dlopen("libc.so.6", SYMBOLS);
    } catch {
      // No such library, or no --allow-ffi.
      this.#able = false;
      return false;
    }
    const { fallocate64 } = this.#library.symbols;
    this.#able = fallocate64(fd, PUNCH_HOLE, BigInt(offset), BigInt(length)) === 0;
    return this.#able;
  }

  /** Gives the library back. */
  [Symbol.dispose](): void {
    this.#library?.close();
    this.#library = undefined;
    this.#able = false;
  }
}
