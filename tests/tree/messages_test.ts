// The form of what a `VireoError` says, and of what an emulated device holds against its driver. CONTRIBUTING.md
// has the rules ("Plain English"); `english_test.ts` holds the errors of bad calls to theirs.
import { assert, assertEquals } from "@std/assert";
import { type Message, messagesIn } from "./_messages.ts";
import { codeOf, SOURCES } from "./sources.ts";

/** What the text of the details must do, or the form it must not have. */
interface Rule {
  readonly says: string;
  readonly breaks: (message: Message) => boolean;
}

/** Details that a message prints: both values, or the error behind it. */
const PRINTED = /\b(?:seen|expected|cause)\b/;
/** Details whose numbers are printed in hex. */
const HEX = /\bregister\b(?![\s\S]*\bbase: 10\b)|\bbase: 16\b/;
/** Details whose numbers stand in the source as they are and whose base is printed by `VireoError`. */
const NUMBERS = /\bseen\b(?!: [`"])(?!: (?:Number|hex|text\b|\w+\.map))/;
const EXPECTED = /\bexpected: (`[^`]*`|"[^"]*")/;
const NEGATIVE = /\b(?:not|no|nor|never|nothing|nobody|none|without|neither)\b|n't\b/;

const ALL: readonly Rule[] = [
  { says: "ends without a stop", breaks: ({ text }) => /[.!?:;,\s]$/.test(text) },
  { says: "quotes by '...' alone", breaks: ({ text }) => /[`"]/.test(text) },
  {
    says: "tells what was seen, not that it was bad",
    breaks: ({ text }) =>
      /\b(?:in)?valid\b|\billegal\b|\bbad\b|\bwrong\b|\bimpossible\b/i.test(text),
  },
  {
    says: "has 'at least' and 'at most' before the number",
    breaks: ({ text, details }) => /\bat (?:least|most)(?:[`"]|$)/m.test(`${text}\n${details}`),
  },
  {
    says: "has 0x before hex",
    // A PCI id and a PCI address have colons instead.
    breaks: ({ details }) => /(?<!0x|[:}])\$\{[^{}]*\.toString\(16\)[^{}]*\}(?!:)/.test(details),
  },
];

const ERRORS: readonly Rule[] = [
  ...ALL,
  {
    says: "begins with a capital letter, or with a name that has none",
    breaks: ({ text }) => !/^(?:[A-Z0-9]|npm |apt )/.test(text),
  },
  {
    says: "says what must be true behind 'Cannot'",
    breaks: ({ text, details }) =>
      text.startsWith("Cannot ") && !text.includes(": ") && !PRINTED.test(details) &&
      // Details that are passed on, or the values alone.
      (details === "" || details.startsWith("{")),
  },
  {
    says: "has no second negative behind 'Cannot'",
    breaks: ({ text }) => NEGATIVE.test(/^Cannot ([^:]*)/.exec(text)?.[1] ?? ""),
  },
  {
    says: "expects counts in decimal where it prints decimals, and hex where it prints hex",
    breaks: ({ details }) => {
      const expected = EXPECTED.exec(details)?.[1];
      if (expected === undefined || !NUMBERS.test(details)) return false;
      if (!HEX.test(details)) return /0x|\bhex\(/.test(expected);
      return /\$\{/.test(expected) && !/0x\$\{|\bhex\(/.test(expected);
    },
  },
];

const FAULTS: readonly Rule[] = [
  ...ALL,
  {
    says: "goes on behind the place, so begins with a small letter or a name of the specification",
    breaks: ({ text }) => !/^(?:[a-z0-9]|[A-Z][A-Z0-9])/.test(text),
  },
];

/** What each message breaks. */
function broken(messages: readonly Message[]): string[] {
  return messages.flatMap((message) =>
    (message.kind === "error" ? ERRORS : FAULTS).filter((rule) => rule.breaks(message)).map((
      rule,
    ) => `${message.path}: '${message.text}' ${rule.says}`)
  );
}

function rulesBroken(code: string): string[] {
  return broken(messagesIn("a.ts", code)).map((line) => line.replace(/^a\.ts: '.*?' /s, ""));
}

Deno.test("messages: the scan reads each kind of call, over lines, joins, choices and values", () => {
  const texts = (code: string): string[] =>
    messagesIn("a.ts", code).map(({ kind, text, details }) => `${kind}|${text}|${details}`);
  assertEquals(
    texts(
      'new VireoError("TIMEOUT", `Late ${f(`${a}`, "b")}` +\n  " again", { seen });' +
        'this.#error(code, late ? "Late word" : `Early ${by}`);' +
        '(x as Y)\n  .fault(\n    `short: ${n}`, "drv.x.1");' +
        'this.#fault("ring", "made twice", place); refuse("Cannot go on", { seen: ")" });' +
        'new VireoError("IO_ERROR", what); new RangeError("Cannot use 1: expected 2"); has("FEATURE"); f(code, "a b");',
    ),
    [
      "error|Late 0 again|{ seen }",
      "error|Late word|",
      "error|Early 0|",
      'fault|short: 0|"drv.x.1"',
      "fault|made twice|place",
      'error|Cannot go on|{ seen: ")" }',
    ],
  );
});

Deno.test("messages: each rule finds what it forbids, and nothing else", () => {
  const error = (text: string, details = "{ seen }"): string[] =>
    rulesBroken(`new VireoError("IO_ERROR", ${text}, ${details})`);
  assertEquals(error('"Cannot read"'), []);
  assertEquals(error('"Cannot read."'), ["ends without a stop"]);
  assertEquals(error('"Cannot read `reg`"'), ["quotes by '...' alone"]);
  assertEquals(error('"Status is invalid"'), ["tells what was seen, not that it was bad"]);
  assertEquals(error('"Short answer"', "{ seen, expected: `${n} at least` }"), [
    "has 'at least' and 'at most' before the number",
  ]);
  assertEquals(error('"Short answer"', "{ seen: `${n.toString(16)}` }"), ["has 0x before hex"]);
  assertEquals(error('"Short answer"', "{ seen: `${v.toString(16)}:${d.toString(16)}` }"), []);
  assertEquals(error('"device is gone"'), [
    "begins with a capital letter, or with a name that has none",
  ]);
  assertEquals(error('"Cannot read"', "{ device }"), ["says what must be true behind 'Cannot'"]);
  assertEquals(error('"Cannot read: it is closed"', "{ device }"), []);
  assertEquals(error('"Cannot read what is not there"'), [
    "has no second negative behind 'Cannot'",
  ]);
  const base = "expects counts in decimal where it prints decimals, and hex where it prints hex";
  assertEquals(error('"Short answer"', "{ register, seen, expected: `at most ${n} bytes` }"), [
    base,
  ]);
  assertEquals(
    error('"Short answer"', "{ register, seen, base: 10, expected: `at most ${n}` }"),
    [],
  );
  assertEquals(error('"Short answer"', "{ seen, expected: `at most ${hex(n)}` }"), [base]);
  assertEquals(error('"Short answer"', "{ seen, base: 16, expected: `at most ${hex(n)}` }"), []);
  assertEquals(rulesBroken('x.fault("Request of 3 bytes"); x.fault("SCSI request of 3 bytes")'), [
    "goes on behind the place, so begins with a small letter or a name of the specification",
  ]);
});

Deno.test("messages: every message of the product has the form", () => {
  const messages = SOURCES.filter(({ path }) =>
    /^(?:hal|drivers|emu|firmware)\//.test(path) && !path.endsWith("_test.ts")
  ).flatMap((source) => messagesIn(source.path, codeOf(source)));
  assert(messages.length > 300, `The scan found ${messages.length} messages`);
  assertEquals(broken(messages), []);
});
