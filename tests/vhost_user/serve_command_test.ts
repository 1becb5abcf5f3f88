import { assert, assertEquals } from "@std/assert";
import { TextLineStream } from "./lines.ts";
import { VIREO, vireo as vireoCommand } from "../cli_helper.ts";
import { openVireo } from "../../firmware/session.ts";
import { temporaryFolder } from "./daemon.ts";

/** `vireo serve` in a process of its own, and the events that it prints. */
function serve(...args: readonly string[]) {
  const child = new Deno.Command(VIREO, {
    args: ["serve", ...args, "--json"],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream())[Symbol.asyncIterator]();
  const next = async (): Promise<Record<string, unknown>> =>
    JSON.parse((await lines.next()).value!) as Record<string, unknown>;
  const rest = async (): Promise<void> => {
    while (!(await lines.next()).done);
  };
  return { child, next, rest };
}

Deno.test("vhost-user: vireo serve says QEMU's options, serves two front ends, and ends on Ctrl-C", async () => {
  await using folder = temporaryFolder();
  const [path, image] = [`${folder.path}/s.sock`, `${folder.path}/disk.img`];
  await Deno.writeFile(image, new Uint8Array(1 << 20).fill(7));
  const { child, next, rest } = serve("blk", "--blk", image, "--socket", path);
  const listening = await next();
  assertEquals([listening["kind"], listening["device"], listening["deviceId"]], [
    "listening",
    "blk",
    2,
  ]);
  assert((listening["qemu"] as string[]).includes("vhost-user-blk-pci,chardev=vireo0"));
  const again = await vireoCommand(`serve blk --socket ${path}`);
  assertEquals(again.code, 1);
  assert(again.err.includes("another program listens there"), again.err);
  for (let i = 0; i < 2; i++) {
    {
      await using vireo = await openVireo({ target: `vhost-user:blk=${path}` });
      assertEquals(await vireo.blk.read(3, 512), new Uint8Array(512).fill(7));
    }
    while ((await next())["kind"] !== "disconnected");
  }
  child.kill("SIGINT");
  assertEquals((await child.status).code, 0);
  await rest();
  assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["disk.img"]);
});

Deno.test("vhost-user: vireo serve serves a model of one's own, once", async () => {
  await using folder = temporaryFolder();
  const [path, file] = [`${folder.path}/s.sock`, `${folder.path}/my_device.ts`];
  const emu = new URL("../../emu/devices/rng/mod.ts", import.meta.url);
  await Deno.writeTextFile(
    file,
    `import { RngDevice } from ${JSON.stringify(emu.href)};\n` +
      `export default () => new RngDevice({ random: (into) => void into.fill(0x42) });\n`,
  );
  const { child, next, rest } = serve(file, "--socket", path, "--once", "--check");
  assertEquals((await next())["deviceId"], 4);
  {
    await using vireo = await openVireo({ target: `vhost-user:rng=${path}` });
    assertEquals(await vireo.rng.read(5), new Uint8Array(5).fill(0x42));
  }
  assertEquals((await child.status).code, 0);
  await rest();
});

Deno.test("vhost-user: vireo serve says QEMU's options for several queue pairs", async () => {
  await using folder = temporaryFolder();
  const { child, next, rest } = serve("net", "--queue-pairs", "4", "--socket", `${folder.path}/s`);
  const qemu = (await next())["qemu"] as string[];
  assert(qemu.includes("vhost-user,id=net0,chardev=vireo0,queues=4"), qemu.join(" "));
  assert(qemu.includes("virtio-net-pci,netdev=net0,mq=on,vectors=10"), qemu.join(" "));
  child.kill("SIGINT");
  assertEquals((await child.status).code, 0);
  await rest();
});

Deno.test("vhost-user: vireo serve says what is wrong with a command line", async () => {
  for (
    const [args, message] of [
      ["serve disk --socket /tmp/x", "no device 'disk'"],
      ["serve none.ts --socket /tmp/x", "no such file: none.ts"],
      ["serve blk --blk none --socket /tmp/x", "expected one --blk, got 0"],
      ["serve net --net none --socket /tmp/x", "expected a wire"],
      ["serve rng --queue-pairs 2 --socket /tmp/x", "--queue-pairs is for net"],
      ["serve net --queue-pairs 128 --socket /tmp/x", "--queue-pairs"],
      ["serve rng --target devmem --socket /tmp/x", "there is no --target"],
    ] as const
  ) {
    const { code, err } = await vireoCommand(args);
    assertEquals([code, err.includes(message)], [2, true], err);
  }
});
