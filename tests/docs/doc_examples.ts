/**
 * Finds the examples in the docs of sources, as `deno test --doc` does.
 *
 * @module
 */

/** An example: a block of code in a doc comment or on a page. */
export interface DocExample {
  /** The file and the lines of the block's text, as `deno test --doc` names it: `hal/dma.ts#12-20`. */
  readonly name: string;
  /** The code, a module of its own; what it imports by a relative path is by the file's place. */
  readonly code: string;
}

const DOC_COMMENT = /\/\*\*(?!\/)[\s\S]*?\*\//g;
/** A block of a language that Deno runs; what follows the language, such as `ignore`, is its second group. */
const BLOCK =
  /^([ \t]*)```(?:ts|typescript|js|javascript)\b([^\n]*)\n([\s\S]*?)^[ \t]*```[ \t]*$/gm;

const RELATIVE = /(?<=\b(?:from|import)[ \t(]*")\.\.?\/[^"\n]*(?=")/g;

function lineOf(text: string, at: number): number {
  return text.slice(0, at).split("\n").length;
}

/**
 * The examples of a file. Those whose fence says `ignore` are not meant to be run.
 *
 * @param path How the file is called; what ends in `.md` is a page, whose text is all docs.
 * @param text Its text.
 * @param root Where the path begins.
 */
export function docExamples(path: string, text: string, root: URL): DocExample[] {
  const place = new URL(path, root);
  const docs = path.endsWith(".md")
    ? [{ at: 0, doc: text }]
    : [...text.matchAll(DOC_COMMENT)].map((match) => ({ at: match.index, doc: match[0] }));
  return docs.flatMap(({ at, doc }) => {
    // Each line stays where it is, so that its number is the file's.
    const bare = path.endsWith(".md") ? doc : doc.replace(/^[ \t]*\*(?!\/) ?/gm, "");
    const first = lineOf(text, at);
    return [...bare.matchAll(BLOCK)].flatMap(([block, indent, attributes, code], i, all) => {
      if (attributes!.trim() !== "") return [];
      const from = first + lineOf(bare, all[i]!.index);
      const to = from + block!.split("\n").length - 3;
      const lines = code!.split("\n").map((line) => line.slice(indent!.length));
      return [{
        name: `${path}#${from}-${to}`,
        code: lines.join("\n").replace(RELATIVE, (specifier) => new URL(specifier, place).href),
      }];
    });
  });
}
