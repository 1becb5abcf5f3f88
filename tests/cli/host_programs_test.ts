/** What a command needs and is not there is named in one line, before anything else is done. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { VireoError } from "@vireo/hal";
import { debianPackage, requireProgram } from "@vireo/hal/host";
import { QtestPlatform } from "@vireo/hal/qtest";
import { BOARDS, findBoard } from "../../firmware/boards/mod.ts";
import { type Result, vireo } from "../cli_helper.ts";
import { checkIntegrity, DENO_LOCK } from "../../firmware/image/deno_binary.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
/** What the launcher uses of a minimal Debian. */
const MINIMAL = ["sh", "uname", "dirname", "readlink", "id", "cut", "getent"];

/** A folder for one test. */
class Folder implements AsyncDisposable {
  readonly path: string;

  constructor() {
    this.path = Deno.makeTempDirSync({ prefix: "vireo-host-" });
  }

  /** A folder with some of this machine's programs, to be a PATH. */
  programs(names: readonly string[] = []): string {
    const bin = `${this.path}/bin`;
    Deno.mkdirSync(bin, { recursive: true });
    for (const name of [...MINIMAL, ...names]) {
      Deno.symlinkSync(requireProgram(name), `${bin}/${name}`);
    }
    return bin;
  }

  /** A program that is a shell script, on the PATH of {@linkcode Folder.programs}. */
  script(name: string, text: string): string {
    const path = `${this.path}/bin/${name}`;
    Deno.writeTextFileSync(path, `#!/bin/sh\n${text}\n`);
    Deno.chmodSync(path, 0o755);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

/** Runs a program of a checkout that is not this one. */
async function run(
  command: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
): Promise<Pick<Result, "code" | "out" | "err">> {
  const [program, ...args] = command;
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    env: { ...env },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

function missing(program: string, debian: string): string {
  return `Cannot run ${program}: no folder of PATH has it; ${program} is in Debian's package ${debian}`;
}

Deno.test("each program has its Debian package, and RISC-V's QEMU by the release", () => {
  const debian = (version: string) => `PRETTY_NAME="Debian"\nVERSION_ID="${version}"\nID=debian\n`;
  const riscv = (text: string) => debianPackage("qemu-system-riscv64", text);
  assertEquals([riscv(debian("12")), riscv(debian("13"))], [
    "qemu-system-misc",
    "qemu-system-riscv",
  ]);
  assertEquals(riscv("ID=debian\n"), "qemu-system-riscv");
  assertEquals(riscv('ID=ubuntu\nVERSION_ID="10.04"\n'), "qemu-system-riscv");
  assertEquals(debianPackage("qemu-system-x86_64"), "qemu-system-x86");
  assertEquals(debianPackage("aarch64-linux-gnu-gcc"), "gcc-aarch64-linux-gnu");
});

Deno.test("a QEMU that is not installed is named with its package on every board", async () => {
  await using folder = new Folder();
  const PATH = folder.programs();
  const script = `${folder.path}/script.ts`;
  await Deno.writeTextFile(script, "export default () => {};\n");
  const output = `${folder.path}/kept`;
  await Deno.writeTextFile(output, "kept");
  const commands = [
    ...BOARDS.flatMap(({ name, targets }) =>
      targets.map((kind) => `probe --target ${kind}:${name}`)
    ),
    "boot",
    "boot --target qemu:aarch64-virt",
    "shell --target qtest:riscv64-virt",
    "shell --target qemu:x86_64-q35",
    "demo --target qtest:aarch64-virt --blk none",
    `run --target qtest:x86_64-microvm ${script}`,
    `run --target qemu:aarch64-virt ${script}`,
    `blk read --target qemu:x86_64-microvm -o ${output}`,
  ];
  for (const command of commands) {
    const board = BOARDS.find(({ name }) => command.includes(`:${name}`)) ??
      findBoard("x86_64-microvm");
    const line = missing(board.qemu, debianPackage(board.qemu));
    const { code, out, err } = await vireo(command, undefined, { PATH });
    assertEquals([command, code, out, err], [command, 1, "", `vireo: ${line} [HOST_ERROR]\n`]);
  }
  assertEquals(await Deno.readTextFile(output), "kept");
});

Deno.test("a QEMU that was named and is none is refused before it is started", async () => {
  await using folder = new Folder();
  folder.programs();
  const plain = `${folder.path}/plain`;
  await Deno.writeTextFile(plain, "text");
  const other = folder.script("other", "echo other 1.0");
  const broken = folder.script("broken", "echo no library >&2; exit 127");
  const package_ = debianPackage("qemu-system-riscv64");
  const known = `qemu-system-riscv64 is in Debian's package ${package_} [HOST_ERROR]`;
  const cases: [qemu: string, why: string][] = [
    ["/nonexistent/qemu", "there is no such file"],
    [`${plain}/qemu`, "there is no such file"],
    ["no-such-qemu", "no folder of PATH has it"],
    [folder.path, "it is a folder"],
    ["/dev/null", "it is not a file"],
    [plain, "this user may not run it"],
    [other, "--version answers 'other 1.0', so it is not QEMU"],
    [broken, "--version answers 'no library', so it is not QEMU"],
  ];
  for (const [qemu, why] of cases) {
    const result = await vireo(`probe --target qtest:riscv64-virt --qemu ${qemu}`);
    assertEquals([result.code, result.out, result.err], [
      1,
      "",
      `vireo: Cannot run ${qemu}: ${why}; ${known}\n`,
    ]);
  }
  const guest = await vireo(`boot --qemu ${other}`);
  const x86 = "qemu-system-x86_64 is in Debian's package qemu-system-x86 [HOST_ERROR]";
  assertEquals(guest.err, `vireo: Cannot run ${other}: ${cases[6]![1]}; ${x86}\n`);
  for (const target of ["qtest:riscv64-virt", "qemu:aarch64-virt"]) {
    const { code, err } = await vireo(`probe --target ${target} --qemu `);
    assertEquals([code, err], [2, "vireo: --qemu: expected a program's name or path, got ''\n"]);
  }
});

Deno.test("qtest: a QEMU that is missing is named before a machine is made", async () => {
  const board = findBoard("aarch64-virt");
  const error = await assertRejects(
    () => QtestPlatform.start({ board, qemu: "/nonexistent/qemu" }),
    VireoError,
    "Cannot run /nonexistent/qemu: there is no such file; qemu-system-aarch64 is in Debian's " +
      "package qemu-system-arm",
  );
  assertEquals(error.code, "HOST_ERROR");
});

Deno.test("the demo needs a minimal Debian only", async () => {
  await using folder = new Folder();
  const env = { PATH: folder.programs(), VIREO_CACHE: `${folder.path}/cache` };
  const { code, out, err } = await vireo("demo", undefined, env);
  assertEquals([code, err], [0, ""]);
  assertMatch(out, /partition 1: 31 MiB at 1 MiB, 83, ext4 'vireo' [0-9a-f-]{36}\n/);
  assertMatch(out, /sha256 by the host +[0-9a-f]{64} equal\n/);
  assertStringIncludes(out, "All four devices work");
});

Deno.test("an image names the program that is missing before it downloads anything", async () => {
  const other = Deno.build.arch === "x86_64" ? "aarch64" : "x86_64";
  const cross = `${other}-linux-gnu-gcc`;
  const native: [string, string][] = [
    ["apt-get", "apt"],
    ["apt-cache", "apt"],
    ["dpkg-deb", "dpkg"],
  ];
  const all: [arch: string, needed: [string, string][]][] = [
    [Deno.build.arch, [...native, ["gcc", "gcc"]]],
    [other, [
      ...native,
      [cross, debianPackage(cross)],
      ["npm", "npm"],
      ["tar", "tar"],
    ]],
  ];
  for (const [arch, needed] of all) {
    for (const [program, debian] of needed) {
      await using folder = new Folder();
      const env = { PATH: folder.programs(), VIREO_CACHE: `${folder.path}/cache` };
      for (const [name] of needed) {
        if (name !== program) folder.script(name, `: > ${folder.path}/called`);
      }
      const { code, out, err } = await vireo(
        `image --arch ${arch} -o ${folder.path}/out`,
        undefined,
        env,
      );
      const line = `vireo: ${missing(program, debian)} [HOST_ERROR]\n`;
      assertEquals([code, out, err], [1, "", line]);
      assertThrows(() => Deno.statSync(`${folder.path}/called`), Deno.errors.NotFound);
    }
  }
});

Deno.test("a compiler without the C library's headers is reported before the downloads", async () => {
  const other = Deno.build.arch === "x86_64" ? "aarch64" : "x86_64";
  const cases: [arch: string, gcc: string, debian: string][] = [
    [Deno.build.arch, "gcc", "libc6-dev"],
    [
      other,
      `${other}-linux-gnu-gcc`,
      `libc6-dev-${other === "aarch64" ? "arm64" : "amd64"}-cross`,
    ],
  ];
  for (const [arch, gcc, debian] of cases) {
    await using folder = new Folder();
    const env = { PATH: folder.programs(["npm", "tar"]), VIREO_CACHE: folder.path };
    for (const name of ["apt-get", "apt-cache", "dpkg-deb"]) {
      folder.script(name, `: > ${folder.path}/called`);
    }
    folder.script(gcc, "echo 'shim.c:3:10: fatal error: errno.h: No such file' >&2; exit 1");
    const { code, err } = await vireo(
      `image --arch ${arch} -o ${folder.path}/out`,
      undefined,
      env,
    );
    assertEquals(code, 1);
    assertEquals(
      err,
      `vireo: Cannot compile C for ${arch}: there is no errno.h; it is in Debian's package ` +
        `${debian} [HOST_ERROR]\n  because: The program ${folder.path}/bin/${gcc} failed: saw exit code 1\n` +
        "shim.c:3:10: fatal error: errno.h: No such file [HOST_ERROR]\n",
    );
    assertThrows(() => Deno.statSync(`${folder.path}/called`), Deno.errors.NotFound);
  }
});

Deno.test("devmem names the compiler that the shim needs", async () => {
  await using folder = new Folder();
  const env = { PATH: folder.programs(), VIREO_CACHE: `${folder.path}/cache` };
  const { code, err } = await vireo("probe --target devmem", undefined, env);
  assertEquals([code, err], [1, `vireo: ${missing("gcc", "gcc")} [HOST_ERROR]\n`]);
});

Deno.test("another processor's Deno must be the package of the lock file", async () => {
  const abc = new TextEncoder().encode("abc");
  // FIPS 180-4's example of SHA-512.
  const known = "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9" +
    "RU1EI2Q86A4qmslPpUyknw==";
  checkIntegrity("abc", abc, known);
  const error = assertThrows(() => checkIntegrity("abc", new Uint8Array(3), known), VireoError);
  assertEquals([error.code, error.expected], ["HOST_ERROR", known]);

  const arch = Deno.build.arch === "x86_64" ? "aarch64" : "x86_64";
  const lock = JSON.parse(await Deno.readTextFile(DENO_LOCK));
  const name = `@deno/linux-${arch === "aarch64" ? "arm64" : "x64"}-glibc`;
  const { integrity, version } = lock.packages[`node_modules/${name}`];
  await using folder = new Folder();
  const PATH = folder.programs();
  // What npm is asked for, and a package that is another one.
  folder.script("npm", `echo "$@" > ${folder.path}/asked; : > "$4/deno.tgz"`);
  folder.script("tar", `: > ${folder.path}/unpacked`);
  const source = `import { denoBinary } from ${
    JSON.stringify(`${ROOT}firmware/image/deno_binary.ts`)
  };
    await denoBinary("${arch}", "${folder.path}/to").catch((error) => console.log(error.message));`;
  const { out } = await run(
    [Deno.execPath(), "eval", "--config", `${ROOT}deno.json`, source],
    { PATH },
  );
  assertEquals(
    out,
    `Cannot use the package that npm downloaded: its hash must be the lock file's (${name}): saw ` +
      "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGl" +
      `ODJ6+SfaPg==, expected ${integrity}\n`,
  );
  const asked = await Deno.readTextFile(`${folder.path}/asked`);
  assertStringIncludes(asked, `pack ${name}@${version} --pack-destination ${folder.path}/to/npm `);
  assertThrows(() => Deno.statSync(`${folder.path}/unpacked`), Deno.errors.NotFound);
});

Deno.test("a cache that cannot be written is named", async () => {
  // Nobody can make folders there, root included.
  const env = { VIREO_CACHE: "/proc/vireo" };
  const cases = [["demo", ""], ["probe --target devmem", `/shim/${Deno.build.arch}`]] as const;
  for (const [command, folder] of cases) {
    const { code, out, err } = await vireo(command, undefined, env);
    assertEquals([code, out, err], [
      1,
      "",
      `vireo: Cannot write to the folder /proc/vireo${folder}: set VIREO_CACHE to a folder that this ` +
      "user may write to [HOST_ERROR]\n" +
      `  because: No such file or directory (os error 2): mkdir '/proc/vireo${folder}'\n`,
    ]);
  }
});

/** Words before a command that make it an ordinary user's; none if the tests are one's already. */
const AS_USER = Deno.uid() === 0
  ? ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
  : [];

Deno.test("the launcher names what Deno cannot be installed or run without", async () => {
  await using folder = new Folder();
  const PATH = folder.programs(["env"]);
  const checkout = `${folder.path}/checkout`;
  await Deno.mkdir(`${checkout}/tools`, { recursive: true });
  const files = ["vireo", "Makefile", "deno.json", "deno.lock"];
  for (const { name } of Deno.readDirSync(`${ROOT}tools`)) files.push(`tools/${name}`);
  for (const file of files) await Deno.copyFile(`${ROOT}${file}`, `${checkout}/${file}`);
  const launcher = `${checkout}/vireo`;
  const start = async (env: Record<string, string>, before: readonly string[] = []) => {
    const [program, ...args] = [...before, launcher, "rng"];
    const { code, out, err } = await run([program!, ...args], env);
    return [code, out, err];
  };
  const line = (text: string) => [1, "", `vireo: ${text}\n`];
  for (const [program, debian] of [["make", "make"], ["node", "nodejs"], ["npm", "npm"]] as const) {
    assertEquals(await start({ PATH }), line(missing(program, debian)));
    if (program === "make") Deno.symlinkSync(requireProgram("make"), `${PATH}/make`);
    else folder.script(program, "exit 1");
  }
  await Deno.remove(`${PATH}/npm`);
  const made = await run([`${PATH}/make`, "-C", checkout, "setup"], { PATH });
  assertEquals(made.code, 2);
  assertStringIncludes(made.err, `vireo: ${missing("npm", "npm")}\n`);

  const cache = "set DENO_DIR to a folder that this user may write to";
  // A file where a folder must be: nobody can make one there, root included.
  const unwritable: [env: Record<string, string>, folder: string][] = [
    [{ DENO_DIR: launcher }, launcher],
    [{ DENO_DIR: "", XDG_CACHE_HOME: launcher }, `${launcher}/deno`],
    [{ DENO_DIR: "", XDG_CACHE_HOME: "", HOME: launcher }, `${launcher}/.cache/deno`],
  ];
  for (const [env, dir] of unwritable) {
    assertEquals(
      await start({ PATH, ...env }),
      line(`Cannot write to the folder ${dir}: ${cache}`),
    );
  }
  // A checkout of another user's, or one that is read-only.
  await Deno.chmod(folder.path, 0o755);
  await Deno.chmod(checkout, 0o555);
  const own = await Deno.makeTempDir();
  await Deno.chmod(own, 0o777);
  assertEquals(
    await start({ PATH: `${PATH}:${Deno.env.get("PATH")}`, DENO_DIR: own }, AS_USER),
    line(
      `Cannot write to the folder ${checkout}/.tools: run 'make setup' as the user who owns the checkout`,
    ),
  );
  await Deno.remove(own);
  await Deno.chmod(checkout, 0o755);
});

Deno.test("make names what Debian packages cannot be installed without", async () => {
  await using folder = new Folder();
  const PATH = folder.programs(["make", "grep"]);
  const { code, err } = await run([`${PATH}/make`, "-C", ROOT, "packages"], { PATH });
  assertEquals(code, 2);
  assert(err.startsWith(`vireo: ${missing("apt-get", "apt")}\n`), err);
});
