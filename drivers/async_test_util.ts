import { assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";

/** Lets everything run that is due. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** The code of the error with which a call ends. */
export async function code(run: () => Promise<unknown>): Promise<string> {
  return (await assertRejects(run, VireoError)).code;
}
