/**
 * Forms of traces: lines of text, pcapng for Wireshark, the Trace Event Format for Perfetto.
 *
 * @module
 */
export * from "./open.ts";
export * from "./pcapng.ts";
export * from "./text.ts";
export * from "./timeline.ts";
