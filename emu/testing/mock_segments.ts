/** An element of a request: bytes that the device reads, or room that it writes. */
export type MockSegment = { readonly read: Uint8Array } | { readonly write: number };

/** The device's answer to a request. */
export interface MockUsed {
  /** Head of the chain. */
  readonly id: number;
  /** Used length that the device reported. */
  readonly written: number;
  /** Contents of each writable element, whole. */
  readonly bytes: readonly Uint8Array[];
}

/** Bytes that the device may write to a chain. */
export function roomOf(segments: readonly MockSegment[]): number {
  return segments.reduce((sum, segment) => sum + ("write" in segment ? segment.write : 0), 0);
}
