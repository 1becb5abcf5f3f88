import { assertEquals } from "@std/assert";
import { RngDevice } from "../../devices/rng/mod.ts";
import { VhostUserServer } from "./server.ts";

function openFiles(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

Deno.test("VhostUserServer lets go of its files and its socket at the end", async () => {
  const folder = await Deno.makeTempDir({ prefix: "vireo-" });
  try {
    const serve = async (): Promise<void> => {
      const model = new RngDevice({ random: (into) => void into.fill(1) });
      await using server = new VhostUserServer({ model, path: `${folder}/s.sock` });
      assertEquals(server.connected, false);
      assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["s.sock"]);
    };
    // What the first one loads stays.
    await serve();
    const before = openFiles();
    for (let i = 0; i < 3; i++) await serve();
    assertEquals(openFiles(), before);
    assertEquals([...Deno.readDirSync(folder)], []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
