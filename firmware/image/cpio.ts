/** File types of a cpio archive's mode field. */
const TYPE = { FILE: 0o100000, DIRECTORY: 0o040000, LINK: 0o120000, CHARACTER: 0o020000 } as const;

/** An entry of a cpio archive; the initramfs of Linux takes its `newc` form. */
export type CpioEntry =
  | { readonly kind: "directory"; readonly path: string }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  | {
    readonly kind: "file";
    readonly path: string;
    /** The contents. */
    readonly data: Uint8Array;
    /** Whether it may be executed. */
    readonly executable?: boolean;
  }
  | {
    readonly kind: "character";
    readonly path: string;
    readonly major: number;
    readonly minor: number;
  };

/**
 * Writes a cpio archive in the `newc` form of Linux's initramfs (early-userspace/buffer-format.rst).
 *
 * Parent directories are added; times are 0 and the owner is root, so that the same entries make
 * the same bytes. Archives may be put one after the other: Linux unpacks them in order.
 *
 * @param entries What goes in, with paths from the root and no leading `/`.
 * @returns The archive in pieces, so that large files are not copied.
 * @throws {RangeError} If a path is empty, absolute or has `..` in it.
 *
 * @example
 * ```ts
 * import { cpio } from "@vireo/firmware/image";
 * import { assertEquals } from "@std/assert";
 *
 * const data = new TextEncoder().encode("hello");
 * const [first] = cpio([{ kind: "file", path: "etc/motd", data }]);
 * // The header of an entry begins with a magic number; the folders come first.
 * assertEquals(new TextDecoder().decode(first!.subarray(0, 6)), "070701");
 * ```
 */
export function cpio(entries: readonly CpioEntry[]): Uint8Array[] {
  const out: Uint8Array[] = [];
  const seen = new Set<string>();
  let inode = 0;
  const add = (entry: CpioEntry): void => {
    const data = entry.kind === "file"
      ? entry.data
      : new TextEncoder().encode(entry.kind === "link" ? entry.target : "");
    const device: [number, number] = entry.kind === "character"
      ? [entry.major, entry.minor]
      : [0, 0];
    out.push(header(entry.path, ++inode, mode(entry), data.length, device), data);
    if (data.length % 4 !== 0) out.push(new Uint8Array(4 - data.length % 4));
  };
  for (const entry of entries) {
    checkPath(entry.path);
    const parts = entry.path.split("/");
    for (let n = 1; n < parts.length; n++) {
      const path = parts.slice(0, n).join("/");
      if (seen.has(path)) continue;
      seen.add(path);
      add({ kind: "directory", path });
    }
    if (entry.kind === "directory" && seen.has(entry.path)) continue;
    seen.add(entry.path);
    add(entry);
  }
  out.push(header("TRAILER!!!", 0, 0, 0, [0, 0]));
  return out;
}

function mode(entry: CpioEntry): number {
  switch (entry.kind) {
    case "directory":
      return TYPE.DIRECTORY | 0o755;
    case "link":
      return TYPE.LINK | 0o777;
    case "character":
      return TYPE.CHARACTER | 0o600;
    case "file":
      return TYPE.FILE | (entry.executable === true ? 0o755 : 0o644);
  }
}

/** The magic, 13 words of 8 hex digits, the name and its NUL, padded to a multiple of 4. */
function header(
  path: string,
  inode: number,
  mode: number,
  size: number,
  [major, minor]: [number, number],
): Uint8Array {
  const name = new TextEncoder().encode(`${path}\0`);
  const links = mode === 0 ? 0 : 1;
  const words = [inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name.length, 0];
  const head = "070701" + words.map((word) => word.toString(16).padStart(8, "0")).join("");
  const bytes = new Uint8Array(Math.ceil((head.length + name.length) / 4) * 4);
  bytes.set(new TextEncoder().encode(head));
  bytes.set(name, head.length);
  return bytes;
}

function checkPath(path: string): void {
  if (path === "" || path.startsWith("/") || path.split("/").includes("..")) {
    throw new RangeError(`Cannot archive '${path}': the path must lie below the root`);
  }
}
