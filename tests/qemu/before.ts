/** Set by tests/run.ts where it has tested on another QEMU already. */
export const BEFORE_VARIABLE = "VIREO_TESTED_BEFORE";

/**
 * Whether these tests have passed on another QEMU in the same run: what does not depend on QEMU's version need
 * not be tested again.
 */
export const TESTED_BEFORE: boolean = Deno.env.has(BEFORE_VARIABLE);
