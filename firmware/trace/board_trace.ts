import type { TraceGroup, TraceSink } from "@vireo/hal";
import type { BoardOptions } from "../target/options.ts";
import type { OpenTrace } from "./open.ts";

/** Parts of a trace that the options of its board do not have. */
interface TraceOverrides {
  /** The groups of events; those of the options by default. */
  readonly groups?: readonly TraceGroup[];
  /** The caller's own sink. */
  readonly sink?: TraceSink | undefined;
}

/** Whether the options of a board ask for a trace, or for its counters. */
export function asksForTrace({ trace, traceFile, stats }: BoardOptions): boolean {
  return trace !== undefined || traceFile !== undefined || stats;
}

/** Begins the trace that the options of a board ask for, where they say; a caller may have a sink of its own. */
export async function boardTrace(
  board: BoardOptions,
  { groups = board.trace, sink }: TraceOverrides,
): Promise<OpenTrace | undefined> {
  if (sink === undefined && !asksForTrace(board)) return undefined;
  const { openTrace } = await import("./open.ts");
  const { traceFile: file, traceData: data, traceDevices: names, stats } = board;
  const devices = names.length === 0 ? undefined : names;
  return openTrace({ groups, devices, data, file, sink, stats });
}

/**
 * Finds an option about a trace on a board that asks for none: counts have all devices, and no data.
 *
 * @returns The option's name; undefined if there is none, or a trace that it is about.
 */
export function traceOptionWithoutTrace(
  { trace, traceFile, traceDevices, traceData }: BoardOptions,
): "traceDevices" | "traceData" | undefined {
  if (trace !== undefined || traceFile !== undefined) return undefined;
  if (traceDevices.length > 0) return "traceDevices";
  return traceData > 0 ? "traceData" : undefined;
}
