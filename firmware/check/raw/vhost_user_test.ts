import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { CheckSkip } from "../failure.ts";
import { NotedLease } from "./lease_test_util.ts";
import { Log } from "./log.ts";
import { RawVhostUser } from "./vhost_user.ts";

function opened(): { node: NotedLease; log: Log; raw: RawVhostUser } {
  const node = new NotedLease();
  const log = new Log();
  return { node, log, raw: RawVhostUser.open(node, log) };
}

/** What was noted since the log was last empty. */
function noted(log: Log): string[] {
  const entries = log.entries.map((entry) =>
    entry.op === "call" ? entry.code : entry.op === "note" ? `(${entry.text})` : entry.op
  );
  log.clear();
  return entries;
}

const PARTS = { desc: 0x1000, driver: 0x1080, device: 0x2000 };
const SET_UP = 'queue 1 {"desc":69632,"driver":69760,"device":73728,"size":16,"packed":false}';

/** Accepts features, sets queue 1 up, and starts the device. */
function start(raw: RawVhostUser): void {
  raw.writeStatus(1);
  raw.writeStatus(3);
  raw.accept(0, 0x20000000);
  raw.accept(1, 1);
  raw.writeStatus(11);
  raw.select(1);
  raw.writeSize(16);
  raw.place(PARTS, 0x10000);
  raw.enable(PARTS.desc, 0x10000);
  raw.writeStatus(15);
}

Deno.test("raw vhost-user: features go with FEATURES_OK, and queues are enabled with DRIVER_OK", () => {
  const { node, log, raw } = opened();
  assertEquals([raw.name, raw.bus, raw.legacy, raw.id, raw.configSize], [
    ...["vhost-user:test", "vhost-user", false, 4, 256],
  ]);
  start(raw);
  assertEquals(node.take(), [
    ...["status 1", "status 3", "features 29 32", "status 11", SET_UP, "enable 1", "status 15"],
  ]);
  assertEquals(noted(log), [
    ...["writeStatus(1)", "writeStatus(3)", "writeFeatures(features(29, 32))", "writeStatus(11)"],
    "setUpQueue(1, { size: 16, desc: A + 4096, driver: A + 4224, device: A + 8192, packed: false })",
    ...["enableQueue(1)", "writeStatus(15)"],
  ]);
  assertEquals([raw.status(), raw.features(0), raw.features(1)], [15, 0x30000000, 1]);
  raw.notify(1);
  assertEquals(noted(log), ["readStatus()", "readFeatures()", "readFeatures()", "kick(1)"]);
  assertEquals(node.take(), ["kick 1"]);
  // A queue of a device that runs is stopped before it is told again, and enabled at once.
  raw.enable(0, 0);
  assertEquals(node.take(), ["stop 1", SET_UP, "enable 1"]);
  assertEquals(noted(log)[0], "stopQueue(1)");
  // DRIVER_OK without FEATURES_OK sends the features, too, and once.
  raw.writeStatus(0);
  raw.writeStatus(4);
  raw.writeStatus(15);
  assertEquals(node.take(), ["reset", "features", "status 4", "status 15"]);
  assertEquals(noted(log).slice(0, 2), ["reset()", "writeFeatures(features())"]);
});

Deno.test("raw vhost-user: a reset forgets features, queues and refusals", () => {
  const { node, raw } = opened();
  start(raw);
  node.configChanges++;
  raw.writeStatus(0);
  node.take();
  assertEquals(raw.causes(), 0);
  raw.writeStatus(11);
  raw.writeStatus(15);
  assertEquals(node.take(), ["reset", "features", "status 11", "status 15"].slice(1));
  // Features that come late are told again, and a queue of a device that does not run waits.
  raw.accept(1, 4);
  assertEquals(node.take(), ["features 34"]);
  raw.writeStatus(0);
  raw.accept(1, 4);
  raw.place(PARTS, 0);
  raw.enable(0, 0);
  assertEquals(node.take(), [
    "reset",
    'queue 1 {"desc":4096,"driver":4224,"device":8192,"size":128,"packed":true}',
  ]);
  raw[Symbol.dispose]();
  assertEquals(node.take(), ["close"]);
});

