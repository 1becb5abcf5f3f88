import { assertEquals } from "@std/assert";
import { type BoardOptions, DEFAULT_BOARD } from "../target/options.ts";
import { asksForTrace, boardTrace, traceOptionWithoutTrace } from "./board_trace.ts";

const NONE: BoardOptions = {
  ...DEFAULT_BOARD,
  ...{ trace: undefined, traceFile: undefined, traceDevices: [], traceData: 0, stats: false },
};

Deno.test("board trace: a board asks for one by groups, a file or its counters", async () => {
  assertEquals(asksForTrace(NONE), false);
  for (const option of [{ trace: [] }, { traceFile: "x.jsonl" }, { stats: true }]) {
    assertEquals([option, asksForTrace({ ...NONE, ...option } as BoardOptions)], [option, true]);
  }
  assertEquals(await boardTrace(NONE, {}), undefined);
});

Deno.test("board trace: options about a trace that nobody asked for", () => {
  const found = (options: Partial<BoardOptions>): unknown =>
    traceOptionWithoutTrace({ ...NONE, ...options });
  assertEquals(found({}), undefined);
  assertEquals(found({ traceDevices: ["virtio0"], traceData: 1 }), "traceDevices");
  assertEquals(found({ traceData: 1 }), "traceData");
  assertEquals(found({ traceData: 1, stats: true }), "traceData");
  const asked: readonly Partial<BoardOptions>[] = [{ trace: [] }, { traceFile: "x" }];
  for (const option of asked) {
    assertEquals(found({ ...option, traceDevices: ["a"], traceData: 1 }), undefined);
  }
});
