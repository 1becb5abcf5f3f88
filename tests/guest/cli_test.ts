import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { GUEST_LIMIT, OnTerminal, vireo } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

/** The board for what any guest shows; matrix_test.ts checks the drivers on every one. */
const X86_64 = "--target qemu:x86_64-microvm";
const AARCH64 = "--target qemu:aarch64-virt";
const ROOT = new URL("../..", import.meta.url).pathname;
const SECTOR = 512;
const limit = { timeout: GUEST_LIMIT };

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  using folder = new TempFolder();
  const dir = folder.path;
  await body(dir);
}

const random = (length: number): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65536));
  }
  return bytes;
};

/** A server of this host with one file; `base` is how a guest calls it. */
function serve(file: Uint8Array<ArrayBuffer>): { readonly base: string } & AsyncDisposable {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) =>
      new URL(request.url).pathname === "/file"
        ? new Response(file)
        : new Response("no", { status: 404 }),
  );
  return {
    base: `http://10.0.2.2:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test(
  "demo passes in a guest, with a disk of an ext4 partition and a trace on the host",
  limit,
  async () => {
    using folder = new TempFolder();
    const run = await vireo(`demo --json ${X86_64} --trace-file ${folder.path}/trace.txt`);
    assertEquals([run.code, run.err], [0, ""]);
    const trace = await Deno.readTextFile(`${folder.path}/trace.txt`);
    assertStringIncludes(trace, "add 0 [r 0x");
    assertStringIncludes(trace, ": blk READ sector 0 1 sectors: OK\n");
    const report = JSON.parse(run.out);
    assertEquals([report.ok, `--target ${report.board.target}`], [true, X86_64]);
    const ids = report.board.devices.map((device: { id: number }) => device.id);
    assertEquals(ids.sort(), [1, 2, 3, 4]);
    for (const device of report.board.devices) {
      assertEquals([device.transport, device.interrupts.policy], ["mmio-2", "poll"]);
    }
    const { data } = report.results.blk;
    assertMatch(data.sha256, /^[0-9a-f]{64}$/);
    assertEquals([data.sha256, data.partitions[0].fileSystem.type], [data.host, "ext4"]);
  },
);

Deno.test(
  "record blk write in a guest reads the host's file and writes another, which is replayed",
  limit,
  async () => {
    await withDir(async (dir) => {
      const data = random(60_000);
      await Deno.writeFile(`${dir}/in.bin`, data);
      await Deno.writeFile(`${dir}/written.img`, new Uint8Array(1 << 20));
      const write = await vireo(
        `record -o ${dir}/written.vireo blk write ${X86_64} --blk ${dir}/written.img --sector 3 --json -i ${dir}/in.bin --flush`,
      );
      assertEquals([write.code, write.err], [0, ""]);
      assertEquals(JSON.parse(write.out), { sector: 3, bytes: data.length, flushed: true });
      const written = await Deno.readFile(`${dir}/written.img`);
      assertEquals(written.subarray(3 * SECTOR, 3 * SECTOR + data.length), data);
      const replayed = await vireo(`replay ${dir}/written.vireo`);
      assertEquals([replayed.code, replayed.out], [0, write.out]);
      assertMatch(
        replayed.err,
        /^vireo: replay: the driver took all \d+ steps as in the recording\n$/,
      );
    });
  },
);

/** What a script in a guest does, in one boot: commands, a program of its own with the bundle, an error. */
const SCRIPT = `import type { Vireo } from "@vireo/firmware";
import { main as vireoMain } from "${ROOT}firmware/main.ts";
import { createHash } from "node:crypto";
interface Gone { never: true }
const KEPT = ["VIREO_SHIM", "HOME", "DENO_DIR", "DENO_V8_FLAGS"];
export default async function main(vireo: Vireo): Promise<void> {
  const [commands, ...args] = vireo.args;
  console.log(args.join("|"), vireo.target, vireo.hostPort);
  await vireo[Symbol.asyncDispose]();
  for (const words of JSON.parse(commands!) as string[][]) {
    const code = await vireoMain([...words, "--target", "devmem"]);
    console.log(\`\n\${words[0]} \${words[1]}: exit code \${code}\`);
  }
  for (const path of ["/tmp/out.bin", "/tmp/file"]) {
    console.log(createHash("sha256").update(await Deno.readFile(path)).digest("hex"));
  }
  await command(["probe", "--json"]);
  fail();
}
function fail(): Gone {
  throw new Error("thrown in the guest");
}
async function command(args: string[]): Promise<void> {
  const program = 'import main from "file:///vireo/program.js"; Deno.exit(await main(Deno.args));';
  await Deno.writeTextFile("/tmp/main.js", program);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-config", "/tmp/main.js", ...args, "--target", "devmem"],
    clearEnv: true,
    env: Object.fromEntries(KEPT.filter((name) => Deno.env.has(name)).map((name) => [name, Deno.env.get(name)!])),
  });
  const { code } = await child.spawn().status;
  if (code !== 0) Deno.exit(100 + code);
}
`;

Deno.test(
  "a script in a guest: its arguments and input, commands, its bundle as on any Linux, where it throws",
  limit,
  async () => {
    await withDir(async (dir) => {
      const served = random(200_000);
      await using server = serve(served);
      const script = `${dir}/throws.ts`;
      await Deno.writeTextFile(script, SCRIPT);
      const image = random(65_536);
      await Deno.writeFile(`${dir}/read.img`, image);
      await Deno.mkdir(`${dir}/share`);
      const data = random(50_000).toHex();
      await Deno.writeTextFile(`${dir}/share/data`, data);
      const commands = [
        ["9p", "put", "words"],
        ["9p", "cat", "data"],
        ["blk", "read", "--hash", "--count", "64"],
        ["blk", "read", "--sector", "3", "--count", "100", "--json", "-o", "/tmp/out.bin"],
        ["net", "dhcp", "--json", "--deadline", "20000"],
        ["net", "fetch", `${server.base}/file`, "-o", "/tmp/file", "--json", "--deadline", "20000"],
        ["net", "fetch", `${server.base}/none`, "--deadline", "20000"],
      ];
      const { code, out, err } = await vireo([
        ...["run", ...X86_64.split(" "), "--blk", `${dir}/read.img`, "--with", `9p=${dir}/share`],
        ...[script, JSON.stringify(commands), "a", "--json"],
      ], "from the guest");
      assertEquals(code, 1, err);
      const parts = out.split(/\n(\w+ \w+: exit code \d+)\n/);
      const sha256 = (bytes: Uint8Array): string =>
        createHash("sha256").update(bytes).digest("hex");
      const [put, cat, hash, read, dhcp, fetched, none] = [0, 2, 4, 6, 8, 10, 12].map((i) =>
        parts[i]
      );
      assertEquals(put, "a|--json qemu:x86_64-microvm undefined\n14 bytes to words\n");
      assertEquals(await Deno.readTextFile(`${dir}/share/words`), "from the guest");
      assertEquals(cat, data);
      assertEquals(hash, `${sha256(image.subarray(0, 64 * SECTOR))}\n`);
      assertEquals(JSON.parse(read!), { sector: 3, count: 100, bytes: 51200 });
      const lease = JSON.parse(dhcp!);
      assertEquals([lease.address, lease.router, lease.server], [
        ...["10.0.2.15", "10.0.2.2", "10.0.2.2"],
      ]);
      assertEquals([JSON.parse(fetched!).bytes, none], [served.length, ""]);
      assertEquals([1, 3, 5, 7, 9, 11, 13].map((i) => parts[i]), [
        ...["9p put: exit code 0", "9p cat: exit code 0", "blk read: exit code 0"],
        ...["blk read: exit code 0", "net dhcp: exit code 0", "net fetch: exit code 0"],
        "net fetch: exit code 1",
      ]);
      const [sum, fileSum, ...probed] = parts[14]!.split("\n");
      assertEquals([sum, fileSum], [
        ...[sha256(image.subarray(3 * SECTOR, 103 * SECTOR)), sha256(served)],
      ]);
      const { target, devices } = JSON.parse(probed.join("\n"));
      const drivers = devices.map(({ driver }: { driver: string }) => driver).sort();
      assertEquals(target, "devmem");
      assertEquals(drivers, [
        ...["9pnet_virtio", "virtio_blk", "virtio_console", "virtio_net", "virtio_rng"],
      ]);
      assertMatch(err, /^vireo: .*saw 404.*\nvireo: Error: thrown in the guest\n/);
      const line = SCRIPT.split("\n").findIndex((text) => text.includes("thrown in the guest")) + 1;
      assertStringIncludes(err, `at fail (file://${script}:${line}:9)`);
    });
  },
);

Deno.test("shell in a guest reads piped lines, with the drivers in scope", limit, async () => {
  const lines = `(await blk.read(0, 512)).length + bus.devices.length
const n: number = 40; n + 2
con.ports.map((port) => port.name).join()
`;
  const run = await vireo(`shell ${X86_64}`, lines);
  assertEquals([run.code, run.out, run.err], [0, `516\n42\n"console,echo,host"\n`, ""]);
});

Deno.test(
  "boot has a REPL on the virtio console for a terminal: Ctrl-C interrupts, Ctrl-D ends",
  limit,
  async () => {
    await using screen = new OnTerminal(`boot ${X86_64} --console virtio`, { TERM: "dumb" });
    const seen = (wanted: string): Promise<void> => screen.seen(wanted);
    const type = (line: string): Promise<void> => screen.type(line);
    await seen("vireo: booting x86_64-microvm");
    await type("globalThis.early = 'keys'\r");
    await seen("Ctrl-D leaves.");
    await seen("> ");
    await type("`${globalThis.early} were not run`\r");
    await seen("undefined were not run");
    await seen("> ");
    await type("`${(await rng.read(8)).length} of ${bus.devices.length}`\r");
    await seen("8 of 4");
    await seen("> ");
    await type("await new Promise(() => {})\r");
    await seen("\r\n");
    await type("\x03");
    await seen("Interrupted");
    await seen("> ");
    await type("'goes ' + 'on'\r");
    await seen("goes on");
    await seen("> ");
    // Lines that are pasted: each is behind its own prompt, and its answer below it.
    await type("const pasted = 1\rfunction alone() {}\ralone.name + pasted\r");
    for (const line of ["const pasted = 1", "> function alone() {}"]) {
      await seen(line);
      await seen("undefined");
    }
    await seen("> alone.name + pasted");
    await seen("alone1");
    await seen("> ");
    await type('import { DeviceId } from "@vireo/hal"; `rng is ${DeviceId.RNG}`\r');
    await seen("rng is 4");
    await seen("> ");
    await type("\x04");
    assertEquals(await screen.end(), 0);
  },
);

Deno.test("net fetch and dhcp refuse what they cannot do", async () => {
  const wrong = await vireo("net fetch https://example.org/");
  assertEquals([wrong.code, /http:\/\/ and an IPv4/.test(wrong.err)], [2, true]);
  const alone = await vireo("net dhcp --deadline 50");
  assertEquals([alone.code, /waiting for a DHCP server/.test(alone.err)], [1, true]);
});

Deno.test("a wrong command line is refused before a guest is booted for it", async () => {
  const cases: [string, RegExp][] = [
    ["blk read --sector x", /--sector.*'x'/],
    ["blk read --disk -1", /--disk/],
    ["blk discard --count 1.5", /--count/],
    ["blk read --json", /--json: needs -o FILE/],
    ["blk bench --bytes 100", /--bytes/],
    ["net ping 10.0.2", /address: expected an IPv4 address/],
    ["net ping --count 0", /--count/],
    ["net send 00zz", /frame/],
    ["net capture --deadline 0 -o /dev/null", /--deadline/],
    ["console --quiet x", /--quiet/],
    ["rng 5Q", /bytes/],
    ["probe --net hub", /--net: QEMU has user/],
    ["probe --memory 5", /--memory: expected 256/],
    ["shell --console tty", /--console.*tty/],
  ];
  await Promise.all(cases.map(async ([args, message]) => {
    // A QEMU that cannot be found: were it started, the exit code would be 1.
    const result = await vireo(`${args} ${AARCH64} --qemu /nonexistent/qemu`);
    assertEquals([args, result.code, result.out], [args, 2, ""]);
    assertMatch(result.err, message);
  }));
  for (const target of ["emu", "qtest:aarch64-virt", "devmem"]) {
    const result = await vireo(`shell --target ${target} --console virtio`);
    assertEquals([target, result.code, result.out], [target, 2, ""]);
    assertMatch(result.err, /--console: for qemu targets, not for/);
  }
});

Deno.test("devmem says what is missing; a guest's QEMU that does not start says why", async () => {
  const cases: [string, RegExp][] = [
    [`probe ${AARCH64} --device virtio-nope`, /'virtio-nope' is not a valid device model/],
    [`probe ${AARCH64} --blk /nonexistent.img`, /nonexistent\.img/],
    ["probe --target devmem --mmio 0,0,0", /--mmio.*expected BASE,SIZE,COUNT/],
  ];
  for (const [args, message] of cases) {
    const result = await vireo(args);
    assertEquals([args, result.code, result.out], [args, 1, ""]);
    assertMatch(result.err, message);
  }
});
