import type { ConfigWidth } from "../device.ts";

/** Reads so many bytes of a configuration space, little-endian (virtio 1.4 §2.5), as `DeviceModel.readConfig` does. */
export function readSpace(space: DataView, offset: number, width: ConfigWidth): number {
  if (width === 1) return space.getUint8(offset);
  return width === 2 ? space.getUint16(offset, true) : space.getUint32(offset, true);
}
