// deno-lint-ignore-file no-console -- a program
/**
 * Prints how much of the specification is tested: `make spec`. By what the last `make test` ran, if it left
 * its reports, or by the names of the tests in the sources: `--sources` asks for that. The argument names another
 * folder of reports.
 *
 * @module
 */
import { toFileUrl } from "../../firmware/terminal/paths.ts";
import { citedInReports, citedInSources, REPORTS } from "./cited.ts";
import { coverageText, decide, missingMusts } from "./coverage.ts";

const [folder] = Deno.args.filter((arg) => !arg.startsWith("--"));
const reports = folder === undefined ? REPORTS : new URL(toFileUrl(`${folder}/`));
const ran = Deno.args.includes("--sources") ? undefined : citedInReports(reports);
if (folder !== undefined && ran === undefined) {
  console.error(`Cannot count by the reports of ${folder}: it must have *.xml files`);
  Deno.exit(1);
}
const decisions = decide(ran ?? citedInSources());
console.log(
  `virtio 1.4, cs01: coverage by the ${ran === undefined ? "sources" : "last run"} of the tests\n`,
);
console.log(coverageText(decisions));
console.log(`${missingMusts(decisions).length} MUSTs are missing`);
