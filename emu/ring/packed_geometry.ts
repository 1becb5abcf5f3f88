import { EVENT_SUPPRESS, MAX_QUEUE_SIZE, PACKED_DESC } from "@vireo/hal";
import type { GuestMemory } from "../memory.ts";
import type { QueueGeometry } from "./queue_config.ts";

/**
 * Returns why a packed queue cannot run with a geometry; undefined if it can.
 *
 * The descriptor ring must lie in guest memory aligned to 16, the two event suppression structures
 * aligned to 4 (virtio 1.4 §2.8.10.1); the size may be any from 1 to 32768.
 */
export function checkPackedGeometry(
  geometry: QueueGeometry,
  memory: GuestMemory,
): string | undefined {
  const { size, desc, avail, used } = geometry;
  if (size < 1 || size > MAX_QUEUE_SIZE) return `queue size ${size} is not 1 to ${MAX_QUEUE_SIZE}`;
  for (
    const [name, address, length, align] of [
      ["descriptor ring", desc, PACKED_DESC.SIZE * size, 16],
      ["driver event suppression", avail, EVENT_SUPPRESS.SIZE, 4],
      ["device event suppression", used, EVENT_SUPPRESS.SIZE, 4],
    ] as const
  ) {
    if (address % align !== 0) return `${name} at 0x${address.toString(16)} is not aligned`;
    if (!memory.contains(address, length)) {
      return `${name} at 0x${address.toString(16)} is outside guest memory`;
    }
  }
  return undefined;
}
