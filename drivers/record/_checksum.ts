/** FNV-1a of 32 bits, over several ranges of bytes. */
export function checksum(hash: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash;
}

/** What {@linkcode checksum} begins with. */
export const CHECKSUM_START: number = 0x811c9dc5 | 0;
