// The runner's own work, on slots that only answer: which checks are made, how each ends, and what becomes of the machine.
import { assertEquals, assertRejects } from "@std/assert";
import { type DeviceScript, ScriptedDevice, ScriptedPci, TestDma } from "@vireo/drivers/testing";
import {
  type DeviceNode,
  type DmaOptions,
  type DmaRegion,
  type Platform,
  VireoError,
} from "@vireo/hal";
import type { Check } from "./check.ts";
import { CheckFailure, CheckSkip } from "./failure.ts";
import { Random } from "./random.ts";
import { NotedLease } from "./raw/lease_test_util.ts";
import { Log } from "./raw/log.ts";
import { type Bench, type CheckResult, runChecks } from "./run_checks.ts";

type Options = Parameters<typeof runChecks>[0];

/** A machine of slots that is made again and again, and counts what it gave away. */
class Machine {
  readonly slots: readonly ScriptedDevice[];
  readonly dma = new TestDma({ size: 8 << 20 });
  /** The options of each region, and how often one was given back. */
  readonly asked: DmaOptions[] = [];
  freed = 0;
  opened = 0;
  closed = 0;
  /** Devices on other buses, behind the slots. */
  others: readonly DeviceNode[] = [];
  /** Opens after which there is no device any more, or the machine does not open. */
  empty = Infinity;
  refuses: Error | undefined;

  constructor(...scripts: readonly DeviceScript[]) {
    this.slots = scripts.map((script) => new ScriptedDevice(script));
  }

  async run(
    checks: readonly Check[],
    options: Partial<Options> & { readonly qemu?: string } = {},
  ): Promise<CheckResult[]> {
    const { qemu, ...more } = options;
    const open = (): Promise<Bench> => {
      if (this.opened > 0 && this.refuses !== undefined) return Promise.reject(this.refuses);
      const left = ++this.opened > this.empty ? [] : [...this.slots, ...this.others];
      const dma = { alloc: this.#alloc.bind(this) };
      const platform = { name: "test", dma, nodes: () => left } as unknown as Platform;
      const close = (): Promise<void> => Promise.resolve(void this.closed++);
      return Promise.resolve({ platform, qemu, [Symbol.asyncDispose]: close });
    };
    return await runChecks({ checks, open, pace: { deadline: 5, quiet: 0 }, ...more });
  }

  #alloc(size: number, options: DmaOptions): DmaRegion {
    this.asked.push(options);
    const region = this.dma.alloc(size, options);
    return {
      ...region,
      [Symbol.dispose]: () => {
        this.freed++;
        region[Symbol.dispose]();
      },
    };
  }

  /** What is still taken: leases of each slot, regions of memory, machines. */
  get kept(): number[] {
    return [
      ...this.slots.map(({ leases }) => leases),
      this.dma.live,
      this.opened - this.closed,
    ];
  }
}

/** A check by its name and what it does. */
function check(id: string, run: Check["run"] = () => {}, more: Partial<Check> = {}): Check {
  return { id, clauses: ["virtio 1.4 §2.1"], done: "it runs", expected: "nothing", run, ...more };
}

const ended = (results: readonly CheckResult[]): unknown[] =>
  results.map(({ check, verdict, reason }) => [check.id, verdict, reason]);

const RNG: DeviceScript = { deviceId: 4, name: "rng" };

Deno.test("run checks: how a check ends is its verdict, and the others are made all the same", async () => {
  const machine = new Machine(RNG);
  const started: unknown[] = [];
  const told: CheckResult[] = [];
  const results = await machine.run([
    check("passes"),
    check("fails", (c) => c.equal("Status", c.device.status(), 1)),
    check("skips", (c) => c.skip("not here")),
    check("throws", () => {
      throw new TypeError("Cannot go on");
    }),
    check("throws-text", () => Promise.reject("text")),
    check("passes-again"),
  ], {
    onStart: (...names) => started.push(names),
    onResult: (result) => told.push(result),
  });
  assertEquals(ended(results), [
    ["passes", "pass", undefined],
    ["fails", "fail", "Status: saw 0x0, expected 0x1"],
    ["skips", "skip", "not here"],
    ["throws", "fail", "The check could not go on: Cannot go on"],
    ["throws-text", "fail", "The check could not go on: text"],
    ["passes-again", "pass", undefined],
  ]);
  assertEquals(results.map(({ seen }) => seen), [
    ...[undefined, "Status: saw 0x0, expected 0x1", undefined],
    ...["The check could not go on: Cannot go on", "The check could not go on: text", undefined],
  ]);
  // A failure's accesses, which begin after the device was reset; nothing of what is not told.
  assertEquals(results.map(({ history }) => history.length), [0, 1, 0, 0, 0, 0]);
  assertEquals(results[1]!.history[0], {
    ...{ op: "read", window: "mmio", offset: 0x70, width: 4, value: 0 },
  });
  assertEquals(results.every(({ ms }) => ms >= 0 && ms < 60_000), true);
  assertEquals(results[0]!.device, { name: "rng", id: 4, bus: "mmio", face: "modern" });
  assertEquals(told, results);
  assertEquals(started, results.map(({ check }) => [check.id, "rng"]));
  // Each check finds the device reset; the last access leaves it so.
  const { log } = machine.slots[0]!;
  assertEquals(log.filter((line) => line === "w Status 0x0").length, 7);
  assertEquals(log.at(-1), "w Status 0x0");
  assertEquals(machine.kept, [0, 0, 0]);
});

