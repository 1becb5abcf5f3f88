import { counted, hex } from "@vireo/hal";

/** The name that a table has for a number, or the number in hex. */
export function nameOf(table: Readonly<Record<string, number>>, value: number): string {
  let names = NAMES.get(table);
  if (names === undefined) {
    // The first name of a value stays.
    const pairs = Object.entries(table).map(([name, each]) => [each, name] as const).reverse();
    NAMES.set(table, names = new Map(pairs));
  }
  return names.get(value) ?? hex(value);
}

/** The names of tables by their numbers: a request is named for every event. */
const NAMES = new WeakMap<Readonly<Record<string, number>>, ReadonlyMap<number, string>>();

/** The names of the bits of a number, as in `EOM|EOR`; bits without a name are in hex; empty for 0. */
export function bitsOf(table: Readonly<Record<string, number>>, value: number): string {
  const names = [];
  let left = value;
  for (const [name, bit] of Object.entries(table)) {
    if ((left & bit) === 0) continue;
    names.push(name);
    left &= ~bit;
  }
  if (left !== 0) names.push(hex(left >>> 0));
  return names.join("|");
}

/** A count with its unit. */
export function bytesText(count: number): string {
  return counted(count, "byte");
}

/** A view of bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Text of a driver or device up to its first NUL; what would break a line or its quotes is escaped. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const text = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  return `'${text.replaceAll(UNSAFE, (char) => `\\u${hex4(char.charCodeAt(0))}`)}'`;
}

// deno-lint-ignore no-control-regex -- these are what a line of text must not have.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029'\\]/g;

function hex4(code: number): string {
  return code.toString(16).padStart(4, "0");
}
