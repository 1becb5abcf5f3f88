import type { QtestBoard } from "@vireo/hal/qtest";
import type { DeviceName } from "./generate.ts";
import { Pair } from "./pair.ts";
import type { Step, Variant } from "./program.ts";

/**
 * Runs a program on both machines and prints what differs first.
 *
 * @returns Whether nothing did.
 */
export async function replay(
  device: DeviceName,
  variant: Variant,
  board: QtestBoard,
  program: readonly Step[],
): Promise<boolean> {
  await using pair = await Pair.start(device, variant, board);
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
export function reproduction(
  device: DeviceName,
  variant: Variant,
  program: readonly Step[],
): string {
  const [name, file] = variant.bus === "pci"
    ? ["AARCH64_VIRT_PCI", "aarch64_virt_pci"]
    : ["AARCH64_VIRT", "aarch64_virt"];
  const steps = program.map((step) => `  ${JSON.stringify(step)},\n`).join("");
  return `import { ${name} } from "./firmware/boards/${file}.ts";
import { replay } from "./emu/differential/replay.ts";

const same = await replay("${device}", ${JSON.stringify(variant)}, ${name}, [
${steps}]);
Deno.exit(same ? 0 : 1);
`;
}
