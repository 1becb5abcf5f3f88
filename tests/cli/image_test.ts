import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import type { ImageManifest } from "../../firmware/image/mod.ts";
import { GUEST_LIMIT, VIREO } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

/** Where images are kept between runs. */
const CACHE = new URL("../../.cache/guest/", import.meta.url).pathname;
/** Programs that fetch or build; the second start needs none of them. */
const BUILDERS = [
  ...["apt-get", "apt-cache", "apt-helper", "dpkg-deb", "npm", "curl", "wget"],
  ...["gcc", "cc", "x86_64-linux-gnu-gcc", "aarch64-linux-gnu-gcc"],
];

async function makeImage(arch: string, dir: string, path = Deno.env.get("PATH")!): Promise<void> {
  const { code, stdout, stderr } = await new Deno.Command(VIREO, {
    args: ["image", "--arch", arch, "-o", dir, "--json"],
    env: { PATH: path },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
  const { files, target } = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(files, ["kernel", "initramfs.cpio", "manifest.json", "boot.sh", "board/vireo"]);
  assertMatch(target, new RegExp(`^qemu:${arch}`));
}

function entry(data: Uint8Array): { size: number; sha256: string } {
  return { size: data.length, sha256: createHash("sha256").update(data).digest("hex") };
}

/** The files of an initramfs, which is one archive behind another (Linux's buffer-format.rst). */
function* unpack(bytes: Uint8Array): Generator<[path: string, data: Uint8Array]> {
  const text = (from: number, to: number): string =>
    new TextDecoder().decode(bytes.subarray(from, to));
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] === 0) {
      at += 4;
      continue;
    }
    assertEquals(text(at, at + 6), "070701");
    const field = (n: number): number => parseInt(text(at + 6 + n * 8, at + 14 + n * 8), 16);
    const path = text(at + 110, at + 110 + field(11) - 1);
    const start = (at + 110 + field(11) + 3) & ~3;
    const isFile = (field(1) & 0o170000) === 0o100000;
    if (isFile) yield [path, bytes.subarray(start, start + field(6))];
    at = (start + field(6) + 3) & ~3;
  }
}

for (const arch of ["x86_64", "aarch64"]) {
  const boots = arch === Deno.build.arch ? ", and boots by itself" : "";
  Deno.test(`image of ${arch} records what is in it, does no work twice${boots}`, {
    timeout: GUEST_LIMIT,
  }, async () => {
    using folder = new TempFolder();
    const dir = folder.path;
    await makeImage(arch, `${dir}/out`);
    await checkManifest(`${dir}/out`);
    const before = await Deno.stat(`${CACHE}${arch}/initramfs.cpio`);
    await makeImage(arch, `${dir}/out`, await withoutBuilders(dir));
    const after = await Deno.stat(`${CACHE}${arch}/initramfs.cpio`);
    assertEquals([after.mtime, after.ino], [before.mtime, before.ino]);
    assertEquals(await Deno.readTextFile(`${dir}/called`).catch(() => "nothing"), "nothing");
    await checkMissing(`${dir}/out`);
    if (boots === "") return;
    await checkBoot(`${dir}/out/boot.sh`);
    await checkBoard(`${dir}/out/board/vireo`);
  });
}

async function checkManifest(dir: string): Promise<void> {
  const manifest: ImageManifest = JSON.parse(await Deno.readTextFile(`${dir}/manifest.json`));
  assertEquals(manifest.deno, Deno.version.deno);
  assertEquals(
    manifest.packages.map(({ name }) => name.replace(/-\d.*-cloud/, "-cloud")).sort(),
    [
      "libc6",
      "libgcc-s1",
      manifest.arch === "x86_64" ? "linux-image-cloud-amd64" : "linux-image-cloud-arm64",
    ],
  );
  for (const { version, sha256 } of manifest.packages) {
    assertMatch(version, /^\d/);
    assertMatch(sha256, /^[0-9a-f]{64}$/);
  }
  const initramfs = await Deno.readFile(`${dir}/initramfs.cpio`);
  const found: ImageManifest["files"] = {
    kernel: entry(await Deno.readFile(`${dir}/kernel`)),
    "initramfs.cpio": entry(initramfs),
    ...Object.fromEntries(Array.from(unpack(initramfs), ([path, data]) => [path, entry(data)])),
  };
  assertEquals(found, manifest.files);
  assert("vireo/program.js" in found && "bin/deno" in found);
}

