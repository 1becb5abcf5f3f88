/** Escape sequences that set a colour on a terminal. */
const COLOR = /\p{Cc}\[[\d;]*m/gu;

/**
 * Makes one line of what Deno says of a module that it cannot load: what is wrong, and where.
 *
 * @param text Deno's message, perhaps with colours, a piece of the source, and hints.
 */
export function moduleMistake(text: string): string {
  const lines = text.replaceAll(COLOR, "").split("\n").map((line) => line.trim());
  const place = /^at file:\/\/(.*)$/.exec(lines.find((line) => /^at file:/.test(line)) ?? "")?.[1];
  // Deno's bundler has words of its own around those of the message.
  const what = lines.map((line) => line.replace(/^(exit code \d+|error: )/, "").trim())
    .find((line) => line !== "") ?? "";
  return `${what.replace(/\.$/, "").replace(/ at file:\/\/(\S+)$/, ", at $1")}${
    place === undefined ? "" : `, at ${decodeURI(place)}`
  }`;
}
