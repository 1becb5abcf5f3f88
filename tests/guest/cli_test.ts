import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { makeDemoDisk } from "../../firmware/disk/demo_disk.ts";
import { DISCARDED, type Findings, pattern, READ_ONLY, WRITTEN, ZEROED } from "../guest_script.ts";
import { VIREO, vireo } from "../cli_helper.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const SCRIPT = new URL("../guest_script.ts", import.meta.url).pathname;
const AARCH64 = "--target qemu:aarch64-virt";
/** The boards whose devices are on virtio-mmio. */
const BOARDS = ["x86_64-microvm", "aarch64-virt"];
const DISK = 96 << 20;
/** How many writes of half a MiB to a whole one; 64 MiB and more together. */
const WRITES = 92;
const SECTOR = 512;

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "vireo-cli-" });
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** A running command line; its output may be waited for. */
class Running {
  readonly child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #errors: Promise<string>;
  text = "";

  constructor(args: string) {
    this.child = new Deno.Command(VIREO, {
      args: args.split(" "),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#reader = this.child.stdout.getReader();
    this.#errors = new Response(this.child.stderr).text();
  }

  /** Reads until the output has this line. */
  async line(wanted: string): Promise<void> {
    while (!this.text.split("\n").slice(0, -1).includes(wanted)) {
      if (!await this.#read()) {
        throw new Error(`It ended before '${wanted}': ${await this.#errors}`);
      }
    }
  }

  async end(): Promise<{ code: number; err: string }> {
    while (await this.#read());
    const { code } = await this.child.status;
    return { code, err: await this.#errors };
  }

  async #read(): Promise<boolean> {
    const { value, done } = await this.#reader.read();
    this.text += new TextDecoder().decode(value ?? new Uint8Array());
    return !done;
  }
}

/** The process id of the QEMU that was started with this text on its command line. */
function qemuWith(text: string): number | undefined {
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const words = Deno.readTextFileSync(`/proc/${name}/cmdline`).split("\0");
      if (words[0]!.includes("qemu-system") && words.some((word) => word.includes(text))) {
        return Number(name);
      }
    } catch {
      // It has ended.
    }
  }
  return undefined;
}

/** Does the same on both boards at the same time, to the end on both. */
async function onBoards(body: (target: string) => Promise<void>): Promise<void> {
  const ends = await Promise.allSettled(BOARDS.map((name) => body(`--target qemu:${name}`)));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

Deno.test("demo passes in guests, with a disk of an ext4 partition", async () => {
  await onBoards(async (target) => {
    const run = await vireo(`demo --json ${target}`);
    assertEquals([run.code, run.err], [0, ""]);
    const report = JSON.parse(run.out);
    assertEquals([report.ok, `--target ${report.board.target}`], [true, target]);
    const ids = report.board.devices.map((device: { id: number }) => device.id);
    assertEquals(ids.sort(), [1, 2, 3, 4]);
    assertEquals(report.board.devices[0].transport, "mmio-2");
    const { data } = report.results.blk;
    assertMatch(data.sha256, /^[0-9a-f]{64}$/);
    assertEquals([data.sha256, data.partitions[0].fileSystem.type], [data.host, "ext4"]);
  });
});

for (const legacy of [false, true]) {
  Deno.test(`devices of version ${legacy ? 1 : 2} keep what a guest does`, async () => {
    await onBoards((target) => withDir((dir) => checkDevices(target, legacy, dir)));
  });
}

/** Runs the guest's script and looks at the disk from the host. */
async function checkDevices(target: string, legacy: boolean, dir: string): Promise<void> {
  const seed = 42;
  const [disk, expected, other] = [`${dir}/disk.img`, `${dir}/expected.img`, `${dir}/ext4.img`];
  await Deno.writeFile(disk, new Uint8Array(DISK).fill(0xa5));
  await Deno.copyFile(disk, expected);
  await makeDemoDisk(other);
  const run = await vireo(
    `run ${target}${legacy ? " --legacy" : ""} --blk ${disk},serial=${WRITTEN} ` +
      `--blk ${other},ro,serial=${READ_ONLY} ${SCRIPT} ${seed} ${WRITES}`,
  );
  assertEquals([run.code, run.err], [0, ""]);
  let writtenBytes = 0;
  {
    using file = await Deno.open(expected, { write: true });
    const put = async (sector: number, bytes: Uint8Array): Promise<void> => {
      await file.seek(sector * SECTOR, Deno.SeekMode.Start);
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    };
    for (const { sector, bytes } of pattern(seed, DISK, WRITES)) {
      await put(sector, bytes);
      writtenBytes += bytes.length;
    }
    for (const { sector, sectors } of [DISCARDED, ZEROED]) {
      await put(sector, new Uint8Array(sectors * SECTOR));
    }
    await file.truncate(2 * DISK);
  }
  assert(writtenBytes >= 64 << 20, `${writtenBytes} bytes are less than 64 MiB`);
  const found: Findings = JSON.parse(run.out);
  assertEquals(found, {
    writtenBytes,
    differing: 0,
    serials: [READ_ONLY, WRITTEN],
    readOnly: "READ_ONLY",
    sha256: createHash("sha256").update(await Deno.readFile(other)).digest("hex"),
    replies: 3,
    echo: [true, true],
    entropy: { bytes: 1 << 20, values: 256 },
    link: [false, true],
    grown: 2 * DISK / SECTOR,
  });
  const compare = await new Deno.Command("qemu-img", {
    args: ["compare", "-f", "raw", "-F", "raw", disk, expected],
    stdout: "piped",
    stderr: "piped",
  }).output();
  assertEquals(new TextDecoder().decode(compare.stdout), "Images are identical.\n");
}

Deno.test("blk write and read in a guest use the host's files", async () => {
  await withDir(async (dir) => {
    const data = crypto.getRandomValues(new Uint8Array(60_000));
    await Deno.writeFile(`${dir}/in.bin`, data);
    await Deno.writeFile(`${dir}/written.img`, new Uint8Array(1 << 20));
    const image = crypto.getRandomValues(new Uint8Array(65_536));
    await Deno.writeFile(`${dir}/read.img`, image);
    const [write, read] = await Promise.all([
      vireo(
        `blk write --target qemu:x86_64-microvm --blk ${dir}/written.img --sector 3 --json ` +
          `-i ${dir}/in.bin --flush`,
      ),
      vireo(
        `blk read ${AARCH64} --blk ${dir}/read.img --sector 3 --json --count 100 -o ${dir}/out.bin`,
      ),
    ]);
    assertEquals([write.code, write.err], [0, ""]);
    assertEquals(JSON.parse(write.out), { sector: 3, bytes: data.length, flushed: true });
    const written = await Deno.readFile(`${dir}/written.img`);
    assertEquals(written.subarray(3 * SECTOR, 3 * SECTOR + data.length), data);
    assertEquals([read.code, read.err], [0, ""]);
    assertEquals(JSON.parse(read.out), { sector: 3, count: 100, bytes: 51200 });
    assertEquals(await Deno.readFile(`${dir}/out.bin`), image.slice(3 * SECTOR, 103 * SECTOR));
  });
});

Deno.test("a script that throws in a guest names its line; arguments arrive as they are", async () => {
  await withDir(async (dir) => {
    const script = `${dir}/throws.ts`;
    await Deno.writeTextFile(
      script,
      `import type { Vireo } from "@vireo/firmware";
interface Gone { never: true }
export default function main(vireo: Vireo): void {
  console.log(vireo.args.join("|"), vireo.target, vireo.hostPort);
  fail();
}
function fail(): Gone {
  throw new Error("thrown in the guest");
}
`,
    );
    await onBoards(async (target) => {
      const run = await vireo(`run ${target} ${script} a --json`);
      const name = target.split(" ")[1];
      assertEquals([run.code, run.out], [1, `a|--json ${name} undefined\n`]);
      assertStringIncludes(run.err, "Error: thrown in the guest\n");
      assertStringIncludes(run.err, `at fail (file://${script}:8:9)`);
    });
  });
});

Deno.test("the guest's bundle drives the devices with --target devmem, as on any Linux", async () => {
  await withDir(async (dir) => {
    const script = `${dir}/devmem.ts`;
    await Deno.writeTextFile(
      script,
      `export default async function main(vireo: import("@vireo/firmware").Vireo) {
  await vireo[Symbol.asyncDispose]();
  const program = 'import main from "file:///vireo/program.js"; Deno.exit(await main(Deno.args));';
  await Deno.writeTextFile("/tmp/main.js", program);
  for (const args of [["blk", "read", "--hash", "--count", "64"], ["probe", "--json"]]) {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-config", "/tmp/main.js", ...args, "--target", "devmem"],
      clearEnv: true,
      env: { VIREO_SHIM: Deno.env.get("VIREO_SHIM")!, HOME: "/root", DENO_DIR: "/tmp/deno" },
    });
    const { code } = await child.spawn().status;
    if (code !== 0) Deno.exit(code);
  }
}`,
    );
    await onBoards(async (target) => {
      const run = await vireo(`run ${target} ${script}`);
      assertEquals([run.code, run.err], [0, ""]);
      const end = run.out.indexOf("\n");
      const zeroes = createHash("sha256").update(new Uint8Array(64 * SECTOR)).digest("hex");
      assertEquals(run.out.slice(0, end), zeroes);
      const { target: name, devices } = JSON.parse(run.out.slice(end));
      const drivers = devices.map(({ driver }: { driver: string }) => driver).sort();
      assertEquals(name, "devmem");
      assertEquals(drivers, ["virtio_blk", "virtio_console", "virtio_net", "virtio_rng"]);
    });
  });
});

Deno.test("every example that needs no emulator runs in a guest", async () => {
  await withDir(async (dir) => {
    const names = ["console_echo", "entropy", "ping", "probe", "read_disk", "write_a_driver"];
    // One boot for all of them. The last one takes a driver away.
    await Deno.writeTextFile(
      `${dir}/all.ts`,
      names.map((name) => `import ${name} from "file://${ROOT}examples/${name}.ts";`).join("\n") +
        `\nexport default async function main(vireo: import("@vireo/firmware").Vireo) {
  const { bus, blk, net, console, rng, signal } = vireo;
  const given = { bus, blk, net, console, rng, signal, args: [] } as never;
  for (const example of [${names.join(", ")}]) await example(given);
}`,
    );
    await onBoards(async (target) => {
      const run = await vireo(`run ${target} ${dir}/all.ts`);
      assertEquals([run.code, run.err], [0, ""]);
      assertStringIncludes(run.out, "1048576 bytes came back as they were sent\n");
      assertMatch(run.out, /^key [0-9a-f]{64}$/m);
      assertMatch(run.out, /^reply \d from 10\.0\.2\.2 in /m);
      assertMatch(run.out, /^virtio\d: block at virtio-mmio@/m);
      assertMatch(run.out, /^sha256 [0-9a-f]{64}$/m);
      assertMatch(run.out, /^rolled [1-6] and [1-6]$/m);
    });
  });
});

for (const device of ["uart", "virtio"]) {
  Deno.test(`shell in a guest reads piped lines through ${device}, with the drivers in scope`, async () => {
    const lines = `(await blk.read(0, 512)).length + bus.devices.length
const n: number = 40; n + 2
con.ports.map((port) => port.name).join()
`;
    const ports = `console,echo,host${device === "virtio" ? ",shell" : ""}`;
    await onBoards(async (target) => {
      const run = await vireo(`shell ${target} --console ${device}`, lines);
      assertEquals([run.code, run.out, run.err], [0, `516\n42\n"${ports}"\n`, ""]);
    });
  });
}

Deno.test("boot has a REPL on the virtio console for a terminal: Ctrl-C interrupts, Ctrl-D ends", async () => {
  await onBoards(async (target) => {
    const child = new Deno.Command("script", {
      args: ["-qefc", `stty cols 100; ${VIREO} boot ${target} --console virtio`, "/dev/null"],
      stdin: "piped",
      stdout: "piped",
      env: { NO_COLOR: "1", TERM: "dumb" },
    }).spawn();
    const keys = child.stdin.getWriter();
    const screen = child.stdout.getReader();
    let text = "";
    const seen = async (wanted: string): Promise<void> => {
      while (!text.includes(wanted)) {
        const { value, done } = await screen.read();
        assert(!done, `It ended before '${wanted}': ${text}`);
        text += new TextDecoder().decode(value);
      }
      text = text.slice(text.indexOf(wanted) + wanted.length);
    };
    const type = (line: string): Promise<void> => keys.write(new TextEncoder().encode(line));
    await seen("Ctrl-D leaves.");
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
    await type("\x04");
    while (!(await screen.read()).done);
    await keys.close().catch(() => {});
    assertEquals((await child.status).code, 0);
  });
});

for (const how of ["QEMU's end", "Ctrl-C"] as const) {
  Deno.test(`${how} in the middle of I/O ends the command within 2 s`, async () => {
    await onBoards((target) => withDir((dir) => checkEnd(how, target, dir)));
  });
}

async function checkEnd(how: "QEMU's end" | "Ctrl-C", target: string, dir: string): Promise<void> {
  const script = `${dir}/busy.ts`;
  await Deno.writeTextFile(
    script,
    `export default async function main({ blk }: import("@vireo/firmware").Vireo) {
  for (let i = 0;; i++) {
    await blk.write(i % 1000, new Uint8Array(512));
    if (i === 100) console.log("busy");
  }
}`,
  );
  await Deno.writeFile(`${dir}/disk.img`, new Uint8Array(1 << 20));
  const guest = new Running(`run ${target} --blk ${dir}/disk.img ${script}`);
  await guest.line("busy");
  const qemu = qemuWith(dir)!;
  const words = Deno.readTextFileSync(`/proc/${qemu}/cmdline`);
  const temporary = words.match(/\/[^\0,]*\/vireo-(?:guest|ports)-[^/\0,]+/g)!;
  const began = performance.now();
  if (how === "Ctrl-C") guest.child.kill("SIGINT");
  else Deno.kill(qemu, "SIGKILL");
  const { code, err } = await guest.end();
  assert(performance.now() - began < 2000, "within 2 s");
  if (how === "Ctrl-C") assertEquals([code, err], [130, ""]);
  else {
    assertEquals(code, 1);
    assertMatch(err, /^vireo: QEMU ended before the guest did: saw SIGKILL.*\[HOST_ERROR\]\n$/s);
  }
  assertEquals(qemuWith(dir), undefined);
  assert(temporary.length >= 2);
  for (const path of temporary) {
    assertEquals(await Deno.stat(path).catch(() => undefined), undefined, path);
  }
}

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
