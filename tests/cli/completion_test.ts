import { assert, assertEquals } from "@std/assert";
import { VIREO } from "../cli_helper.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

/** What bash offers for lines, with the script read twice as README shows, by a user who types `./vireo`. */
async function offered(...lines: string[]): Promise<string[][]> {
  const script = `
    set -eu
    source <(./vireo complete bash)
    source <(./vireo complete bash)
    complete -p vireo
    while IFS= read -r COMP_LINE; do
      COMP_POINT=\${#COMP_LINE} COMP_WORDBREAKS=$' \\t\\n"><=;|&(:'
      __vireo_complete
      printf '%s|' "\${COMPREPLY[@]:-}"; echo
    done`;
  const child = new Deno.Command("bash", {
    args: ["-c", script],
    cwd: ROOT,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
  await writer.close();
  const { stdout, stderr } = await child.output();
  assertEquals(new TextDecoder().decode(stderr), "");
  const [registered, ...rows] = new TextDecoder().decode(stdout).trimEnd().split("\n");
  assertEquals(registered, "complete -F __vireo_complete vireo");
  return rows.map((row) => row.split("|").filter((word) => word !== ""));
}

Deno.test("bash completes commands, options, values and files of ./vireo, also when sourced twice", async () => {
  const [command, option, target, joined, board, device, choice, file, disk, zones] = await offered(
    "./vireo blk re",
    "./vireo blk read --ha",
    "./vireo probe --target q",
    "./vireo probe --target=qtest:aarch64-virt-",
    "./vireo probe --target qtest:ri",
    "./vireo probe --with ba",
    "./vireo rng --format ",
    "./vireo run examples/pi",
    "./vireo blk info --blk REA",
    "./vireo blk zones --blk-zoned host-m",
  );
  assertEquals([command, option], [["read"], ["--hash"]]);
  assert(target!.includes("qtest:aarch64-virt") && target!.includes("qemu:x86_64-microvm"));
  // readline has taken the word apart at : and =, and gets its last part.
  assertEquals([joined, board], [["aarch64-virt-pci"], ["riscv64-virt", "riscv64-virt-pci"]]);
  assertEquals([device, choice], [["balloon"], ["hex", "raw"]]);
  assertEquals([file, disk, zones], [["examples/ping.ts"], ["README.md"], ["host-managed"]]);
});

Deno.test("bash completes record as the command that it records, and replay with its recording", async () => {
  const [record, replay, recorded, option, output, recording, test] = await offered(
    "./vireo rec",
    "./vireo repl",
    "./vireo record blk re",
    "./vireo record -o x.vireo blk read --ha",
    "./vireo record run examples/ping.ts -o READ",
    "./vireo replay READ",
    "./vireo replay --to",
  );
  assertEquals([record, replay, recorded], [["record"], ["replay"], ["read"]]);
  assertEquals([option, output, recording], [["--hash"], ["README.md"], ["README.md"]]);
  assertEquals(test, ["--to-test"]);
  const args = ["complete", "--", "probe", "--target", "repl"];
  const { stdout } = await new Deno.Command(VIREO, { args }).output();
  assert(new TextDecoder().decode(stdout).startsWith("replay:"));
});

Deno.test("other shells' scripts ask the launcher by its path", async () => {
  for (const shell of ["fish", "zsh", "powershell"]) {
    const { code, stdout } = await new Deno.Command(VIREO, { args: ["complete", shell] }).output();
    assertEquals([shell, code], [shell, 0]);
    assert(new TextDecoder().decode(stdout).includes(`${VIREO} complete`), shell);
  }
});
