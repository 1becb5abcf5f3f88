/** An EDID 1.4 block of a display whose best mode has this size. */
export function edidOf(width: number, height: number): Uint8Array {
  const bytes = new Uint8Array(128);
  bytes.set([0, 255, 255, 255, 255, 255, 255, 0]);
  // "VIR", product 1; made in 2026; version 1.4; digital.
  const id = (22 << 10) | (9 << 5) | 18;
  bytes.set([id >> 8, id & 0xff, 1, 0], 8);
  bytes.set([1, 2026 - 1990, 1, 4, 0xa5], 16);
  // A detailed timing at about 60 Hz with small margins.
  const blank = 160;
  const clock = Math.round((width + blank) * (height + 30) * 60 / 10_000);
  bytes.set([
    clock & 0xff,
    clock >> 8 & 0xff,
    width & 0xff,
    blank,
    (width >> 8 & 0xf) << 4,
    height & 0xff,
    30,
    (height >> 8 & 0xf) << 4,
  ], 54);
  const name = new TextEncoder().encode("Vireo\n       ");
  bytes.set([0, 0, 0, 0xfc, 0, ...name], 72);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes[127] = -sum & 0xff;
  return bytes;
}
