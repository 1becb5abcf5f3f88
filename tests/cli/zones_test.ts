import { assert, assertEquals } from "@std/assert";
import { call } from "../cli_helper.ts";

const ZONED = "--blk-zoned host-managed,zone-size=4M,capacity=3M,conventional=1,max-open=2";

Deno.test("blk zones: lists the zones of an emulated disk, as text and as JSON", async () => {
  assertEquals((await call(`blk zones ${ZONED},max-active=3`)).out.split("\n"), [
    "host-managed, 4 zones of 8192 sectors (4 MiB)",
    "at most 2 open, at most 3 open or closed",
    "appends of 8192 sectors, writes of 512 bytes",
    "0: 8192 sectors, CONV NOT_WP",
    "8192: 6144 sectors, SWR EMPTY, next write at 8192",
    "16384: 6144 sectors, SWR EMPTY, next write at 16384",
    "24576: 6144 sectors, SWR EMPTY, next write at 24576",
    "",
  ]);
  const { model, zoneSectors, maxActiveZones, zones } = JSON.parse(
    (await call("blk zones --json --sector 2050 --count 2 --blk-zoned host-aware")).out,
  );
  assertEquals([model, zoneSectors, maxActiveZones], ["host-aware", 2048, 0]);
  assertEquals(zones, [
    { start: 2048, capacity: 2048, pointer: 2048, type: "SWP", state: "EMPTY" },
    { start: 4096, capacity: 2048, pointer: 4096, type: "SWP", state: "EMPTY" },
  ]);
});

Deno.test("blk zones: carries out an action on zones, and refuses what the disk and its limits do not allow", async () => {
  const states = async (action: string): Promise<string[]> => {
    const { out } = await call(`blk zones ${action} --json ${ZONED}`);
    return JSON.parse(out).zones.map(({ state }: { state: string }) => state);
  };
  assertEquals(await states("open --sector 8192 --count 2"), ["EOPEN", "EOPEN"]);
  assertEquals(await states("finish --sector 16384"), ["FULL"]);
  assertEquals(await states("reset --sector 8192 --count 3"), ["EMPTY", "EMPTY", "EMPTY"]);
  assertEquals(await states("reset-all"), ["NOT_WP", "EMPTY", "EMPTY", "EMPTY"]);
  const many = await call(`blk zones open --sector 8192 --count 3 ${ZONED}`);
  assertEquals(many.code, 1);
  assert(many.err.endsWith("[ZONE_REFUSED]\n"), many.err);
  const conventional = await call(`blk zones close ${ZONED}`);
  assertEquals(conventional.code, 1);
  assert(conventional.err.includes("saw ZONE_INVALID_CMD"), conventional.err);
});

/** Command lines that make no sense, and what is said. */
const WRONG: readonly (readonly [args: string, said: string, code?: number])[] = [
  ["blk zones melt", "action: expected open, close, finish, reset, reset-all, got 'melt'"],
  [
    "blk zones",
    "Disk has no zones (virtio1): expected a host-managed or host-aware disk, as --blk-zoned makes it on the " +
    "emulator [UNSUPPORTED]",
    1,
  ],
  [
    "blk zones --blk-zoned zbc",
    "--blk-zoned: expected host-managed or host-aware first, got 'zbc'",
  ],
  [
    "blk zones --blk-zoned host-aware,zones=4",
    "--blk-zoned: expected zone-size, capacity, conventional, max-open, max-active, got 'zones=4'",
  ],
  [
    "blk zones --blk-zoned host-aware,zone-size=1000",
    "--blk-zoned zone-size: expected a multiple of 512, got 1000",
  ],
  [
    "blk zones --blk-zoned host-aware,zone-size=3M",
    "--blk-zoned: expected a zone size that divides the disk's 16777216 bytes, got 3145728",
  ],
  [
    "blk zones --blk-zoned host-aware,max-active=99",
    "--blk-zoned: Cannot use 99 as maxActive of a zoned disk: expected an integer from 0 to 16",
  ],
  [
    "blk zones --blk-zoned host-aware --target qtest:x86_64-q35",
    "--blk-zoned: for emu targets, not for qtest:x86_64-q35",
  ],
];

Deno.test("blk zones, --blk-zoned: refuse what makes no sense in one line", async () => {
  for (const [args, said, code = 2] of WRONG) {
    const ended = await call(args);
    assertEquals([args, ended.code, ended.out, ended.err], [args, code, "", `vireo: ${said}\n`]);
  }
});
