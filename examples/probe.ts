/**
 * Lists the board's devices: `vireo run examples/probe.ts`.
 *
 * @module
 */
import { deviceName, featureName } from "@vireo/hal";
import type { Vireo } from "@vireo/firmware";

/** Prints each device with what was negotiated. */
export default function main({ bus }: Vireo): void {
  for (const device of bus.devices) {
    const names = device.driver?.featureNames ?? {};
    const features = [...device.features].map((bit) => featureName(bit, names));
    console.log(`${device.name}: ${deviceName(device.deviceId)} at ${device.transport.name}`);
    console.log(`  driver ${device.driver?.name ?? "none"}`);
    console.log(`  features ${features.join(" ")}`);
    for (const queue of device.queues) console.log(`  queue ${queue.name}, ${queue.size} entries`);
  }
}
