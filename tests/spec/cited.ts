import { citedBy, literals, passedNames } from "./coverage.ts";

const ROOT = new URL("../../", import.meta.url);
const ROOMS = ["hal", "drivers", "emu", "firmware", "tests"] as const;

function* tests(folder: URL): Generator<URL> {
  for (const entry of Deno.readDirSync(folder)) {
    const at = new URL(entry.isDirectory ? `${entry.name}/` : entry.name, folder);
    if (entry.isDirectory) yield* tests(at);
    else if (entry.name.endsWith("_test.ts")) yield at;
  }
}

/** The ids that the tests cite in their names, by their sources. */
export function citedInSources(): Set<string> {
  const names = ROOMS.flatMap((room) =>
    [...tests(new URL(`${room}/`, ROOT))].filter((at) =>
      !/\/(?:clauses|coverage)_test\.ts$/.test(at.pathname)
    ).flatMap((at) => literals(Deno.readTextFileSync(at)))
  );
  return citedBy(names);
}

/** The ids that passed tests cite, by the JUnit reports of a folder; undefined if there are none. */
export function citedInReports(folder: URL): Set<string> | undefined {
  const names: string[] = [];
  let found = false;
  try {
    for (const { name } of Deno.readDirSync(folder)) {
      if (!name.endsWith(".xml")) continue;
      found = true;
      names.push(...passedNames(Deno.readTextFileSync(new URL(name, folder))));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found ? citedBy(names) : undefined;
}

/** Where `make test` leaves its reports. */
export const REPORTS: URL = new URL(".cache/report/", ROOT);
