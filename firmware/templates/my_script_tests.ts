import { openVireo } from "@vireo/firmware";
import assert from "node:assert/strict";
import main from "./my_script.ts";

Deno.test("my_script runs on the emulated board", async () => {
  await using vireo = await openVireo({ queueSize: 8 });
  await main(vireo);
  assert.deepEqual(vireo.emulated?.machine.violations(), []);
});
