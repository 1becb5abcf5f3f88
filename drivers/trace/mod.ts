/**
 * Traces: what a bus, its transports and its rings do, as events in program order.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers";
 * import { Tracer } from "@vireo/drivers/trace";
 * import type { TraceEvent } from "@vireo/hal";
 *
 * const events: TraceEvent[] = [];
 * await using bus = new Bus({ tracer: new Tracer((event) => events.push(event)) });
 * ```
 *
 * @module
 */
export type { Traced, TraceTarget } from "./_target.ts";
export * from "./frames.ts";
export * from "./requests.ts";
export * from "./stats.ts";
export * from "./tracer.ts";