Deno.test("raw vhost-user: a back end that refuses is noted, and FEATURES_OK reads 0", () => {
  const { node, log, raw } = opened();
  node.refuses.set("features", "COMMAND_REFUSED");
  raw.writeStatus(11);
  assertEquals([raw.status(), noted(log)], [3, [
    ...["writeFeatures(features())", "(the back end refused)", "writeStatus(11)", "readStatus()"],
  ]]);
  node.refuses.clear();
  raw.writeStatus(0);
  raw.writeStatus(11);
  assertEquals(raw.status(), 11);
  // A queue that was refused is neither enabled nor stopped.
  node.refuses.set("queue", "COMMAND_REFUSED");
  raw.place(PARTS, 0);
  node.take();
  raw.enable(0, 0);
  raw.writeStatus(15);
  raw.enable(0, 0);
  assertEquals(node.take().map((line) => line.split(" ")[0]), ["queue", "status", "queue"]);
  // Other errors are those of a machine that is gone.
  node.refuses.set("status", "TIMEOUT");
  assertThrows(() => raw.writeStatus(15), VireoError, "No status");
});

Deno.test("raw vhost-user: causes are told once", () => {
  const { node, raw } = opened();
  start(raw);
  node.interrupts.add(0);
  assertEquals(raw.causes(), 0);
  node.interrupts.add(1);
  assertEquals([raw.causes(), raw.causes()], [1, 0]);
  node.configChanges++;
  node.interrupts.add(1);
  assertEquals([raw.causes(), raw.causes()], [3, 0]);
});

Deno.test("raw vhost-user: the configuration by messages, little-endian", () => {
  const { node, log, raw } = opened();
  assertEquals([raw.config(2, 1), raw.config(0, 2), raw.config(4, 4)], [0x83, 0x8281, 0x88878685]);
  raw.writeConfig(3, 4, 0x81020304);
  raw.writeConfig(3, 1, 0x105);
  assertEquals(node.take(), [
    "config 2 1",
    "config 0 2",
    "config 4 4",
    "write 3 04030281",
    "write 3 05",
  ]);
  assertEquals(noted(log).slice(2), [
    ...["readConfig(4, 4)", "writeConfig(3, Uint8Array.of(4, 3, 2, 129))"],
    "writeConfig(3, Uint8Array.of(5))",
  ]);
  node.refuses.set("config", "CONFIG_ACCESS").set("write", "CONFIG_ACCESS");
  assertThrows(
    () => raw.config(250, 4),
    CheckSkip,
    "the back end has no 4 bytes of configuration at 250",
  );
  raw.writeConfig(0, 1, 1);
  assertEquals(noted(log).at(-1), "(the back end refused)");
  node.refuses.set("config", "TIMEOUT");
  assertThrows(() => raw.config(0, 1), VireoError, "No config");
});

Deno.test("raw vhost-user: what needs a register, or more than a message has, skips the check", () => {
  const { raw } = opened();
  const calls: readonly (readonly [() => unknown, string])[] = [
    [() => raw.enabled(), "a vhost-user device has no register that tells whether a queue runs"],
    [
      () => raw.notifyValue(0, 1),
      "a vhost-user device has no register that takes the value of a notification",
    ],
    [
      () => raw.generation(),
      "a vhost-user device has no register that has the generation of the configuration",
    ],
    [() => raw.resetQueue(), "a vhost-user device has no register that resets a queue"],
    [() => raw.queueReset(), "a vhost-user device has no register that resets a queue"],
    [() => raw.peek(0, 1), "a vhost-user device has no register that is read by its offset"],
    [() => raw.poke(0, 1, 1), "a vhost-user device has no register that is written by its offset"],
    [() => raw.accept(2, 1), "a vhost-user message has 64 bits of features"],
    [() => raw.enable(0, 0), "a vhost-user queue is told whole"],
  ];
  for (const [call, why] of calls) assertEquals(assertThrows(call, CheckSkip).message, why);
  raw.accept(2, 0);
  const sizes = [0, 1, 2].map((queue) => {
    raw.select(queue);
    return raw.sizeMax();
  });
  assertEquals(sizes, [128, 128, 0]);
});
