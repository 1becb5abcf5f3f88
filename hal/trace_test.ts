import { assertEquals } from "@std/assert";
import { inTraceGroups, type TraceDetail, type TraceGroup, traceGroup } from "./trace.ts";

/** An event of a kind, with what decides its group. */
function event(kind: TraceDetail["kind"], request?: object): TraceDetail {
  return { kind, ...request && { request } } as TraceDetail;
}

Deno.test("trace: each event is in one group, and what happens to a request's buffer also in the ring's", () => {
  const groups: readonly TraceGroup[] = ["regs", "ring", "request", "copy"];
  const cases: readonly (readonly [TraceDetail, TraceGroup, readonly TraceGroup[]])[] = [
    [event("register"), "regs", ["regs"]],
    [event("config"), "regs", ["regs"]],
    [event("copy"), "copy", ["copy"]],
    [event("kick"), "ring", ["ring"]],
    [event("add"), "ring", ["ring"]],
    [event("used"), "ring", ["ring"]],
    [event("add", {}), "request", ["ring", "request"]],
    [event("used", {}), "request", ["ring", "request"]],
  ];
  for (const [detail, group, asked] of cases) {
    assertEquals(traceGroup(detail), group);
    assertEquals(groups.filter((one) => inTraceGroups(new Set([one]), detail)), asked);
  }
});