Deno.test("run checks: a check that is about others, or lacks what it needs, is not made", async () => {
  const scope = (scope: Check["scope"]): Partial<Check> => ({ scope: scope! });
  const never = (): never => {
    throw new Error("It was made");
  };
  const checks = [
    check("pci", never, scope({ bus: "pci" })),
    check("mmio", undefined, scope({ bus: "mmio" })),
    check("legacy", never, scope({ face: "legacy" })),
    check("modern", undefined, scope({ face: "modern" })),
    check("of-disks", never, scope({ devices: [2] })),
    check("of-rng", undefined, scope({ devices: [2, 4] })),
    check("two-features", never, { offers: [32, 28, 29] }),
    check("version-1", undefined, { offers: [32] }),
    check("request", undefined, { request: true }),
  ];
  const machine = new Machine(RNG);
  assertEquals(ended(await machine.run(checks)), [
    ["mmio", "pass", undefined],
    ["modern", "pass", undefined],
    ["of-rng", "pass", undefined],
    ["two-features", "skip", "feature 28, 29 is not offered"],
    ["version-1", "pass", undefined],
    ["request", "pass", undefined],
  ]);
  // What is skipped leaves the machine as it is.
  assertEquals([machine.opened, machine.freed], [1, 1]);
  assertEquals(machine.asked, [{ align: 4096, coherent: true }]);
  const other = new Machine({ deviceId: 42, version: 1 });
  const results = await other.run([
    check("legacy", undefined, scope({ face: "legacy" })),
    check("modern", never, scope({ face: "modern" })),
    check("request", never, { request: true }),
  ]);
  assertEquals(ended(results), [
    ["legacy", "pass", undefined],
    ["request", "skip", "no request is known for devices of type 42"],
  ]);
  assertEquals([results[0]!.device.face, other.opened], ["legacy", 1]);
});

Deno.test("run checks: devices come in turn, empty slots and those that are not asked for are left out", async () => {
  const machine = new Machine({ name: "a" }, { name: "none", deviceId: 0 }, RNG, { name: "c" });
  const asked: unknown[] = [];
  const watched: string[] = [];
  const results = await machine.run([check("one"), check("two")], {
    devices: (device) => asked.push(device) > 0 && device.id !== 4,
    watch: (node) => (watched.push(node.name), node),
  });
  assertEquals(results.map(({ check, device }) => `${device.name}.${check.id}`), [
    ...["a.one", "a.two", "c.one", "c.two"],
  ]);
  assertEquals(asked.length, 3);
  assertEquals(watched, ["a", "none", "rng", "c"]);
  // One that is left out is reset and given back, too.
  assertEquals(machine.slots[2]!.log.at(-1), "w Status 0x0");
  assertEquals(machine.kept, [0, 0, 0, 0, 0, 0]);
});

Deno.test("run checks: a run is ended behind the result that asks for it", async () => {
  const machine = new Machine(RNG, { name: "b" });
  const results = await machine.run([check("one"), check("two"), check("three")], {
    stop: ({ check }) => check.id === "two",
  });
  assertEquals(results.map(({ check, device }) => `${device.name}.${check.id}`), [
    ...["rng.one", "rng.two"],
  ]);
  assertEquals(machine.kept, [0, 0, 0, 0]);
});

Deno.test("run checks: memory is blank and the log empty at the start of each check", async () => {
  const log = new Log();
  const seen: unknown[] = [];
  const dirty = check("dirty", async (c) => {
    await c.reset();
    seen.push(log.entries.length, c.arena.get(32, 4).toHex());
    c.arena.put32(c.arena.take(4), 1);
    seen.push(c.arena.get(32, 4).toHex());
    log.add({ op: "note", text: "left" });
  });
  await new Machine(RNG).run([dirty, dirty], { log });
  assertEquals(seen, [3, "eeeeeeee", "01000000", 3, "eeeeeeee", "01000000"]);
});

