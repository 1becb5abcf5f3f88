import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { call, vireo } from "../cli_helper.ts";
import { makeDemoDisk } from "../../firmware/disk/demo_disk.ts";
import { TempFolder } from "../temp_folder.ts";

async function withDisk(body: (path: string, bytes: Uint8Array) => Promise<void>): Promise<void> {
  using folder = new TempFolder();
  const dir = folder.path;
  const path = `${dir}/disk.img`;
  const bytes = crypto.getRandomValues(new Uint8Array(65536));
  await Deno.writeFile(path, bytes);
  await body(path, bytes);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

Deno.test("probe names devices, features and queues, as text and JSON", async () => {
  const text = await vireo("probe");
  assertEquals([text.code, text.err], [0, ""]);
  for (const part of ["net (id 1)", "block (id 2)", "console (id 3)", "rng (id 4)", "VERSION_1"]) {
    assertStringIncludes(text.out, part);
  }
  const report = JSON.parse((await call("probe --json --blk none")).out);
  const ids = report.devices.map((device: { id: number }) => device.id);
  assertEquals(ids, [1, 3, 4]);
  assertEquals(
    report.devices[0].modalias,
    "virtio:d00000001v" + report.devices[0].modalias.slice(-8),
  );
});

Deno.test("--legacy, --queue-size, --no-indirect and --no-event-idx change what is agreed", async () => {
  const { devices } = JSON.parse((await call("probe --json")).out);
  const legacy = JSON.parse((await call("probe --json --legacy --queue-size 8")).out).devices;
  const bare = JSON.parse((await call("probe --json --no-indirect --no-event-idx")).out).devices;
  const rng = (list: { id: number }[]) =>
    list.find((device) => device.id === 4) as unknown as {
      transport: string;
      negotiated: string[];
      queues: { size: number }[];
    };
  assertEquals(rng(devices).transport, "mmio-2");
  assert(
    ["INDIRECT_DESC", "EVENT_IDX", "VERSION_1"].every((f) => rng(devices).negotiated.includes(f)),
  );
  assertEquals(rng(legacy).transport, "mmio-1");
  assert(!rng(legacy).negotiated.includes("VERSION_1"));
  assertEquals(rng(legacy).queues.map((queue) => queue.size), [8]);
  assert(!rng(bare).negotiated.some((f) => f === "INDIRECT_DESC" || f === "EVENT_IDX"));
});

Deno.test("probe says which ring features were offered, asked for and agreed", async () => {
  type Rings = Record<"offered" | "asked" | "agreed", string[]>;
  const extra = ["RING_PACKED", "IN_ORDER", "NOTIFICATION_DATA", "ACCESS_PLATFORM"];
  const rings = async (flags: string): Promise<Rings> =>
    JSON.parse((await call(`probe --json${flags}`)).out).devices[0].rings;
  const plain = await rings("");
  for (const part of ["offered", "asked", "agreed"] as const) {
    assertEquals(plain[part].filter((name) => extra.includes(name)), []);
    assert(plain[part].includes("VERSION_1") && plain[part].includes("EVENT_IDX"));
  }
  const all = await rings(" --packed --in-order --notification-data --platform-iommu");
  assertEquals(extra.filter((name) => !all.offered.includes(name)), []);
  assertEquals(extra.filter((name) => !all.asked.includes(name)), []);
  assert(all.agreed.includes("ACCESS_PLATFORM") && all.agreed.includes("NOTIFICATION_DATA"));
});

Deno.test("blk read, write, discard and flush work on the image file", async () => {
  await withDisk(async (path, bytes) => {
    const read = await vireo(`blk read --blk ${path} --sector 3 --count 2`);
    assertEquals([read.code, read.err], [0, ""]);
    assertEquals(read.raw, bytes.slice(3 * 512, 5 * 512));
    const hash = await call(`blk read --blk ${path} --hash`);
    assertEquals(hash.out.trim(), sha256(bytes));

    const data = crypto.getRandomValues(new Uint8Array(1000));
    const write = await call(`blk write --blk ${path} --sector 10 --flush --json`, data);
    assertEquals(JSON.parse(write.out), { sector: 10, bytes: 1000, flushed: true });
    const expected = bytes.slice();
    expected.set(data, 5120);
    assertEquals(await Deno.readFile(path), expected);

    assertEquals((await call(`blk flush --blk ${path}`)).out, "flushed\n");
    const discard = await call(`blk discard --blk ${path} --sector 64 --count 8`);
    assertEquals([discard.code, discard.out], [0, "discarded 8 sectors from sector 64\n"]);
  });
});

Deno.test("blk info tells serial, block size, partitions and file systems", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  await makeDemoDisk(`${dir}/d.img`);
  const disk = `${dir}/d.img,ro,serial=S-1,block-size=4096`;
  const info = JSON.parse((await call(`blk info --json --blk ${disk}`)).out);
  assertEquals([info.serial, info.blockSize, info.readOnly, info.sectors], [
    "S-1",
    4096,
    true,
    65536,
  ]);
  assertEquals([info.scheme, info.partitions.length], ["mbr", 1]);
  assertEquals(info.partitions[0].fileSystem.type, "ext4");
  const write = await call(`blk write --blk ${disk}`, "x");
  assertEquals(write.code, 1);
  assertMatch(write.err, /^vireo: .*read-only.*\[READ_ONLY\]\n$/);
});

