// The texts of docs/tracing.md that stand side by side: the same ping, read and line on several targets.
import { assert, assertEquals } from "@std/assert";
import { openVireo } from "@vireo/firmware";
import { ping } from "@vireo/firmware/ip";
import { traceLine } from "@vireo/firmware/trace";
import type { TraceEvent } from "@vireo/hal";

/** The targets of the page that need no guest, as options of a board. */
const TARGETS = {
  "--target emu": { target: "emu" },
  "--target emu --transport pci": { target: "emu", transport: "pci" },
  "--target qtest:aarch64-virt": { target: "qtest:aarch64-virt" },
} as const;
const GUEST = "--target qemu:aarch64-virt";
const SOON = { deadline: 10_000 };

/** A line without what differs from run to run, and between targets: times, the device's number, tokens, addresses. */
function shape(line: string): string {
  return line.replace(/^\S+ virtio\d /, "").replaceAll(/0x[0-9a-f]+/g, "AT")
    .replace(/(add|used) \d+/, "$1 TOKEN").replace(/after [\d.]+ ms/, "after T");
}

/** The texts of the page by their titles. */
async function documented(): Promise<Record<string, string[]>> {
  const page = await Deno.readTextFile(new URL("../../docs/tracing.md", import.meta.url));
  const sections = page.matchAll(/^### `(.*)`\n\n```text\n([^`]*)\n```$/gm);
  return Object.fromEntries(
    [...sections].map(([, title, text]) => [title!, text!.split("\n").map(shape)]),
  );
}

async function trace(board: typeof TARGETS[keyof typeof TARGETS]): Promise<string[]> {
  const lines: string[] = [];
  const sink = (event: TraceEvent): number => lines.push(shape(traceLine(event)));
  await using vireo = await openVireo({ ...board, trace: ["ring", "request"] }, { trace: sink });
  await ping(vireo.net, { source: "10.0.2.15", target: "10.0.2.2", count: 1, ...SOON });
  await vireo.blk.read(0, 4096, SOON);
  using port = (await vireo.console.port("echo", SOON)).open();
  await port.writeText("hello\n", SOON);
  await port.read(SOON);
  return lines;
}

/**
 * The requests of all devices in a text. The line that was sent in the guest had no end; a frame that was sent comes
 * back when the driver next looks, which may be never.
 */
function requests(lines: readonly string[]): string[] {
  return lines.flatMap((line) => /: ((?:net|blk|console) .*)$/.exec(line)?.[1] ?? [])
    .filter((words) => !words.endsWith(": sent")).map((words) =>
      words.replace(/console [56] bytes/, "console line")
    ).toSorted();
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