Deno.test("run checks: a check is not begun before the device has reset", async () => {
  // It takes 3 reads until a reset is done.
  const reads = { Status: [1, 1, 1, 0, 0] };
  const seen: number[] = [];
  const results = await new Machine({ ...RNG, reads }).run([
    check("reads", (c) => void seen.push(c.device.status())),
  ], { pace: { deadline: 5000, quiet: 0 } });
  assertEquals([ended(results), seen], [[["reads", "pass", undefined]], [0]]);
});

Deno.test("run checks: random numbers are the check's own, and another seed's are others", async () => {
  const numbers = async (seed?: number): Promise<string[]> => {
    const found: string[] = [];
    const draw = (id: string): Check =>
      check(id, (c) => void found.push(c.random.bytes(8).toHex()));
    await new Machine(RNG).run([draw("a"), draw("b"), draw("a")], {
      ...seed === undefined ? {} : { seed },
    });
    return found;
  };
  const [a, b, again] = await numbers();
  assertEquals([a === again, a === b], [true, false]);
  assertEquals(await numbers(1), [a, b, again]);
  assertEquals((await numbers(2)).includes(a!), false);
  // The seed and FNV-1a of the check's name.
  assertEquals(a, new Random(1 ^ 0xe40c292c).bytes(8).toHex());
});

Deno.test("run checks: memory that a check damaged is a failure, of a hostile one after a reset and a request", async () => {
  // The machine's memory begins with the arena; its first bytes are no buffer of anybody.
  const damage = (more: Partial<Check> = {}): Promise<CheckResult[]> => {
    const machine = new Machine({ ...RNG, deviceId: 42 });
    const write: Check["run"] = (c) => {
      const at = c.arena.take(4);
      machine.dma.memory[at] = 1;
    };
    return machine.run([check("damages", write, more)]);
  };
  const failure =
    "memory that the device was not given to write: saw byte 32 of the driver's memory changed, expected no change";
  assertEquals(ended(await damage()), [["damages", "fail", failure]]);
  assertEquals(ended(await damage({ hostile: true })), [["damages", "fail", failure]]);
  const machine = new Machine({ ...RNG, deviceId: 42 });
  const [polite, hostile] = [check("polite"), check("hostile", undefined, { hostile: true })];
  assertEquals(ended(await machine.run([polite])), [["polite", "pass", undefined]]);
  const { log } = machine.slots[0]!;
  assertEquals(log.some((line) => line.startsWith("w DriverFeatures ")), false);
  assertEquals(ended(await machine.run([hostile])), [["hostile", "pass", undefined]]);
  assertEquals(log.some((line) => line.startsWith("w DriverFeatures ")), true);
});

/** An error of a machine or of its device. */
const error = (code: "HOST_ERROR" | "TIMEOUT"): VireoError =>
  new VireoError(code, `It ended with ${code}`);

Deno.test("run checks: a machine that ends fails the check, and another one goes on with the next", async () => {
  const ends = check("ends", () => {
    throw error("HOST_ERROR");
  });
  const machine = new Machine(RNG, { name: "b" });
  const results = await machine.run([check("one"), ends, check("three")]);
  assertEquals(results.map(({ check, device, verdict }) => [device.name, check.id, verdict]), [
    ...[["rng", "one", "pass"], ["rng", "ends", "fail"], ["rng", "three", "pass"]],
    ...[["b", "one", "pass"], ["b", "ends", "fail"], ["b", "three", "pass"]],
  ]);
  assertEquals([results[1]!.reason, results[1]!.seen], Array(2).fill("It ended with HOST_ERROR"));
  assertEquals([machine.opened, machine.closed, machine.freed], [3, 3, 3]);
  // An error of the device alone is a failure as any other, on the same machine.
  const other = new Machine(RNG);
  const timed = check("timed", () => {
    throw error("TIMEOUT");
  });
  assertEquals(ended(await other.run([timed, check("next")])), [
    ["timed", "fail", "The check could not go on: It ended with TIMEOUT"],
    ["next", "pass", undefined],
  ]);
  assertEquals(other.opened, 1);
});

Deno.test("run checks: what cannot be looked at any more is skipped, and says why", async () => {
  const ends = check("ends", () => {
    throw error("HOST_ERROR");
  });
  const machine = new Machine(RNG, { name: "b" });
  machine.empty = 1;
  assertEquals(ended(await machine.run([ends, check("next"), check("last")])), [
    ["ends", "fail", "It ended with HOST_ERROR"],
    ["next", "skip", "the device is gone"],
    ["last", "skip", "the device is gone"],
  ]);
  assertEquals([machine.opened, machine.closed, machine.freed], [2, 2, 2]);
  const refusing = new Machine(RNG);
  refusing.refuses = error("TIMEOUT");
  const [, next] = await refusing.run([ends, check("next")]);
  assertEquals(
    { ...next, check: next!.check.id },
    {
      check: "next",
      device: { name: "rng", id: 4, bus: "mmio", face: "modern" },
      verdict: "skip",
      reason: "the device is gone: It ended with TIMEOUT",
      seen: undefined,
      history: [],
      ms: 0,
    },
  );
  assertEquals([refusing.opened, refusing.closed, refusing.freed], [1, 1, 1]);
  // A mistake of ours is no device that is gone.
  const wrong = new Machine(RNG);
  wrong.refuses = new TypeError("Cannot open");
  await assertRejects(() => wrong.run([ends, check("next")]), TypeError, "Cannot open");
});

