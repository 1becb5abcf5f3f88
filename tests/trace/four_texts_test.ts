// The texts of docs/tracing.md that stand side by side: the same ping, read and line on several targets. The guest's is
// compared in tests/guest/matrix_test.ts, which boots such a guest anyway.
import { assert, assertEquals } from "@std/assert";
import { openVireo } from "@vireo/firmware";
import { documented, GUEST, keepLines, shape, useThree } from "./three.ts";

/** The targets of the page that need no guest, as options of a board. */
const TARGETS = {
  "--target emu": { target: "emu" },
  "--target emu --transport pci": { target: "emu", transport: "pci" },
  "--target qtest:aarch64-virt": { target: "qtest:aarch64-virt" },
} as const;

async function trace(board: typeof TARGETS[keyof typeof TARGETS]): Promise<string[]> {
  const lines: string[] = [];
  const options = { trace: keepLines(lines) };
  await using vireo = await openVireo({ ...board, trace: ["ring", "request"] }, options);
  await useThree(vireo);
  return lines.map(shape);
}

/** The requests of all devices in a text. A frame that was sent comes back when the driver next looks, which may be never. */
function requests(lines: readonly string[]): string[] {
  return lines.flatMap((line) => /: ((?:net|blk|console) .*)$/.exec(line)?.[1] ?? [])
    .filter((words) => !words.endsWith(": sent")).toSorted();
}

for (const [title, board] of Object.entries(TARGETS)) {
  Deno.test(`trace: docs/tracing.md shows what ${title} does`, async () => {
    const lines = await trace(board);
    const text = (await documented())[title]!;
    assert(text.length >= 10);
    for (const line of text) assert(lines.includes(line), `no '${line}' in\n${lines.join("\n")}`);
  });
}

Deno.test("trace: the texts of docs/tracing.md have the same requests, in a guest too", async () => {
  const texts = await documented();
  assertEquals(Object.keys(texts), [...Object.keys(TARGETS), GUEST]);
  const [first, ...others] = Object.values(texts).map(requests);
  for (const other of others) assertEquals(other, first);
});
