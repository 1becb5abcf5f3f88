/**
 * Forms of traces: lines of text, pcapng for Wireshark, the Trace Event Format for Perfetto, a page.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { traceLine } from "@vireo/firmware/trace";
 *
 * const lines: string[] = [];
 * await using vireo = await openVireo({ trace: ["request"] }, {
 *   trace: (event) => lines.push(traceLine(event)),
 * });
 * await vireo.rng.read(8);
 * ```
 *
 * @module
 */
export * from "./open.ts";
export * from "./page.ts";
export * from "./pcapng.ts";
export * from "./served_trace.ts";
export * from "./text.ts";
export * from "./timeline.ts";