Deno.test("blk bench and net bench report rates", async () => {
  const blk = JSON.parse((await call("blk bench --json --requests 2000 --depth 8")).out);
  assertEquals([blk.requests, blk.depth, blk.bytes], [2000, 8, 4096]);
  assert(blk.perSecond > 0);
  const net = JSON.parse((await call("net bench --json --frames 2000")).out);
  assertEquals([net.frames, net.bytes], [2000, 64]);
  assert(net.perSecond > 0);
});

Deno.test("net ping gets its echoes, and says so when there are none", async () => {
  const ok = JSON.parse((await call("net ping 10.0.2.2 -c 3 --json")).out);
  assertEquals([ok.sent, ok.replies.length, ok.mac], [3, 3, "52:55:0a:00:02:02"]);
  const lost = await call("net ping 10.0.2.9 -c 1 --deadline 100");
  assertEquals([lost.code, lost.out], [1, ""]);
  assertMatch(lost.err, /^vireo: .*\[TIMEOUT\]\n$/);
  const bad = await call("net ping 10.0.2");
  assertEquals([bad.code, bad.err], [
    2,
    "vireo: address: expected an IPv4 address, got '10.0.2'\n",
  ]);
});

Deno.test("net capture writes a pcap file of what came in", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const path = `${dir}/c.pcap`;
  const run = await call(`net capture --ping 10.0.2.2 -c 1 -o ${path} --json`);
  assertEquals(JSON.parse(run.out), { captured: 1, file: path });
  const file = await Deno.readFile(path);
  const view = new DataView(file.buffer);
  // Magic, link type Ethernet, then one ARP reply of 42 bytes or more (padded to 60 on a real wire).
  assertEquals([view.getUint32(0, true), view.getUint32(20, true)], [0xa1b2c3d4, 1]);
  assertEquals(view.getUint16(24 + 16 + 12), 0x0806);
  assertEquals(view.getUint16(24 + 16 + 20), 2);
  const sent = await call("net send ffffffffffff52540012345688b56869");
  assertEquals([sent.code, sent.out], [0, "sent 16 bytes\n"]);
});

Deno.test("console connects standard input and output to a port", async () => {
  const echo = await vireo("console", "hello\nthere\n");
  assertEquals([echo.code, echo.out, echo.err], [0, "hello\nthere\n", ""]);
  const named = JSON.parse((await vireo("console --port echo --send hi --json")).out);
  assertEquals(named, { port: 1, name: "echo", received: "hi" });
  const list = JSON.parse((await vireo("console --list --json")).out);
  assertEquals(list.ports.map((port: { name: string }) => port.name), ["console", "echo", "host"]);
});

