import type { QtestBoard } from "@vireo/hal/qtest";
import type { DeviceName } from "./generate.ts";
import { Pair } from "./pair.ts";
import type { Step } from "./program.ts";

/**
 * Runs a program on both machines and prints what differs first.
 *
 * @returns Whether nothing did.
 */
export async function replay(
  device: DeviceName,
  version: 1 | 2,
  board: QtestBoard,
  program: readonly Step[],
): Promise<boolean> {
  await using pair = await Pair.start(device, version, board);
  const { difference } = await pair.run(program);
  if (difference === undefined) return true;
  const { index, step, name, emulator, qemu } = difference;
  const text = `Step ${index}, ${
    JSON.stringify(step)
  }: ${name} is ${emulator} here, ${qemu} on QEMU`;
  await Deno.stdout.write(new TextEncoder().encode(`${text}\n`));
  return false;
}

/** A script, to be run from the root, that shows a difference again. */
export function reproduction(device: DeviceName, version: 1 | 2, program: readonly Step[]): string {
  const steps = program.map((step) => `  ${JSON.stringify(step)},\n`).join("");
  return `import { AARCH64_VIRT } from "./firmware/boards/aarch64_virt.ts";
import { replay } from "./emu/differential/replay.ts";

const same = await replay("${device}", ${version}, AARCH64_VIRT, [
${steps}]);
Deno.exit(same ? 0 : 1);
`;
}