Deno.test("run checks: what a QEMU is known for deviates, and is not done inside a guest that would end", async () => {
  const HANGS = "QEMU did not answer within its deadline";
  const fails = (id: string, what: string): Check =>
    check(id, () => {
      throw new CheckFailure(what, "this", "that");
    });
  const disk: DeviceScript = { deviceId: 4, name: "rng" };
  let opened = 0;
  const run = async (qemu: string | undefined, inside: boolean, ...checks: Check[]) => {
    const machine = new Machine(disk);
    const results = await machine.run(checks, { inside, ...qemu === undefined ? {} : { qemu } });
    opened = machine.opened;
    return results;
  };
  const known = fails("split.hostile.longest", HANGS);
  const reason =
    "An entropy device takes a chain without a byte to write again and again: QEMU hangs in its backend";
  const [deviates] = await run("7.2.22", false, known);
  assertEquals(
    [deviates!.verdict, deviates!.reason, deviates!.seen],
    ["deviates", reason, `${HANGS}: saw this, expected that`],
  );
  assertEquals((await run(undefined, false, known))[0]!.verdict, "fail");
  assertEquals(
    (await run("7.2.22", false, fails("split.hostile.longest", "x")))[0]!.verdict,
    "fail",
  );
  const [left, made] = await run("7.2.22", true, known, check("split.request"));
  assertEquals(
    [left!.verdict, left!.reason, left!.seen, left!.history],
    ["deviates", reason, "not done in a guest, which would end with its QEMU", []],
  );
  assertEquals([made!.verdict, opened], ["pass", 1]);
  assertEquals((await run(undefined, true, check("split.hostile.longest")))[0]!.verdict, "pass");
});

Deno.test("run checks: functions of PCI and devices behind sockets are looked at by what they have", async () => {
  const machine = new Machine();
  machine.others = [new ScriptedPci(), new NotedLease()];
  const never = (): never => {
    throw new Error("It was made");
  };
  const results = await machine.run([
    check("any"),
    check("mmio", never, { scope: { bus: "mmio" } }),
    check("pci", (c) => void c.pci, { scope: { bus: "pci" } }),
    check("legacy", never, { scope: { face: "legacy" } }),
    check("modern", undefined, { scope: { face: "modern" } }),
    check("rng", undefined, { scope: { devices: [4] } }),
    check("disks-on-pci", never, { scope: { devices: [2], bus: "pci" } }),
  ]);
  const of = (bus: string) => ended(results.filter(({ device }) => device.bus === bus));
  assertEquals(of("pci"), [
    ...["any", "pci", "modern"].map((id) => [id, "pass", undefined]),
  ]);
  assertEquals(of("vhost-user"), [
    ["any", "pass", undefined],
    ["mmio", "skip", "a vhost-user device has no registers of virtio-mmio"],
    ["pci", "skip", "a vhost-user device has no registers of PCI"],
    ["legacy", "skip", "a vhost-user device has no legacy interface"],
    ["modern", "pass", undefined],
    ["rng", "pass", undefined],
  ]);
  assertEquals([machine.opened, machine.freed], [1, 1]);
});

Deno.test("run checks: any error of a socket means that its back end is gone", async () => {
  const machine = new Machine();
  const node = new NotedLease();
  machine.others = [node];
  const fails = (code: "TIMEOUT" | "CONFIG_ACCESS"): Check =>
    check(code, () => {
      throw new VireoError(code, "It failed");
    });
  const results = await machine.run([fails("TIMEOUT"), fails("CONFIG_ACCESS"), check("next")]);
  assertEquals(ended(results), [
    ["TIMEOUT", "fail", "It failed"],
    ["CONFIG_ACCESS", "fail", "The check could not go on: It failed"],
    ["next", "pass", undefined],
  ]);
  assertEquals([machine.opened, machine.freed], [2, 2]);
});

Deno.test("run checks: a skip within a hostile check is a skip", async () => {
  const skips = check("skips", () => {
    throw new CheckSkip("no such queue");
  }, { hostile: true });
  assertEquals(ended(await new Machine(RNG).run([skips])), [["skips", "skip", "no such queue"]]);
});
