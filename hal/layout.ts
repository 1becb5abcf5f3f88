/** Width in bytes of each scalar field type; all are little-endian. */
export const FIELD_WIDTH: { readonly u8: 1; readonly u16: 2; readonly u32: 4; readonly u64: 8 } = {
  u8: 1,
  u16: 2,
  u32: 4,
  u64: 8,
};

/** The type of a struct field: a scalar, or `bytes` of a given length. */
export type FieldType = keyof typeof FIELD_WIDTH | { readonly bytes: number };

/** A field with its place in the struct. */
export interface Field {
  /** Byte offset from the start of the struct. */
  readonly offset: number;
  /** Length in bytes. */
  readonly size: number;
}

/** A struct whose offsets were computed from its field list. */
export type Layout<K extends string> =
  & { readonly [P in K]: Field }
  & {
    /** Total size in bytes. */
    readonly SIZE: number;
  };

/**
 * Declares a packed little-endian struct once, as fields in order, and computes the offsets.
 *
 * @param fields The fields in the order of the specification.
 * @param size The size in bytes that the specification gives, asserted.
 * @returns Offsets and sizes by field name, and the total as `SIZE`.
 * @throws {RangeError} If the fields do not add up to `size`.
 *
 * @example
 * ```ts
 * import { layout } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const DESC = layout({ addr: "u64", len: "u32", flags: "u16", next: "u16" }, 16);
 * assertEquals(DESC.flags.offset, 12);
 * ```
 */
export function layout<K extends string>(
  fields: Readonly<Record<K, FieldType>>,
  size: number,
): Layout<K> {
  const out: Record<string, Field | number> = {};
  let offset = 0;
  for (const [name, type] of Object.entries<FieldType>(fields)) {
    const width = typeof type === "string" ? FIELD_WIDTH[type] : type.bytes;
    out[name] = { offset, size: width };
    offset += width;
  }
  if (offset !== size) {
    throw new RangeError(`Cannot lay out a struct of ${size} bytes: its fields take ${offset}`);
  }
  out["SIZE"] = size;
  return out as Layout<K>;
}
