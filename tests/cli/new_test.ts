import { assert, assertEquals, assertMatch } from "@std/assert";
import { VIREO } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

/** Runs a command line in a folder; standard output and error are one text. */
async function run(cwd: string, ...words: readonly string[]): Promise<[number, string]> {
  const { code, stdout, stderr } = await new Deno.Command(words[0]!, {
    args: words.slice(1),
    cwd,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return [code, text(stdout) + text(stderr)];
}

async function inFolder(body: (dir: string) => Promise<void>): Promise<void> {
  using folder = new TempFolder();
  const dir = folder.path;
  await body(dir);
}

/** What each kind prints when it is run. */
const KINDS = {
  driver: /^acme_5_driver read 16 bytes\n$/,
  device: /^acme_5_device says vireo\n$/,
  script: /^virtio0: virtio_net\n(virtio.*\n)+acme_5_script read 512 bytes of 16777216\n$/,
} as const;

// Their types are checked in tests/docs/types_test.ts, with those of the pages.
Deno.test("new: what it writes runs, is in order and passes its test", async () => {
  await inFolder(async (dir) => {
    for (const [kind, prints] of Object.entries(KINDS)) {
      const name = `acme_5_${kind}`;
      const [made, said] = await run(dir, VIREO, "new", kind, name);
      assertEquals([made, said.split("\n").slice(0, 3)], [0, [
        `${name}/deno.json`,
        `${name}/${name}.ts`,
        `${name}/${name}_test.ts`,
      ]]);
      for (const file of [`${name}.ts`, `${name}_test.ts`]) {
        const text = await Deno.readTextFile(`${dir}/${name}/${file}`);
        assert(!/my_?(driver|device|script)/i.test(text.replaceAll('"My device"', "")), text);
      }
      // The commands that it says, in the folder where it says so.
      assertEquals(said.split("\n").filter((line) => line.startsWith("  ")), [
        `  ${VIREO} run ${name}/${name}.ts`,
        `  ${VIREO} deno check --config ${name}/deno.json ${name}`,
        `  ${VIREO} deno test -A --config ${name}/deno.json ${name}`,
      ]);
      const [ran, printed] = await run(dir, VIREO, "run", `${name}/${name}.ts`);
      assertEquals(ran, 0, printed);
      assertMatch(printed, prints);
      const config = ["--config", `${name}/deno.json`];
      const test = await run(dir, VIREO, "deno", "test", "-A", "--no-check", ...config, name);
      assertEquals(test[0], 0, test[1]);
      assertMatch(test[1], /ok \| [1-3] passed \| 0 failed/);
      // And from inside of it, as an editor has it.
      for (const words of [["fmt", "--check"], ["lint"]]) {
        const [code, text] = await run(`${dir}/${name}`, VIREO, "deno", ...words);
        assertEquals([words, code], [words, 0], text);
      }
    }
  });
});

Deno.test("new: a wrong kind, name or place is refused, and nothing is written", async () => {
  await inFolder(async (dir) => {
    await Deno.mkdir(`${dir}/there`);
    const cases: [string[], RegExp][] = [
      [["toaster", "a"], /^vireo: new: expected driver, device, script, got 'toaster'\n$/],
      [["driver", "My-Driver"], /expected a name of lower-case letters.*got 'My-Driver'\n$/],
      [["driver", "5th"], /got '5th'\n$/],
      [["driver", ""], /got ''\n$/],
      [["driver", "there"], /^vireo: new: there is a 'there' already\n$/],
      [["driver", "missing/a"], /^vireo: new: no such folder: 'missing\/'\n$/],
    ];
    for (const [words, message] of cases) {
      const [code, text] = await run(dir, VIREO, "new", ...words);
      assertEquals([words, code], [words, 2]);
      assertMatch(text, message);
    }
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["there"]);
  });
});

Deno.test("Vireo is a library for a program in a folder of one's own", async () => {
  await inFolder(async (dir) => {
    await run(dir, VIREO, "new", "script", "mine");
    await Deno.writeTextFile(
      `${dir}/mine/own.ts`,
      `import { openVireo } from "@vireo/firmware";
import { rngDriver } from "@vireo/drivers/rng";

await using vireo = await openVireo({ blk: [], queueSize: 8 });
console.log((await vireo.get(rngDriver).read(4)).length);
`,
    );
    assertEquals(await run(`${dir}/mine`, VIREO, "deno", "run", "-A", "own.ts"), [0, "4\n"]);
    const [exit] = await run(dir, VIREO, "deno", "eval", "Deno.exit(7)");
    assertEquals(exit, 7);
  });
});
