const FULL = /\b(drv|dev)\.([a-z0-9-]+)\.([a-z0-9-]*[a-z])\.(\d+)/g;
const RANGE = /^(?:-| to )\.?(\d+)/;
const SAME_SECTION = /^(?:, and |, | and |\/)\.(\d+)/;
const SAME_AREA = /^(?:, and |, | and |\/)\.([a-z][a-z0-9-]*)\.(\d+)/;

/**
 * Finds the clauses that a text cites, as tests do in their names: `dev.mmio.layout.3-5`,
 * `drv.pci.caps.1, .2 and .4`, `drv.basic.init.4, .status.1`.
 *
 * @returns Ids in the order of the text; some may not exist.
 */
export function citations(text: string): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(FULL)) {
    const [role, area] = [match[1]!, match[2]!];
    let section = match[3]!;
    let last = Number(match[4]);
    const add = (number: number): unknown => found.push(`${role}.${area}.${section}.${number}`);
    add(last);
    for (let rest = text.slice(match.index + match[0].length);;) {
      const range = RANGE.exec(rest);
      const same = SAME_SECTION.exec(rest);
      const next = SAME_AREA.exec(rest);
      if (range !== null) {
        while (last < Number(range[1])) add(++last);
      } else if (same !== null) add(last = Number(same[1]));
      else if (next !== null) {
        section = next[1]!;
        add(last = Number(next[2]));
      } else break;
      rest = rest.slice((range ?? same ?? next)![0].length);
    }
  }
  return found;
}