/** A search path on which whatever fetches or builds says so and fails. */
async function withoutBuilders(dir: string): Promise<string> {
  await Deno.mkdir(`${dir}/bin`);
  for (const name of BUILDERS) {
    await Deno.writeTextFile(
      `${dir}/bin/${name}`,
      `#!/bin/sh\necho ${name} >>${dir}/called\nexit 1\n`,
    );
    await Deno.chmod(`${dir}/bin/${name}`, 0o755);
  }
  return `${dir}/bin:${Deno.env.get("PATH")}`;
}

/** Runs the bundle that is for other boards' Linux, on this machine. */
async function checkBoard(program: string): Promise<void> {
  const run = async (args: string[]): Promise<{ code: number; out: string; err: string }> => {
    const { code, stdout, stderr } = await new Deno.Command(program, {
      args,
      env: { DENO: Deno.execPath() },
      stdout: "piped",
      stderr: "piped",
    }).output();
    const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), err: text(stderr) };
  };
  const probe = await run(["probe", "--json"]);
  assertEquals([probe.code, probe.err], [0, ""]);
  assertEquals(JSON.parse(probe.out).devices.length, 4);
  // This machine may have no such device, but the bundle gets as far as it goes without one.
  const wrong = await run(["probe", "--target", "devmem", "--mmio", "0,0,0"]);
  assertEquals(wrong.code, 1);
  assertMatch(wrong.err, /--mmio.*expected BASE,SIZE,COUNT/);
}

/** The scripts name the program that they start and that is not there. */
async function checkMissing(dir: string): Promise<void> {
  const PATH = `${dir}/bin`;
  await Deno.mkdir(PATH);
  await Deno.symlink("/usr/bin/dirname", `${PATH}/dirname`);
  const cases = [
    [
      `${dir}/boot.sh`,
      /^boot\.sh: Cannot run (qemu-system-\w+): .*; \1 is in Debian's package .*\n$/,
    ],
    [
      `${dir}/board/vireo`,
      /^vireo: Cannot run deno: no folder of PATH has it; set DENO to Deno .*\n$/,
    ],
  ] as const;
  for (const [program, line] of cases) {
    const { code, stderr } = await new Deno.Command(program, { env: { PATH } }).output();
    assertEquals(code, 1);
    assertMatch(new TextDecoder().decode(stderr), line);
  }
  await Deno.remove(PATH, { recursive: true });
}

/** Milliseconds that a boot, or an answer of the REPL, may take on a loaded machine. */
const BOOT_DEADLINE = 120_000;

async function checkBoot(script: string): Promise<void> {
  const child = new Deno.Command(script, { stdin: "piped", stdout: "piped" }).spawn();
  const keys = child.stdin.getWriter();
  const screen = child.stdout.getReader();
  let text = "";
  let ended = false;
  /** What is on the screen up to a text, or to the end. */
  const seen = async (wanted?: string): Promise<string> => {
    const late = Promise.withResolvers<never>();
    const what = wanted === undefined ? "end" : `'${wanted}'`;
    const timer = setTimeout(() => {
      late.reject(new Error(`No ${what} within ${BOOT_DEADLINE} ms: ${JSON.stringify(text)}`));
    }, BOOT_DEADLINE);
    using _ = { [Symbol.dispose]: () => clearTimeout(timer) };
    for (;;) {
      const at = wanted === undefined ? -1 : text.indexOf(wanted);
      if (at >= 0) {
        const before = text.slice(0, at);
        text = text.slice(at + wanted!.length);
        return before;
      }
      const { value, done } = await Promise.race([screen.read(), late.promise]);
      if (done && wanted === undefined) return text;
      assert(!done, `It ended before ${what}: ${text}`);
      text += new TextDecoder().decode(value);
    }
  };
  const type = (line: string): Promise<void> => keys.write(new TextEncoder().encode(line));
  try {
    assertStringIncludes(await seen("> "), "In scope: vireo, bus");
    await type("`${(await rng.read(8)).length} of ${bus.devices.length}`\r");
    await seen("8 of 4");
    // Between its prompts Deno's REPL leaves the line cooked, which swallows the key.
    await seen("> ");
    await type("\x04");
    await seen();
    const { code } = await child.status;
    ended = true;
    assertEquals(code, 0);
  } finally {
    await keys.close().catch(() => {});
    if (!ended) child.kill("SIGKILL");
    await child.status;
    await screen.cancel();
  }
}
