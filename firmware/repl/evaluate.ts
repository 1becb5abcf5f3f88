import { stripTypeScriptTypes } from "node:module";

/** Result of {@linkcode evaluate} for a text. */
type Evaluation =
  /** More lines are needed. */
  | { readonly kind: "incomplete" }
  /** It runs; the completion value is in an object, because it may be a promise itself. */
  | { readonly kind: "running"; readonly done: Promise<{ readonly value?: unknown }> };

type AsyncBody = (
  keep: (made: object) => void,
) => Promise<{ readonly value?: unknown } | undefined>;
const AsyncFunction = (async () => {}).constructor as new (...parts: string[]) => AsyncBody;

/** The name under which a text hands its declarations out. */
const KEEP = "__vireo_keep";
/** Words that stand where a name may, and what only looks like one. */
const NAME = /[\p{ID_Start}$_][\p{ID_Continue}$]*/gu;
/** Where a statement may end: the completion value's expression begins behind one of these. */
const BOUNDARY = /[;\n}]/g;

/**
 * Starts to evaluate TypeScript, as a REPL does: `await` at the top level, declarations stay, and may be made
 * again. What is declared becomes a property of the global object.
 *
 * The engine's own parser answers what has to be known of a text, so that none is shipped: a name is
 * declared by it if declaring it once more is an error; its last expression is what parses behind `=`.
 *
 * @throws {SyntaxError} If the text is wrong.
 */
export function evaluate(text: string): Evaluation {
  const code = plain(importing(text));
  if (code === undefined) return { kind: "incomplete" };
  const names = declared(code);
  const keep = names.length === 0 ? "" : `;${KEEP}({${names.join(",")}})`;
  const run = new AsyncFunction(KEEP, completed(code, names, keep));
  const done = run((made) => void Object.assign(globalThis, made)).then((end) => end ?? {});
  return { kind: "running", done };
}

/** An import at the start of a line: what it takes, and from where. */
const IMPORT = /^[ \t]*import\s+(?:([^"';]+?)\s+from\s+)?(["'])([^"'\n]+)\2[ \t]*;?/gm;

/** The text with its imports made at run time, as only a module may have others. */
function importing(text: string): string {
  return text.replace(IMPORT, (whole, what: string | undefined, _, from: string) => {
    const call = `await import(${JSON.stringify(from)});`;
    if (what === undefined) return `void ${call}`;
    if (/^type\s/.test(what)) return "";
    const [, first, rest = ""] = /^([\p{ID_Start}$_][\p{ID_Continue}$]*)?\s*,?\s*(.*)$/su.exec(
      what,
    )!;
    const all = /^\*\s*as\s+(\S+)$/.exec(rest)?.[1];
    const named = /^\{(.*)\}$/s.exec(rest)?.[1];
    if (all === undefined && named === undefined && (first === undefined || rest !== "")) {
      return whole;
    }
    const parts = [
      ...first === undefined ? [] : [`default: ${first}`],
      ...(named ?? "").split(",").map((part) => part.trim())
        .filter((part) => part !== "" && !/^type\s/.test(part))
        .map((part) => part.replace(/\s+as\s+/, ": ")),
    ];
    const names = parts.length === 0 ? "" : `const { ${parts.join(", ")} } = ${call}`;
    return `${all === undefined ? "" : `const ${all} = ${call} `}${names || (all ? "" : call)}`;
  });
}

/** The text as JavaScript; undefined if its end is missing. */
function plain(text: string): string | undefined {
  if (parses(text)) return text;
  if (isOpen(text)) return undefined;
  let code = text;
  try {
    code = stripTypeScriptTypes(text);
  } catch {
    // The engine says better what is wrong.
  }
  new AsyncFunction(code);
  return code;
}

function parses(code: string): boolean {
  try {
    new AsyncFunction(code);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/** The names that a text declares at its top level. */
function declared(code: string): string[] {
  const names = new Set(code.match(NAME) ?? []);
  // A word of the language cannot be declared at all; a name, only once.
  return [...names].filter((name) => parses(`let ${name}`) && !parses(`${code}\n;let ${name}`));
}

/** The text with its last expression returned; its declarations are kept before that. */
function completed(code: string, names: readonly string[], keep: string): string {
  const trimmed = code.replace(/[\s;]+$/, "");
  const starts = [0, ...Array.from(trimmed.matchAll(BOUNDARY), ({ index }) => index + 1)];
  for (const start of starts) {
    const head = trimmed.slice(0, start);
    const expression = trimmed.slice(start);
    const whole =
      `${head};const ${KEEP}_value = (${expression}\n)${keep}\n;return { value: ${KEEP}_value }`;
    if (expression.trim() === "" || !parses(head) || !parses(whole)) continue;
    // A function or a class that stands alone is a declaration: as a value it would not be declared.
    if (names.every((name) => !parses(`${head}\n;let ${name}`))) return whole;
  }
  return `${code}\n${keep}`;
}

/** Whether a text ends inside of brackets, a template or a comment. */
function isOpen(text: string): boolean {
  const open: string[] = [];
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    const inside = open.at(-1);
    if (inside === "`") {
      if (c === "\\") i++;
      else if (c === "`") open.pop();
      else if (c === "$" && text[i + 1] === "{") {
        open.push("{");
        i++;
      }
    } else if (c === "`" || "([{".includes(c)) open.push(c);
    else if (")]}".includes(c)) open.pop();
    else if (c === '"' || c === "'") i = skipString(text, i);
    else if (c === "/" && text[i + 1] === "/") i = lineEnd(text, i);
    else if (c === "/" && text[i + 1] === "*") {
      const end = text.indexOf("*/", i + 2);
      if (end < 0) return true;
      i = end + 1;
    }
  }
  return open.length > 0;
}

function skipString(text: string, start: number): number {
  const end = lineEnd(text, start);
  for (let i = start + 1; i < end; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === text[start]) return i;
  }
  return end;
}

function lineEnd(text: string, start: number): number {
  const end = text.indexOf("\n", start);
  return end < 0 ? text.length : end;
}
