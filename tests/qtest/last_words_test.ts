import { assert } from "@std/assert";
import { vireo } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

Deno.test("qtest: an error has what QEMU said last, however much it said before", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  const qemu = `${folder}/qemu`;
  const version = `[ "$1" = --version ] && echo "QEMU emulator version 7.2.0" && exit 0`;
  const loop = `for i in $(seq 400); do echo "line $i of what nobody reads" >&2; done`;
  await Deno.writeTextFile(
    qemu,
    `#!/bin/sh\n${version}\n${loop}\necho "the last words" >&2\nexit 1\n`,
  );
  await Deno.chmod(qemu, 0o755);
  const { code, err } = await vireo(`probe --target qtest:aarch64-virt --qemu ${qemu}`);
  assert(code !== 0);
  assert(err.includes("the last words"), err);
  assert(!err.includes("line 1 of"), "not more than 4 KiB");
  assert(/saw line \d+ of what nobody reads\n/.test(err), "whole lines");
});
