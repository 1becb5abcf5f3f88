import { UsageError } from "../terminal/usage.ts";

/** Kinds of files that `vireo new` makes. */
export const KINDS: readonly ["driver", "device", "script"] = ["driver", "device", "script"];

/** The packages of Vireo that a folder of one's own imports. */
const PACKAGES = ["hal", "drivers", "emu", "firmware"] as const;
const ROOT = new URL("../../", import.meta.url).pathname;

/**
 * `vireo new`: writes a folder with a program, a test of it, and a `deno.json` that finds Vireo in this
 * checkout.
 *
 * @throws {UsageError} If the kind or the name is wrong, or the folder is there already.
 */
export async function makeNew(kind: string, name: string): Promise<void> {
  if (!KINDS.some((known) => known === kind)) {
    throw new UsageError(`new: expected ${KINDS.join(", ")}, got '${kind}'`);
  }
  const folder = name.replace(/\/+$/, "");
  const base = folder.replace(/^.*\//, "");
  if (!/^[a-z][a-z0-9_]*$/.test(base)) {
    throw new UsageError(
      `new: expected a name of lower-case letters, digits and _, such as my_${kind}, got '${base}'`,
    );
  }
  const files = new Map([
    ["deno.json", await configuration()],
    [`${base}.ts`, await template(kind, "", base)],
    [`${base}_test.ts`, await template(kind, "_tests", base)],
  ]);
  try {
    await Deno.mkdir(folder);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new UsageError(`new: there is a '${folder}' already`);
    }
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(`new: no such folder: '${folder.replace(/[^/]*$/, "")}'`);
    }
    throw error;
  }
  for (const [file, text] of files) await Deno.writeTextFile(`${folder}/${file}`, text);
  // As it can be typed, wherever the checkout is.
  const vireo = Deno.env.get("VIREO_LAUNCHER") ?? "vireo";
  console.log(`${[...files.keys()].map((file) => `${folder}/${file}`).join("\n")}

Run it, check its types, test it:
  ${vireo} run ${folder}/${base}.ts
  ${vireo} deno check --config ${folder}/deno.json ${folder}
  ${vireo} deno test -A --config ${folder}/deno.json ${folder}`);
}

/** The text of a template, with the name instead of its own. */
async function template(kind: string, part: string, name: string): Promise<string> {
  const own = `my_${kind}`;
  const text = await Deno.readTextFile(
    new URL(`../templates/${own}${part}.ts`, import.meta.url),
  );
  return text
    .replaceAll(own, name)
    .replaceAll(camel(`_${own}`), camel(`_${name}`))
    .replaceAll(camel(own), camel(name));
}

function camel(name: string): string {
  return name.replaceAll(/_+(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** Links the checkout, so that nothing of Vireo needs to be published. */
async function configuration(): Promise<string> {
  const versions = await Promise.all(PACKAGES.map(async (room) => {
    const { name, version } = JSON.parse(await Deno.readTextFile(`${ROOT}${room}/deno.json`));
    return [name, `jsr:${name}@${version}`];
  }));
  const { compilerOptions } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  const config = {
    links: [ROOT.replace(/\/$/, "")],
    imports: Object.fromEntries(versions),
    compilerOptions: {
      strict: true,
      noUncheckedIndexedAccess: compilerOptions.noUncheckedIndexedAccess,
    },
    fmt: { lineWidth: 100 },
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}
