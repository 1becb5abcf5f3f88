/** A call in a source whose arguments hold a message that people read. */
export interface Message {
  /** The source, from the root. */
  readonly path: string;
  /** `error` is a `VireoError`'s, `fault` what an emulated device holds against its driver. */
  readonly kind: "error" | "fault";
  /** The text as it stands in the source, with `0` for each value that is put in. */
  readonly text: string;
  /** The source of the details, empty where the call has none or passes them on. */
  readonly details: string;
}

/** A reason that is written down before its line is too long for the call. */
const REASON = /\bconst reason =\s*(?=["`])/g;
/** A call whose arguments may hold a message. */
const CALL = /(?:(?<![\w.#])|(?<=[)\]]\s*))([\w.#?]+)\(/g;
const BAD_CALL = /^(?:Range|Type)?Error$/;
/** A `VireoErrorCode`, or a variable that holds one in a call that makes an error. */
const CODE = /^"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*"$/;
const CODE_HELD = /^(?:\w+\.)*\w*[cC]ode\b/;
const MAKER = /(?:[eE]rror|[fF]ail)$/;
const PLACE = /^"\w+"$/;

/** Where the string that begins at an index ends, behind its last quote. */
function endOfString(text: string, start: number): number {
  const quote = text[start];
  let at = start + 1;
  while (at < text.length && text[at] !== quote) {
    if (text[at] === "\\") at++;
    else if (quote === "`" && text.startsWith("${", at)) at = endOfBraces(text, at + 1) - 1;
    at++;
  }
  return at + 1;
}

/** Where the brackets that begin at an index end, behind the last one. */
function endOfBraces(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length;) {
    const char = text[at]!;
    if (`"'\``.includes(char)) {
      at = endOfString(text, at);
      continue;
    }
    if ("([{".includes(char)) depth++;
    else if (")]}".includes(char) && --depth === 0) return at + 1;
    at++;
  }
  return text.length;
}

/** The sources of a call's arguments, by the index of its bracket. */
function argumentsAt(text: string, bracket: number): string[] {
  const end = endOfBraces(text, bracket) - 1;
  const found: string[] = [];
  let start = bracket + 1;
  for (let at = start; at < end;) {
    const char = text[at]!;
    if (`"'\``.includes(char)) at = endOfString(text, at);
    else if ("([{".includes(char)) at = endOfBraces(text, at);
    else {
      if (char === ",") {
        found.push(text.slice(start, at).trim());
        start = at + 1;
      }
      at++;
    }
  }
  const last = text.slice(start, end).trim();
  return last === "" ? found : [...found, last];
}

/** The texts of an expression: one, those that are joined, or each side of a choice. */
function textsOf(expression: string): string[] {
  const found: string[] = [];
  let joined = false;
  for (let at = 0; at < expression.length;) {
    const char = expression[at]!;
    if (`"\``.includes(char)) {
      const end = endOfString(expression, at);
      let text = "";
      for (let i = at + 1; i < end - 1; i++) {
        if (char === "`" && expression.startsWith("${", i)) {
          i = endOfBraces(expression, i + 1) - 1;
          text += "0";
        } else text += expression[i];
      }
      if (joined) found[found.length - 1] += text;
      else found.push(text);
      joined = /^\s*\+\s*["`]/.test(expression.slice(end));
      at = joined ? expression.indexOf("+", end) + 1 : end;
    } else if ("([{".includes(char)) at = endOfBraces(expression, at);
    else at++;
  }
  return found;
}

/** The messages of a source's text, which has no comments. */
export function messagesIn(path: string, code: string): Message[] {
  const found: Message[] = [];
  for (const match of code.matchAll(REASON)) {
    const start = match.index + match[0].length;
    const [text = ""] = textsOf(code.slice(start, code.indexOf(";\n", start)));
    found.push({ path, kind: "fault", text, details: "" });
  }
  for (const match of code.matchAll(CALL)) {
    const [call, name] = match;
    if (BAD_CALL.test(name!)) continue;
    const given = argumentsAt(code, match.index + call.length - 1);
    const kind = /(?:^|[.#])fault$/.test(name!) ? "fault" : "error";
    const [first = ""] = given;
    // What stands before the text: a code, or the part of the device that a fault is in.
    const coded = CODE.test(first) || MAKER.test(name!) && CODE_HELD.test(first);
    const before = (kind === "fault" ? PLACE.test(first) : coded) ? 1 : 0;
    const texts = textsOf(given[before] ?? "");
    if (kind === "error" && before === 0 && !texts[0]?.startsWith("Cannot ")) continue;
    const details = given.slice(before + 1).join(", ");
    for (const text of texts) {
      // A word alone is put into a longer text.
      if (/\S \S/.test(text)) found.push({ path, kind, text, details });
    }
  }
  return found;
}
