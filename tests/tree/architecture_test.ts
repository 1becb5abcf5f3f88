import { assert, assertEquals } from "@std/assert";
import { ARROWS } from "./sources.ts";

const ROOT = new URL("../../", import.meta.url);
/** A path of this repository in backquotes; Linux's paths are marked as such. */
const NAMED =
  /(?<!Linux's )`((?:hal|drivers|emu|firmware|examples|tests|tools|types|bench|docs)\/[\w./-]*)`/g;
const TEXT = Deno.readTextFileSync(new URL("ARCHITECTURE.md", ROOT));

Deno.test("architecture: the picture has every arrow of the table, and no other", () => {
  const picture = /```mermaid\n(.*?)```/s.exec(TEXT)?.[1] ?? "";
  const rooms = [...picture.matchAll(/^ {2}(\w+)\["/gm)].map(([, room]) => room!);
  assertEquals(rooms.sort(), Object.keys(ARROWS).sort());
  const drawn = Object.fromEntries(rooms.map((room) => [room, [] as string[]]));
  for (const [, from, to] of picture.matchAll(/^ {2}(\w+) --> (.*)$/gm)) {
    drawn[from!]!.push(...to!.split(" & "));
  }
  assertEquals(drawn, Object.fromEntries(Object.entries(ARROWS).map(([r, to]) => [r, [...to]])));
});

Deno.test("architecture: each question is answered by a file that declares the name", () => {
  const rows = [...TEXT.matchAll(/^\| [^|]+\? \| `([^`]+)` \| `(\w+)` \|$/gm)];
  assert(rows.length >= 10, `${rows.length} rows`);
  for (const [, file, name] of rows) {
    const declared = new RegExp(
      `^(?:export )?(?:async )?(?:function|class|const) ${name}\\b|^  ${name}\\(`,
      "m",
    );
    assert(declared.test(Deno.readTextFileSync(new URL(file!, ROOT))), `${file} lacks ${name}`);
  }
});

Deno.test("architecture: the documents name only files and folders that exist", () => {
  const missing: string[] = [];
  for (const document of ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"]) {
    const text = Deno.readTextFileSync(new URL(document, ROOT));
    const names = text.matchAll(NAMED);
    for (const [, name] of names) {
      try {
        Deno.statSync(new URL(name!, ROOT));
      } catch {
        if (!/NAME/.test(name!)) missing.push(`${document}: ${name}`);
      }
    }
  }
  assertEquals(missing, []);
});
