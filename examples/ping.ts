/**
 * Pings a host: `vireo run examples/ping.ts 10.0.2.2`.
 *
 * @module
 */
import { ping } from "@vireo/firmware/ip";
import type { Vireo } from "@vireo/firmware";

/** Sends three echo requests and prints the round trips. */
export default async function main({ net, args, signal }: Vireo): Promise<void> {
  const target = args[0] ?? "10.0.2.2";
  console.log(`${net.macText}, link ${net.linkUp ? "up" : "down"}, mtu ${net.mtu}`);
  const { replies } = await ping(net, { source: "10.0.2.15", target, count: 3, signal });
  for (const { sequence, milliseconds } of replies) {
    console.log(`reply ${sequence} from ${target} in ${milliseconds.toFixed(3)} ms`);
  }
}