Deno.test("rng writes as many bytes as asked, raw and in hex", async () => {
  const hex = await vireo("rng 5");
  assertMatch(hex.out, /^[0-9a-f]{10}\n$/);
  assertEquals((await vireo("rng 100K --format raw")).raw.length, 102400);
});

Deno.test("run gives a script the board and its arguments; shell has them in scope", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const script = `${dir}/s.ts`;
  await Deno.writeTextFile(
    script,
    `import type { Vireo } from "@vireo/firmware";
       export default async ({ bus, rng, args }: Vireo) => {
         console.log(bus.devices.length, (await rng.read(8)).length, ...args);
       };`,
  );
  const run = await vireo(`run --blk none ${script} a --flag`);
  assertEquals([run.code, run.out, run.err], [0, "3 8 a --flag\n", ""]);
  await Deno.writeTextFile(script, "export const x = 1;");
  const bad = await vireo(`run ${script}`);
  assertEquals(bad.code, 2);
  assertStringIncludes(bad.err, "expected 'export default");
  const shell = await vireo(
    "shell",
    "(await blk.read(0, 512)).length + bus.devices.length\n(await rng.read(3)).length\n",
  );
  assertStringIncludes(shell.out, "516");
  assertStringIncludes(shell.out, "3");
});

Deno.test("wrong use ends in one line and exit code 2, what is not there in 1", async () => {
  const cases: [string, number, RegExp][] = [
    ["probe --targe emu", 2, /unknown option '--targe'/],
    ["prob", 2, /unknown command 'prob'/],
    [
      "probe --target qemu",
      2,
      /--target: expected emu, devmem, qtest:BOARD, qemu:BOARD or vhost-user:NAME=SOCKET/,
    ],
    ["probe --target qemu:riscv64-virt", 2, /no board .riscv64-virt., there is x86_64-microvm/],
    ["probe --target qtest:pdp11", 2, /no board 'pdp11'.*riscv64-virt/],
    ["probe --device x", 2, /--device: for qtest and qemu targets, not for emu/],
    ["probe --mmio 1,2", 2, /--mmio: for devmem targets/],
    ["probe --net wifi", 2, /--net: expected hub/],
    ["blk read --blk none", 1, /No block device/],
    ["net info --net none", 1, /No net device/],
    ["blk info --blk /nonexistent.img", 1, /nonexistent\.img/],
    ["blk read --sector 99999999 --count 1", 2, /the disk has 32768 sectors/],
    ["run nofile.ts", 2, /no such file: nofile.ts/],
    ["console --port nobody --send x", 2, /no port 'nobody'/],
    ["rng many", 2, /expected a number such as/],
  ];
  for (const [args, code, message] of cases) {
    const result = await call(args);
    assertEquals([args, result.code, result.out], [args, code, ""]);
    assertMatch(result.err, message);
    assert(result.err.trim().split("\n").length <= 2, `${args}: ${result.err}`);
  }
});

Deno.test("every level of --help has an example; completion knows the commands", async () => {
  const levels = [
    ...[
      "",
      "probe ",
      "boards ",
      "demo ",
      "run ",
      "shell ",
      "image ",
      "boot ",
      "console ",
      "rng ",
      "blk ",
      "net ",
    ],
    ...["info", "read", "write", "flush", "discard", "bench"].map((name) => `blk ${name} `),
    ...["info", "ping", "send", "capture", "bench"].map((name) => `net ${name} `),
  ];
  for (const level of levels) {
    const help = await call(`${level}--help`);
    assertEquals([level, help.code], [level, 0]);
    assertMatch(help.out, /\nExample:\n {2}\$ .*vireo /);
  }
  for (const shell of ["bash", "zsh", "fish"]) {
    assertMatch((await vireo(`complete ${shell}`)).out, /vireo/);
  }
  assertMatch((await vireo("complete -- blk re")).out, /^read\b/);
});

Deno.test("vireo 9p --help says what of a shared folder is not protected", async () => {
  assertStringIncludes(
    (await call("9p --help")).out,
    "Not protected: a directory that the host moves out of DIR",
  );
});
