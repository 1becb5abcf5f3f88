// Runs the examples in the docs of all rooms, in 5 s of a processor. `deno test --doc` loads what an example imports
// for each one again: the 86 of `hal` alone take 12 s. `deno check --doc` checks their types.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { toFileUrl } from "../../firmware/image/paths.ts";
import { ROOMS } from "../run/jobs.ts";
import { type DocExample, docExamples } from "./doc_examples.ts";
import { TempFolder } from "../temp_folder.ts";

const ROOT = new URL("../../", import.meta.url);

function* examplesIn(folder: string): Generator<DocExample> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* examplesIn(path);
    else if (/\.(?:ts|md)$/.test(name)) {
      yield* docExamples(path, Deno.readTextFileSync(new URL(path, ROOT)), ROOT);
    }
  }
}

/** Runs an example as a module of this process, which has loaded most of what it imports before. */
async function run({ name, code }: DocExample): Promise<void> {
  using folder = new TempFolder();
  const dir = folder.path;
  const path = `${dir}/${name.replaceAll("/", "_").replace("#", "_")}.ts`;
  await Deno.writeTextFile(path, code);
  await import(toFileUrl(path));
}

for (const room of ROOMS) {
  const examples = [...examplesIn(room)];
  if (room !== "examples") {
    Deno.test(`doc examples: the docs of ${room} have some`, () => assert(examples.length > 10));
  }
  for (const example of examples) Deno.test(example.name, () => run(example));
}

Deno.test("doc examples: found in doc comments and pages, with their lines, and not where one says ignore", () => {
  const source = `/* \`\`\`ts
no();
\`\`\` */
/** One line. */
class A {
  /**
   * Twice.
   *
   * @example
   * \`\`\`ts
   * first();
   *
   *   indented();
   * \`\`\`
   * \`\`\`ts ignore
   * no();
   * \`\`\`
   * \`\`\`sh
   * no
   * \`\`\`
   * \`\`\`ts
   * last();
   * \`\`\`
   */
  b(): void {}
}
`;
  const found = (path: string, text: string): DocExample[] => docExamples(path, text, ROOT);
  assertEquals(found("a.ts", source), [
    { name: "a.ts#11-13", code: "first();\n\n  indented();\n" },
    { name: "a.ts#22-22", code: "last();\n" },
  ]);
  assertEquals(found("b/a.md", '# A\n\n- one\n  ```ts\n  import a from "./a.ts";\n  ```\n'), [
    { name: "b/a.md#5-5", code: `import a from "${ROOT}b/a.ts";\n` },
  ]);
});

Deno.test("doc examples: one that fails does so with its own error", async () => {
  const code = 'import { assertEquals } from "@std/assert";\nassertEquals(1, 2);\n';
  const error = await assertRejects(() => run({ name: "a/b.ts#1-2", code }), Error);
  assert(/a_b\.ts_1-2\.ts:2/.test(error.stack!), error.stack);
});
