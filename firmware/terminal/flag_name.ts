/** The parser's name of a flag in commander's syntax: `-o, --output <file>` is `output`. */
export function flagName(flag: string): string {
  const long = /--(?:no-)?([a-z0-9-]+)/.exec(flag)?.[1] ?? flag;
  return long.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
