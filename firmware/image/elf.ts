import { VireoError } from "@vireo/hal";

/** Loader and libraries that a dynamically linked program asks for. */
interface ElfNeeds {
  /** The machine it is for, as Linux names it. */
  readonly machine: "x86_64" | "aarch64";
  /** Path of the dynamic loader, if it has one. */
  readonly interpreter: string | undefined;
  /** Names of the shared libraries, as `DT_NEEDED` lists them. */
  readonly libraries: readonly string[];
}

const PT = { LOAD: 1, DYNAMIC: 2, INTERP: 3 } as const;
const DT = { NULL: 0, NEEDED: 1, STRTAB: 5 } as const;
const MACHINES: Readonly<Record<number, ElfNeeds["machine"]>> = { 62: "x86_64", 183: "aarch64" };

/**
 * Reads which loader and libraries a 64-bit little-endian ELF file needs.
 *
 * @param file The file, whole.
 * @param name Its name, for messages.
 * @throws {VireoError} `HOST_ERROR` If it is not such a file for x86_64 or aarch64.
 */
export function elfNeeds(file: Uint8Array, name: string): ElfNeeds {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const bad = (what: string): VireoError => new VireoError("HOST_ERROR", what, { device: name });
  if (file.length < 64 || view.getUint32(0) !== 0x7f454c46 || view.getUint16(4) !== 0x0201) {
    throw bad("The file is not a 64-bit little-endian ELF program");
  }
  const machine = MACHINES[view.getUint16(18, true)];
  if (machine === undefined) throw bad("The program is for another machine");
  const u64 = (offset: number): number => Number(view.getBigUint64(offset, true));
  const text = (offset: number): string => {
    let end = offset;
    while (file[end] !== 0 && end < file.length) end++;
    return new TextDecoder().decode(file.subarray(offset, end));
  };
  const segments = Array.from({ length: view.getUint16(56, true) }, (_, i) => {
    const at = u64(32) + i * view.getUint16(54, true);
    return {
      type: view.getUint32(at, true),
      offset: u64(at + 8),
      address: u64(at + 16),
      size: u64(at + 32),
    };
  });
  const interp = segments.find((segment) => segment.type === PT.INTERP);
  const dynamic = segments.find((segment) => segment.type === PT.DYNAMIC);
  const needed: number[] = [];
  let strings = 0;
  for (let entry = 0; entry < (dynamic?.size ?? 0) / 16; entry++) {
    const at = (dynamic?.offset ?? 0) + entry * 16;
    const tag = u64(at);
    if (tag === DT.NULL) break;
    if (tag === DT.NEEDED) needed.push(u64(at + 8));
    if (tag === DT.STRTAB) strings = u64(at + 8);
  }
  // The string table is named by address; the segment that loads it says where it is in the file.
  const home = segments.find((s) =>
    s.type === PT.LOAD && s.address <= strings && strings < s.address + s.size
  );
  if (needed.length > 0 && home === undefined) throw bad("The program has no string table");
  const base = strings - (home?.address ?? 0) + (home?.offset ?? 0);
  return {
    machine,
    interpreter: interp === undefined ? undefined : text(interp.offset),
    libraries: needed.map((offset) => text(base + offset)),
  };
}
