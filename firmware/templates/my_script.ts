/**
 * A script for a board: `vireo run my_script.ts`.
 *
 * @module
 */
import type { Vireo } from "@vireo/firmware";

/** Says what is on the board, and reads its first disk. */
export default async function main({ bus, blk, signal }: Vireo): Promise<void> {
  for (const device of bus.devices) {
    console.log(`${device.name}: ${device.driver?.name ?? "no driver"}`);
  }
  const sector = await blk.read(0, 512, { signal, deadline: 1000 });
  console.log(`my_script read ${sector.length} bytes of ${blk.capacity}`);
}
