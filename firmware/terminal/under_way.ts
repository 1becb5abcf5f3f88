/** Start of a line of the kernel's console that says what is under way. */
const WORDS = "vireo is at ";

/** A line for `/dev/kmsg`: of the level that a quiet kernel prints, too. */
export function underWay(what: string): string {
  return `<0>${WORDS}${what}\n`;
}

/** A console's text without the lines that say what is under way, and the last of these. */
export function takeUnderWay(
  console: string,
): { readonly text: string; readonly last: string | undefined } {
  let last: string | undefined;
  const lines = console.split("\n").filter((line) => {
    const [, what] = line.split(WORDS);
    if (what !== undefined) last = what.trim();
    return what === undefined;
  });
  return { text: lines.join("\n"), last };
}
