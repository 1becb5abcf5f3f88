import { assert, assertEquals } from "@std/assert";
import { CHECKS } from "../../firmware/check/checks/table.ts";
import type { Check } from "../../firmware/check/check.ts";
import { type Bench, type CheckResult, runChecks } from "../../firmware/check/run_checks.ts";
import { reproduction } from "../../firmware/check/script.ts";
import { SocketBoard } from "../../firmware/target/socket_board.ts";
import { parseTarget } from "../../firmware/target/target.ts";
import { call } from "../cli_helper.ts";
import { Served } from "../vhost_user/served.ts";

const bench = (target: string) => (): Promise<Bench> => {
  const parsed = parseTarget(target);
  if (parsed.kind !== "vhost-user") throw new TypeError(target);
  return Promise.resolve(new SocketBoard(parsed));
};

function run(target: string, checks: readonly Check[]): Promise<CheckResult[]> {
  return runChecks({ checks, open: bench(target), pace: { deadline: 1000, quiet: 5 } });
}

/** Of the checks of a group that break rules one in so many; the rest says the same again. */
const SAMPLE = 5;

Deno.test("check: served devices pass by messages, and what needs registers says so", async () => {
  await using served = await Served.start("blk", { offer: { packed: true } });
  const disk = served.path;
  const rng = await served.add("rng");
  const target = `vhost-user:blk=${disk},rng=${rng}`;
  const checks = CHECKS.filter(({ hostile }, i) => hostile === undefined || i % SAMPLE === 0);
  const results = await run(target, checks);
  const of = (verdict: string) => results.filter((result) => result.verdict === verdict);
  assertEquals(of("fail").map(({ check, reason }) => `${check.id}: ${reason}`), []);
  assertEquals(new Set(results.map(({ device }) => device.id)), new Set([2, 4]));
  assert(of("pass").length > 150, `${of("pass").length} passed`);
  const why = new Map(of("skip").map(({ check, reason }) => [check.id, reason]));
  assertEquals(why.get("mmio.magic"), "a vhost-user device has no registers of virtio-mmio");
  assertEquals(
    why.get("config.generation-rests"),
    "a vhost-user device has no register that has the generation of the configuration",
  );
  assertEquals(why.get("features.any-layout"), "a vhost-user device has no legacy interface");
});

Deno.test("check: a failure at a socket is shown again by calls of its lease; a lost connection is made again", async () => {
  await using served = await Served.start("rng");
  const row = (id: string, run: Check["run"]): Check => ({
    id,
    clauses: ["virtio 1.4 §2.1"],
    done: "nothing",
    expected: "nothing",
    run,
  });
  const results = await run(`vhost-user:rng=${served.path}`, [
    row("test.fails", async (c) => {
      await c.init();
      await c.cleanRequest();
      c.equal("Status", c.device.status(), 0x1f);
    }),
    row("test.loses", (c) => {
      c.device[Symbol.dispose]();
      c.device.status();
    }),
    row("test.goes-on", async (c) => {
      await c.init();
      await c.cleanRequest();
    }),
  ]);
  assertEquals(results.map(({ verdict }) => verdict), ["fail", "fail", "pass"]);
  const script = reproduction(results[0]!, "vhost-user:rng=x");
  assert(script.includes("  lease.writeFeatures(features(32));"), script);
  assert(/lease\.setUpQueue\(0, \{ size: 16, desc: A \+ \d+, .*packed: false \}\);/.test(script));
  assert(script.includes("lease.kick(0);"));
  assertEquals(results[0]!.reason, "Status: saw 0xf, expected 0x1f");
  assert(results[1]!.reason!.includes("was closed"), results[1]!.reason);
});

Deno.test("check: vireo check takes a socket, and skips the rest once nobody listens there", async () => {
  const served = await Served.start("rng");
  const { path } = served;
  const { code, out } = await call(`check --target vhost-user:rng=${path} --only split --json`);
  assertEquals(code, 0);
  assert(JSON.parse(out).counts.pass > 5, out);
  const ends: Check = {
    id: "test.ends",
    clauses: ["virtio 1.4 §2.1"],
    done: "the back end ends",
    expected: "nothing",
    async run(c) {
      await served[Symbol.asyncDispose]();
      await c.until(() => false, 50);
      c.device.status();
    },
  };
  const results = await run(`vhost-user:rng=${path}`, [
    ends,
    CHECKS.find(({ id }) => id === "split.request")!,
  ]);
  assertEquals(results.map(({ verdict }) => verdict), ["fail", "skip"]);
  assert(results[1]!.reason!.startsWith("the device is gone: "), results[1]!.reason);
});
