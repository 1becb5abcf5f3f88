import { assertEquals } from "@std/assert";
import { table } from "./transcript.ts";

Deno.test("check: each check reads, writes and looks at what it did when it was last looked at", async () => {
  const known = await Deno.readTextFile(new URL("transcript.txt", import.meta.url));
  assertEquals(
    await table(),
    known.trimEnd().split("\n"),
    "Compare the output of `deno run -A tests/check/transcript.ts --check ID` with that before the change, " +
      "and if it is as it should be, write the table again without `--check`",
  );
});
