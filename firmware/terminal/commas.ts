import { isThere } from "./environment.ts";

/**
 * Splits at single commas; a double comma is a comma, as on QEMU's command line.
 *
 * @example
 * ```ts ignore
 * splitCommas("a,,b.img,ro"); // ["a,b.img", "ro"]
 * ```
 */
export function splitCommas(text: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ",") part += text[i];
    else if (text[i + 1] === ",") part += text[++i];
    else {
      parts.push(part);
      part = "";
    }
  }
  return [...parts, part];
}

/** Doubles commas, as QEMU's option parser wants them in a value. */
export function doubleCommas(text: string): string {
  return text.replaceAll(",", ",,");
}

/** A name of the host, and the words behind it. */
interface NameAndWords {
  /** The name; empty if there is none. */
  readonly name: string;
  /** The words. */
  readonly words: readonly string[];
}

/**
 * Takes `NAME[,word]...` apart. A comma in the name is written twice; or as it is, if what is before the words at the end
 * is the name of something that is there.
 *
 * @param isWord Whether a part can be a word.
 */
export function nameAndWords(text: string, isWord: (part: string) => boolean): NameAndWords {
  const [name = "", ...words] = splitCommas(text);
  if (words.every(isWord)) return { name, words };
  const parts = text.split(",");
  const last = parts.findLastIndex((part) => !isWord(part));
  const whole = parts.slice(0, last + 1).join(",");
  return isThere(whole) ? { name: whole, words: parts.slice(last + 1) } : { name, words };
}
