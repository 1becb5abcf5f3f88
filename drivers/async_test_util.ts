import { assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import process from "node:process";

/** Lets everything run that is due. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** The code of the error with which a call ends. */
export async function code(run: () => Promise<unknown>): Promise<string> {
  return (await assertRejects(run, VireoError)).code;
}

/** Milliseconds of processor time that this process has spent so far: other programs add nothing to it. */
export function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
