/** A change of one place. */
export interface Mutation {
  readonly path: string;
  /** Line, from 1. */
  readonly line: number;
  /** Code before and after. */
  readonly what: string;
  /** The file's text with the change. */
  readonly text: string;
}

/** Patterns of a line of code, and their replacements; types have none of these with blanks around. */
const OPERATORS: readonly (readonly [found: RegExp, becomes: string])[] = [
  [/ < /g, " <= "],
  [/ <= /g, " < "],
  [/ > /g, " >= "],
  [/ >= /g, " > "],
  [/ === /g, " !== "],
  [/ !== /g, " === "],
  [/ && /g, " || "],
  [/ \|\| /g, " && "],
  [/ \+ 1\b/g, ""],
  [/ - 1\b/g, ""],
  [/ \+ /g, " - "],
  // Not as a type: Promise<true>, true | undefined, (): false.
  [/(?<!<|\): )\btrue\b(?! \| )/g, "false"],
  [/(?<!<|\): )\bfalse\b(?! \| )/g, "true"],
  [/\bMath\.min\b/g, "Math.max"],
  [/\bMath\.max\b/g, "Math.min"],
];
/** A statement on a line of its own that does something and gives nothing: it is left out, but for a field of a class. */
const STATEMENT =
  /^\s+(?:void )?(?:this\.#?|\w+\.)[\w#.!?]+\(.*\);$|^\s+(?:this\.#?\w+|\w+) [-+]?= [^{[]*;$/;
/** Comments, imports and declarations of types, and what a test cannot see: the text of errors. */
const SKIPPED = /^\s*(?:\/?\*|\/\/|import |export (?:interface|type) |readonly |type |`|")/;

/** All changes of a file. */
export function candidates(path: string, text: string): Mutation[] {
  const lines = text.split("\n");
  const found: Mutation[] = [];
  let inClass = false;
  lines.forEach((line, i) => {
    if (/^\w/.test(line)) inClass = /\bclass\b/.test(line);
    if (SKIPPED.test(line)) return;
    const change = (to: string): void => {
      const all = [...lines];
      all[i] = to;
      found.push({
        path,
        line: i + 1,
        what: `${line.trim()} -> ${to.trim() === "" ? "nothing" : to.trim()}`,
        text: all.join("\n"),
      });
    };
    const code = line.replace(/"[^"]*"|`[^`]*`|\/\/.*$/g, (quoted) => "\0".repeat(quoted.length));
    for (const [pattern, becomes] of OPERATORS) {
      for (const { index, 0: old } of code.matchAll(pattern)) {
        change(line.slice(0, index) + becomes + line.slice(index + old.length));
      }
    }
    // The type check sees that a field is gone.
    const isField = inClass && /^ {2}\w/.test(line);
    if (STATEMENT.test(code) && !isField) change("");
  });
  return found;
}
