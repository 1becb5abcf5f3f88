/**
 * The script whose output plain_test.ts has a terminal or a pipe show: command lines, one after the other in one process, each between
 * a line with its words and one with its exit code. Argument: a file with the command lines.
 */
import { main } from "../../firmware/main.ts";

for (const line of (await Deno.readTextFile(Deno.args[0]!)).split("\n")) {
  console.log(`begin ${line}`);
  console.log(`\nend ${await main(line.split(" "))}`);
}
Deno.exit();
