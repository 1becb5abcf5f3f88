/** The device did not do what a clause says. */
export class CheckFailure extends Error {
  override name = "CheckFailure";
  /** Subject of the look. */
  readonly what: string;
  /** Behaviour that was seen. */
  readonly seen: string;
  /** Behaviour that must be seen. */
  readonly expected: string;

  /** Says what was seen and what must be. */
  constructor(what: string, seen: string, expected: string) {
    super(`${what}: saw ${seen}, expected ${expected}`);
    this.what = what;
    this.seen = seen;
    this.expected = expected;
  }
}

/** The check cannot be made on this device, for a reason of its own. */
export class CheckSkip extends Error {
  override name = "CheckSkip";
}

/** Writes a value as reports show it. */
export function show(value: unknown): string {
  if (typeof value === "number") {
    return Number.isInteger(value) && value >= 0 ? `0x${value.toString(16)}` : String(value);
  }
  if (value instanceof Uint8Array) {
    const text = value.subarray(0, 32).toHex();
    return value.length > 32 ? `${text}... (${value.length} bytes)` : text || "no bytes";
  }
  return String(value);
}
