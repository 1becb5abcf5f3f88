/**
 * Runs the tests of several files, which it is given by their paths from the repository's root:
 * `deno test -A tests/run/together.ts -- hal/bits_test.ts hal/host_test.ts`. For each file that Deno is given
 * itself it starts a runtime and loads all that the file imports, which takes longer than most files' tests.
 *
 * @module
 */
for (const path of Deno.args) await import(`../../${path}`);
