/**
 * An entropy device for `vireo serve` that answers with the time at which it was asked: CLOCK_MONOTONIC in
 * nanoseconds, 8 bytes, and zeroes.
 *
 * @module
 */
import { RngDevice } from "@vireo/emu/rng";
import { clock } from "./clock.ts";

/** Makes the device. */
export default function stampedRng(): RngDevice {
  return new RngDevice({
    random: (into) => {
      into.fill(0);
      new DataView(into.buffer, into.byteOffset, 8).setBigUint64(0, BigInt(clock()), true);
    },
  });
}
