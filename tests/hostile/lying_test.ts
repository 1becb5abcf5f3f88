// Every driver, against a device that lies: what fails is a typed error, within its deadline, and nothing is
// left behind. VIREO_HOSTILE_SEEDS=50 tries more seeds.
import { assert } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { type Lie, LIES, lying } from "./liar.ts";
import { Rig } from "./rig.ts";
import { type Subject, SUBJECTS, WrongAnswer } from "./subjects.ts";

const SEEDS = Number(Deno.env.get("VIREO_HOSTILE_SEEDS") ?? 2);
/** Milliseconds that each step of a use may take. */
const DEADLINE = 40;

/** A failure that is the device's fault: a typed error, or an answer whose bytes are not the right ones. */
function isTyped(error: unknown): boolean {
  if (error instanceof SuppressedError) return isTyped(error.error) && isTyped(error.suppressed);
  return error instanceof VireoError || error instanceof WrongAnswer;
}

for (const subject of SUBJECTS) {
  for (const lie of LIES) {
    Deno.test(`hostile: ${subject.name}: ${lie.name}`, async () => {
      // Side by side: what takes long are the waits for a device that says nothing.
      await Promise.all(Array.from({ length: SEEDS }, (_, i) => survives(subject, lie, i + 1)));
    });
  }
}

/** Uses a driver twice while its device lies. */
async function survives(subject: Subject, lie: Lie, seed: number): Promise<void> {
  const where = `seed ${seed}`;
  const model = lying(subject.model(), lie, seed);
  await using rig = await Rig.open(subject.driver, model, { lies: true, lie, seed });
  if (rig.device.error !== undefined) {
    return assert(isTyped(rig.device.error), `${where}: probe: ${rig.device.error}`);
  }
  for (let round = 0; round < 2; round++) {
    try {
      await subject.use(rig.instance, { deadline: DEADLINE }, rig);
    } catch (error) {
      if (!isTyped(error)) throw new Error(`${where}: not a typed error`, { cause: error });
    }
  }
  for (const error of rig.errors) assert(isTyped(error), `${where}: ${error}`);
}
