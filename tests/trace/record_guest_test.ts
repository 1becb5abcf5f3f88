// Both halves of a recording in a guest, without the guest: the input from the host, and the recording that comes of it.
import { assertEquals } from "@std/assert";
import { RecordReader } from "@vireo/drivers/record";
import { COMMANDS_BY_NAME } from "../../firmware/commands/table.ts";
import { guestMain } from "../../firmware/in_guest/main.ts";
import { guestPlan } from "../../firmware/in_guest/plan.ts";
import type { RecordedProgram } from "../../firmware/record/program.ts";
import { DEFAULT_BOARD } from "../../firmware/target/options.ts";
import { CALL_VARIABLE } from "../../firmware/terminal/environment.ts";
import { vireo } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

const SCRIPT = "export default async (vireo) => console.log((await vireo.rng.read(8)).length);\n";

Deno.test("record: a guest's recording is the host's file, with the script that the guest never saw as one", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  const [path, file] = [`${folder}/script.ts`, `${folder}/guest.vireo`];
  await Deno.writeTextFile(path, SCRIPT);
  const board = { ...DEFAULT_BOARD, target: "qemu:x86_64-microvm", record: file };
  const call = { board, flags: {}, args: [path, []] };
  const plan = await guestPlan("run", COMMANDS_BY_NAME.get("run")!, call);
  assertEquals([plan?.output, plan?.call.script], [file, { path, text: SCRIPT }]);

  // As in the guest, whose board is the emulated one here; the script is moved, because the guest has no such file.
  const moved = `${folder}/bundled.ts`;
  await Deno.rename(path, moved);
  const given = { ...plan!.call, board: { ...board, target: "emu" } };
  Deno.env.set(CALL_VARIABLE, JSON.stringify(given));
  try {
    assertEquals(await guestMain(() => import(`file://${moved}`))([]), 0);
  } finally {
    Deno.env.delete(CALL_VARIABLE);
  }
  const { script } = new RecordReader(await Deno.readFile(file)).header
    .program as RecordedProgram;
  assertEquals(script, { path, text: SCRIPT });
  const replayed = await vireo(`replay ${file}`);
  assertEquals([replayed.code, replayed.out], [0, "8\n"], replayed.err);
});
