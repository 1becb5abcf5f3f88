import { assertEquals, assertMatch } from "@std/assert";
import { Running, VIREO, vireo } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

/** The output of a running command, line by line. */
async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let text = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    text += part;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

Deno.test("run --watch survives a broken script, watches what it imports, and loads it once a run", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const script = `${dir}/my script.ts`;
  await Deno.writeTextFile(script, "export default () => { let x = ; };\n");
  const child = new Deno.Command(VIREO, {
    args: ["run", "--watch", script, "--mine", "--", "--watch"],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const out = linesOf(child.stdout);
  const err = linesOf(child.stderr);
  const next = async (lines: AsyncGenerator<string>): Promise<string> =>
    String((await lines.next()).value);
  assertMatch(await next(err), /^vireo: run: Cannot load .*Expression expected/);
  await Deno.writeTextFile(
    script,
    `import { part } from "./lib/part.ts";
       console.log("loaded");
       export default ({ args }: { args: string[] }) => console.log(part, ...args);\n`,
  );
  assertEquals(await next(err), `vireo: ${script} changed, running ${script} again`);
  // What it imports is missing, and so is its folder.
  assertMatch(await next(err), /^vireo: run: Cannot load .*Module not found/);
  await Deno.mkdir(`${dir}/lib`);
  assertEquals(await next(err), `vireo: ${dir}/lib changed, running ${script} again`);
  assertMatch(await next(err), /^vireo: run: Cannot load .*Module not found/);
  await Deno.writeTextFile(`${dir}/lib/part.ts`, "export const part = 1;\n");
  assertEquals(await next(err), `vireo: ${dir}/lib/part.ts changed, running ${script} again`);
  assertEquals([await next(out), await next(out)], ["loaded", "1 --mine --watch"]);
  await Deno.writeTextFile(`${dir}/lib/part.ts`, "export const part = 2;\n");
  assertEquals(await next(err), `vireo: ${dir}/lib/part.ts changed, running ${script} again`);
  assertEquals([await next(out), await next(out)], ["loaded", "2 --mine --watch"]);
  child.kill("SIGKILL");
  await child.status;
  await out.return(undefined);
  await err.return(undefined);
});

for (const [signal, exitCode] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test(`run --watch ends at ${signal} with its script, which gets it too`, async () => {
    using folder = new TempFolder();
    const dir = folder.path;
    const script = `${dir}/waits.ts`;
    await Deno.writeTextFile(
      script,
      `console.log(Deno.pid + "\\nwaits");
         export default () => new Promise((resolve) => setTimeout(resolve, 1_000_000));\n`,
    );
    const run = new Running(`run --watch ${script}`);
    await run.line("waits");
    const [pid] = run.text.split("\n");
    run.child.kill(signal);
    // The end of the output is the end of both.
    assertEquals((await run.end()).code, exitCode);
    assertEquals(await Deno.stat(`/proc/${pid}`).catch(() => "gone"), "gone");
  });
}

Deno.test("run --check runs a script only if its types are right", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const path = `${dir}/s.ts`;
  await Deno.writeTextFile(
    path,
    `export default () => { const n: number = "a"; console.log(n); };\n`,
  );
  assertEquals((await vireo(`run ${path}`)).out, "a\n");
  const wrong = await vireo(`run --check ${path}`);
  assertEquals([wrong.code, wrong.out], [2, ""]);
  assertMatch(wrong.err, /TS2322[\s\S]*\nvireo: run: the types of .*s\.ts are wrong\n$/);
  await Deno.writeTextFile(path, `export default () => console.log("right");\n`);
  assertEquals((await vireo(`run --check ${path}`)).out, "right\n");
});
