/** Says which QEMU of how many this is: tests/run/main.ts sets it to `1/2` and then to `2/2`. */
export const PART_VARIABLE = "VIREO_TEST_PART";

const [index = 1, count = 1] = (Deno.env.get(PART_VARIABLE) ?? "1/1").split("/").map(Number);

/**
 * Which part of a run of all tests this is. What does not depend on QEMU's version is tested in the first part
 * alone, and random programs are shared out.
 */
export const PART: { readonly index: number; readonly count: number } = { index, count };
