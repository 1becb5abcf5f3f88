import { VireoError } from "@vireo/hal";

/** Must equal the result of `vireo_shim_version` in shim.c. */
const SHIM_VERSION = 4;

/** The same as a type, which `isolatedDeclarations` requires. */
interface Symbols extends Deno.ForeignLibraryInterface {
  readonly vireo_shim_version: { parameters: []; result: "u32" };
  readonly vireo_read8: { parameters: ["pointer", "u32"]; result: "u8" };
  readonly vireo_read16: { parameters: ["pointer", "u32"]; result: "u16" };
  readonly vireo_read32: { parameters: ["pointer", "u32"]; result: "u32" };
  readonly vireo_write8: { parameters: ["pointer", "u32", "u8"]; result: "void" };
  readonly vireo_write16: { parameters: ["pointer", "u32", "u16"]; result: "void" };
  readonly vireo_write32: { parameters: ["pointer", "u32", "u32"]; result: "void" };
  readonly vireo_open_mem: { parameters: ["buffer"]; result: "i32" };
  readonly vireo_close: { parameters: ["i32"]; result: "i32" };
  readonly vireo_map: { parameters: ["i32", "u64", "u64"]; result: "i64" };
  readonly vireo_map_huge: { parameters: ["u64"]; result: "i64" };
  readonly vireo_lock: { parameters: ["pointer", "u64"]; result: "i32" };
  readonly vireo_relax: { parameters: []; result: "void" };
  readonly vireo_unmap: { parameters: ["pointer", "u64"]; result: "i32" };
  readonly vireo_event: { parameters: []; result: "i32" };
  readonly vireo_signal: { parameters: ["i32"]; result: "i32" };
  readonly vireo_wait_interrupt: {
    parameters: ["i32", "i32"];
    result: "i32";
    nonblocking: true;
  };
  readonly vireo_load_module: { parameters: ["buffer"]; result: "i32" };
}

const SYMBOLS: Symbols = {
  vireo_shim_version: { parameters: [], result: "u32" },
  vireo_read8: { parameters: ["pointer", "u32"], result: "u8" },
  vireo_read16: { parameters: ["pointer", "u32"], result: "u16" },
  vireo_read32: { parameters: ["pointer", "u32"], result: "u32" },
  vireo_write8: { parameters: ["pointer", "u32", "u8"], result: "void" },
  vireo_write16: { parameters: ["pointer", "u32", "u16"], result: "void" },
  vireo_write32: { parameters: ["pointer", "u32", "u32"], result: "void" },
  vireo_open_mem: { parameters: ["buffer"], result: "i32" },
  vireo_close: { parameters: ["i32"], result: "i32" },
  vireo_map: { parameters: ["i32", "u64", "u64"], result: "i64" },
  vireo_map_huge: { parameters: ["u64"], result: "i64" },
  vireo_lock: { parameters: ["pointer", "u64"], result: "i32" },
  vireo_relax: { parameters: [], result: "void" },
  vireo_unmap: { parameters: ["pointer", "u64"], result: "i32" },
  vireo_event: { parameters: [], result: "i32" },
  vireo_signal: { parameters: ["i32"], result: "i32" },
  vireo_wait_interrupt: { parameters: ["i32", "i32"], result: "i32", nonblocking: true },
  vireo_load_module: { parameters: ["buffer"], result: "i32" },
};

/** The shim's functions. */
export type ShimSymbols = Deno.StaticForeignLibraryInterface<Symbols>;

/** The loaded shim; closing it makes every window that uses it unusable. */
export interface Shim extends Disposable {
  /** Its functions. */
  readonly symbols: ShimSymbols;
}

/**
 * Loads the shim.
 *
 * @param path Where the library for this machine is.
 * @throws {VireoError} `HOST_ERROR` If it is missing, or made for another machine or version.
 */
export function loadShim(path: string): Shim {
  let library: Deno.DynamicLibrary<Symbols>;
  try {
    library = Deno.dlopen(path, SYMBOLS);
  } catch (cause) {
    const what = "Cannot load the register shim; build hal/devmem/shim.c for this machine";
    throw new VireoError("HOST_ERROR", what, { device: path, cause });
  }
  const version = library.symbols.vireo_shim_version();
  if (version !== SHIM_VERSION) {
    library.close();
    throw new VireoError(
      "HOST_ERROR",
      "Cannot use the register shim: build it again, its version differs",
      {
        device: path,
        seen: version,
        expected: SHIM_VERSION,
      },
    );
  }
  return { symbols: library.symbols, [Symbol.dispose]: () => library.close() };
}
