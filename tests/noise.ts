/** A number below 2^32 for each call, the same ones for a seed (xorshift32). */
export function xorshift(seed: number): () => number {
  let x = seed >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** Bytes by their places; `Uint8Array.from({ length }, ...)` takes ten times as long, 0.2 s for 2 MiB. */
export function bytesBy(length: number, byteAt: (at: number) => number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = byteAt(at);
  return bytes;
}

/** Bytes that no pattern of zeroes or addresses looks like. */
export function noise(length: number, seed: number): Uint8Array<ArrayBuffer> {
  return bytesBy(length, xorshift(seed));
}
