import { assertEquals, assertStringIncludes } from "@std/assert";
import { moduleCaches } from "../image/mod.ts";
import { qemuCommandLine } from "./boot.ts";
import { findGuestBoard } from "./guest_board.ts";

/** The board of this machine's processor, whose V8 takes what the host's compiled. */
const BOARD = findGuestBoard(
  `${Deno.build.arch}-${Deno.build.arch === "x86_64" ? "microvm" : "virt"}`,
);
const FLAGS = "--no-lazy";

Deno.test("a guest's V8 gets functions compiled before they are called, and the flags to take them", async () => {
  const text = 'export default () => "said in a function";\n';
  const [analysis, code] = await moduleCaches(new Map([["program.js", text]]), BOARD.arch);
  assertEquals([analysis?.path, code?.path], [
    "vireo/deno/dep_analysis_cache_v2",
    "vireo/deno/v8_code_cache_v2",
  ]);
  assertStringIncludes(
    new TextDecoder("latin1").decode((code as { data: Uint8Array }).data),
    "said in a function",
  );
  const words = qemuCommandLine(BOARD, { kernel: "kernel" }, {}, "initramfs.cpio");
  assertStringIncludes(words[words.indexOf("-append") + 1]!, ` DENO_V8_FLAGS=${FLAGS} `);
});

Deno.test("a guest of another processor, whose V8 takes nothing of the host's, compiles what it calls", () => {
  const other = findGuestBoard(BOARD.arch === "x86_64" ? "aarch64-virt" : "x86_64-microvm");
  const line = qemuCommandLine(other, { kernel: "kernel" }, {}, "initramfs.cpio").join(" ");
  assertEquals([line.includes("DENO_V8_FLAGS"), line.includes(" --no-code-cache ")], [false, true]);
});
