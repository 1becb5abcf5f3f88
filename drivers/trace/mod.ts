/**
 * Traces: what a bus, its transports and its rings do, as events in program order.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rngDriver } from "@vireo/drivers/rng";
 * import { Tracer } from "@vireo/drivers/trace";
 * import { seededRandom } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { assertEquals } from "@std/assert";
 *
 * const said: (string | undefined)[] = [];
 * const tracer = new Tracer((event) => {
 *   if (event.kind === "add") said.push(event.request);
 * });
 * const device = new RngDevice({ random: seededRandom(1) });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus({ tracer });
 * await bus.registerDriver(rngDriver);
 * await bus.addPlatform(machine);
 * await bus.get(rngDriver)!.read(8);
 * assertEquals(said, ["rng 8 bytes"]);
 * ```
 *
 * @module
 */
export type { Traced, TraceTarget } from "./_target.ts";
export * from "./buffer_words.ts";
export * from "./frames.ts";
export * from "./requests.ts";
export * from "./stats.ts";
export * from "./tracer.ts";
