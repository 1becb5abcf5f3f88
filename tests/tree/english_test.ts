// The rules of plain English in CONTRIBUTING.md that a search can keep without a wrong alarm: bad calls say what
// must be true, comments avoid the forms that English does not have, and docs begin with a part or a verb.
import { assertEquals } from "@std/assert";
import { SOURCES } from "./sources.ts";

const ROOT = new URL("../../", import.meta.url);

/** Phrases that no text needs, and how to say it. */
const PHRASES: readonly (readonly [phrase: RegExp, better: string])[] = [
  [/\banew\b/g, "again"],
  [/(?<!\bconst )\b(?:tells?|told) of\b/g, "reports"],
  [/\bof before\b(?!\))/g, "from before"],
  [/\b(?:is|are|was|were) to be\b/g, "must be"],
  [/\bin vain\b/g, "what happens instead"],
  [/\bwhom\b/g, "the person or the part"],
];

/** Errors of bad calls, whose whole message stands in the source. */
const BAD_CALL = /\bnew (?:Range|Type)Error\(\s*(["`])((?:(?!\1)[^\\]|\\.)*)\1/g;
const FORM = /^Cannot (?:(?!: ).)+: (?!received\b|got\b)/s;

/** Docs that begin with a noun that is none. */
const DOC = /\/\*\*\s+(?:\* )?((?:What|Who)\b[^\n*]*)/g;
/** Comments of whole lines that begin so, behind a line that is none. */
const COMMENT = /(?<!\/\/[^\n]*\n)^[ \t]*\/\/ ((?:What|Who|Whatever|Whoever)\b[^\n]*)/gm;
/** Files whose docs people read: all but the tests themselves. */
const DOCUMENTED = /^(?!.*_test\.ts$)/;

/** A text without line breaks inside comments and between strings that are joined. */
function joined(text: string): string {
  return text.replace(/\n\s*(?:\*(?!\/)|\/\/) ?/g, " ").replace(
    /(["`]) \+\s+(["`])/g,
    (whole, a, b) => a === b ? "" : whole,
  );
}

function phrasesIn(text: string): string[] {
  return PHRASES.flatMap(([phrase, better]) =>
    [...joined(text).matchAll(phrase)].map(([found]) => `'${found}': say '${better}'`)
  );
}

function badCallsIn(text: string): string[] {
  return [...joined(text).matchAll(BAD_CALL)].map(([, , message]) =>
    message!.replace(/\$\{[^}]*\}/g, "0")
  )
    .filter((message) => !FORM.test(message));
}

function docsIn(text: string): string[] {
  return [...text.matchAll(DOC)].map(([, doc]) => doc!);
}

function commentsIn(text: string): string[] {
  return [...text.matchAll(COMMENT)].map(([, comment]) => comment!);
}

/** The findings of a search in all sources but this one. */
function inSources(
  search: (text: string) => readonly string[],
  where: (path: string) => boolean = () => true,
): string[] {
  return SOURCES.filter(({ path }) => path !== "tests/tree/english_test.ts" && where(path)).flatMap(
    ({ path }) =>
      search(Deno.readTextFileSync(new URL(path, ROOT))).map((found) => `${path}: ${found}`),
  );
}

Deno.test("english: the searches find each form, over line ends too, and nothing else", () => {
  assertEquals(
    phrasesIn("// the device tells\n// of it; for (const told of list) {} out.filter(of before)"),
    ["'tells of': say 'reports'"],
  );
  assertEquals(phrasesIn("/** Rings of before. */ // is to be read"), [
    "'of before': say 'from before'",
    "'is to be': say 'must be'",
  ]);
  assertEquals(
    badCallsIn(
      "new RangeError(`Cannot use ${x}`); new TypeError(`Cannot use a size: ` +\n  `received ${x}`);\n" +
        'new RangeError("No port 1"); new RangeError(`Cannot use ${x}: expected ` +\n  `1 to 4`);\n' +
        'new TypeError(why); new VireoError("TIMEOUT", "Late");',
    ),
    ["Cannot use 0", "Cannot use a size: received 0", "No port 1"],
  );
  assertEquals(
    docsIn(
      "/** What it is. */ /**\n * Who asks.\n */ /** Whatever. */ // What for\n/** Its size. */",
    ),
    ["What it is. ", "Who asks."],
  );
  assertEquals(
    commentsIn(
      "// What it is.\n  // Whoever asks\n\n// Says\n// what it is.\n// Who knows\ncall(); // What for\n",
    ),
    ["What it is."],
  );
});

Deno.test("english: no source says what plain English does not", () => {
  assertEquals(inSources(phrasesIn), []);
});

Deno.test("english: an error of a bad call says what cannot be done and what must be true", () => {
  const product = (path: string): boolean =>
    /^(?:hal|drivers|emu|firmware)\/(?!check\/)/.test(path) && !path.endsWith("_test.ts");
  assertEquals(inSources(badCallsIn, product), []);
});

Deno.test("english: comments of the product begin with a verb or a part", () => {
  const product = (path: string): boolean =>
    /^(?:hal|drivers|emu|firmware)\//.test(path) && DOCUMENTED.test(path);
  assertEquals(inSources(commentsIn, product), []);
});

Deno.test("english: docs begin with a verb or a part", () => {
  assertEquals(inSources(docsIn, (path) => DOCUMENTED.test(path)), []);
});
