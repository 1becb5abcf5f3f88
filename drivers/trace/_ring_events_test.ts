import { assertEquals } from "@std/assert";
import { FeatureSet, VireoError } from "@vireo/hal";
import { RingEvents } from "./_ring_events.ts";

/** A ring whose events are kept as words, and what the machine says of its driver. */
function rig() {
  const events: string[] = [];
  const machine: { mistake: string | undefined } = { mistake: undefined };
  const ring = new RingEvents({
    tracer: {
      time: 0,
      data: 0,
      emit(slot, detail) {
        if (detail.kind === "kick") {
          const { queue, name, buffers, notified } = detail;
          events.push(`${slot} kick ${queue} ${name} ${buffers} ${notified}`);
        } else if (detail.kind === "violation") events.push(`${slot} violation ${detail.message}`);
        else events.push(detail.kind);
      },
      counted: (dma) => dma,
      of: () => ({ name: "virtio0", deviceId: 4, features: FeatureSet.NONE }),
      learn() {},
      fault: (slot, error) => events.push(`${slot} fault ${error.code}`),
    },
    slot: "slot 1",
    find: () => undefined,
  }, {
    index: 3,
    name: "input",
    diagnose: () =>
      machine.mistake === undefined ? undefined : new VireoError("HOST_ERROR", machine.mistake),
  });
  return { events, machine, ring };
}

Deno.test("ring events: a kick has the buffers since the one before, and tells whether it notified", () => {
  const { events, ring } = rig();
  ring.added();
  ring.added();
  ring.kick(() => ring.notified());
  ring.added();
  ring.kick(() => {});
  ring.kick(() => {});
  ring.kick(() => ring.notified());
  assertEquals(events, [
    "slot 1 kick 3 input 2 true",
    "slot 1 kick 3 input 1 false",
    "slot 1 kick 3 input 0 true",
  ]);
});

Deno.test("ring events: a mistake is told once, and again after it was another one or none", () => {
  const { events, machine, ring } = rig();
  for (const mistake of ["a", "a", "b", "a", undefined, "a"]) {
    machine.mistake = mistake;
    ring.kick(() => {});
  }
  assertEquals(events, ["a", "b", "a", "a"].map((text) => `slot 1 violation ${text}`));
});

Deno.test("ring events: the first fault is told, and none when the ring broke by a reset", () => {
  const { events, ring } = rig();
  for (
    const code of ["DEVICE_STATE", "DEVICE_REMOVED", "QUEUE_BROKEN", "HOST_ERROR"] as const
  ) ring.broke(new VireoError(code, "It broke"));
  ring.fault(new VireoError("TIMEOUT", "Later"));
  assertEquals(events, ["slot 1 fault QUEUE_BROKEN"]);
});
