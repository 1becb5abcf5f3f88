/**
 * Gets and builds the peers, each pinned, in `.cache/peers/`; nothing of theirs is in this repository.
 *
 * @module
 */
import { exec } from "../../firmware/image/exec.ts";
import type { PeerName } from "./works.ts";

const HERE = new URL(".", import.meta.url).pathname;
/** Where peers are built. */
export const PEERS: string = new URL("../../.cache/peers", import.meta.url).pathname;
const V86 = "v86@0.5.462";
const RINGTESTS = ["ring", "virtio_ring_0_9", "virtio_ring_inorder"] as const;
/** By release of Debian; the first that apt knows is taken. */
const LINUX_SOURCES = ["linux-source-6.1", "linux-source-6.12"];

/** A program and its arguments. */
export type Command = readonly [string, ...string[]];

/** Runs a tool where the peers are. */
async function run(program: string, args: readonly string[], cwd = PEERS): Promise<string> {
  return (await exec([program, ...args], { cwd })).trim();
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/**
 * Builds what is not there yet.
 *
 * @returns How each peer that answers lines is started; those of ringtest run once a measurement.
 * @throws {VireoError} `HOST_ERROR` If a program is missing or a build fails.
 */
export async function buildPeers(): Promise<ReadonlyMap<PeerName, Command>> {
  await Deno.mkdir(PEERS, { recursive: true });
  const gcc = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"];
  await run("gcc", [...gcc, "-o", "loop", `${HERE}loop.c`]);
  await run("gcc", [...gcc, "-shared", "-fPIC", "-o", "qtest_loop.so", `${HERE}qtest_loop.c`]);
  await run(
    "cargo",
    ["build", "--quiet", "--release", "--locked", "--target-dir", `${PEERS}/rust`],
    `${HERE}rust`,
  );
  await buildV86();
  await buildRingtest();
  const rust = `${PEERS}/rust/release/vireo-peers`;
  return new Map<PeerName, Command>([
    ["loop.c", [`${PEERS}/loop`]],
    ["loop.ts", [Deno.execPath(), "run", "-A", `${HERE}loop.ts`]],
    ["qtest_loop.c", [Deno.execPath(), "run", "-A", `${HERE}qtest.ts`, `${PEERS}/qtest_loop.so`]],
    ["virtio-drivers", [rust]],
    ["virtio-queue", [rust]],
    ["v86", [Deno.execPath(), "run", "-A", `${HERE}v86.ts`, `${PEERS}/v86_queue.mjs`]],
    ...RINGTESTS.map((name): [PeerName, Command] => [
      `ringtest ${name}`,
      [`${PEERS}/ringtest/tools/virtio/ringtest/${name}`],
    ]),
  ]);
}

/** The readable build of v86 with its queue exported, and without its log and assertions. */
async function buildV86(): Promise<void> {
  if (await exists(`${PEERS}/v86_queue.mjs`)) return;
  const packed = await run("npm", ["pack", "--silent", V86]);
  await run("tar", ["-xzf", packed]);
  const text = await Deno.readTextFile(`${PEERS}/package/build/libv86-debug.mjs`);
  const name = /function (\$VirtQueue\$\$[\w$]*)\(/.exec(text)?.[1];
  if (name === undefined) throw new Error(`Cannot find the queue of ${V86}`);
  const quiet = without(
    without(text, "$dbg_log$$module$src$log$$("),
    "$dbg_assert$$module$src$log$$(",
  );
  await Deno.writeTextFile(
    `${PEERS}/v86_queue.mjs`,
    `${quiet}\nexport { ${name} as VirtQueue };\n`,
  );
}

/** Replaces the calls of a function by 0, with what would have made their arguments. */
function without(text: string, call: string): string {
  let out = "";
  let from = 0;
  for (let at = text.indexOf(call); at >= 0; at = text.indexOf(call, from)) {
    const definition = text.slice(0, at).endsWith("function ");
    const end = definition ? at + call.length : closing(text, at + call.length);
    out += text.slice(from, at) + (definition ? call : "0");
    from = end;
  }
  return out + text.slice(from);
}

/** The place behind the parenthesis that closes one opened before `at`. */
function closing(text: string, at: number): number {
  let quote = "";
  for (let depth = 1; depth > 0; at++) {
    const char = text[at];
    if (char === undefined) throw new Error("Cannot find the end of a call");
    if (quote !== "") {
      if (char === "\\") at++;
      else if (char === quote) quote = "";
    } else if (char === '"' || char === "'" || char === "`") quote = char;
    else if (char === "(") depth++;
    else if (char === ")") depth--;
  }
  return at;
}

async function buildRingtest(): Promise<void> {
  const tests = `${PEERS}/ringtest/tools/virtio/ringtest`;
  if (!await exists(tests)) {
    let found: string | undefined;
    for (const name of LINUX_SOURCES) {
      found ??= await run("apt-get", ["download", name]).then(() => name, () => undefined);
    }
    if (found === undefined) {
      throw new Error(`Cannot download ${LINUX_SOURCES.join(" or ")}: run apt-get update first`);
    }
    await run("sh", ["-c", `dpkg-deb -x ${found}_*.deb linux && rm ${found}_*.deb`]);
    await Deno.mkdir(`${PEERS}/ringtest`, { recursive: true });
    const archive = `../linux/usr/src/${found}.tar.xz`;
    const parts = [`${found}/tools/virtio/ringtest`, `${found}/include/linux/ptr_ring.h`];
    await run("tar", ["-xf", archive, "--strip-components=1", ...parts], `${PEERS}/ringtest`);
    await Deno.remove(`${PEERS}/linux`, { recursive: true });
  }
  await run("make", ["-s", ...RINGTESTS], tests);
}
