import type { BalloonDevice } from "@vireo/emu";
import { type Balloon, balloonDriver } from "@vireo/drivers/balloon";
import { BALLOON_PAGE_SIZE } from "@vireo/hal";
import { parseSize, UsageError } from "../terminal/usage.ts";
import type { JsonFlag } from "./command.ts";
import type { Vireo } from "../vireo.ts";

const MIB = 1024 * 1024;

function report(balloon: Balloon, json: boolean): void {
  const { target, size, outOfMemory } = balloon;
  if (json) console.log(JSON.stringify({ target, size, outOfMemory }));
  else {
    const mib = (pages: number): string => `${pages * BALLOON_PAGE_SIZE / MIB} MiB`;
    console.log(`balloon has ${mib(size)}, the host wants ${mib(target)}`);
  }
}

/** Makes the host want a balloon of so many pages; QEMU counts what it leaves the guest instead. */
async function want(vireo: Vireo, pages: number): Promise<void> {
  const model = vireo.emulated?.extras.get("balloon") as BalloonDevice | undefined;
  if (model !== undefined) model.target = pages;
  else if (vireo.qmp !== undefined) {
    const { actual } = await vireo.qmp.execute("query-balloon") as { actual: number };
    const balloon = vireo.get(balloonDriver);
    const memory = actual + balloon.size * BALLOON_PAGE_SIZE;
    await vireo.qmp.execute("balloon", { value: memory - pages * BALLOON_PAGE_SIZE });
  } else throw new UsageError("balloon inflate: the host's side is not in reach of this target");
}

/** `vireo balloon info`. */
export async function info(vireo: Vireo, flags: JsonFlag): Promise<void> {
  const balloon = vireo.get(balloonDriver);
  await balloon.settled({ signal: vireo.signal });
  report(balloon, flags.json === true);
}

/** `vireo balloon inflate`. */
export async function inflate(vireo: Vireo, size: string, flags: JsonFlag): Promise<void> {
  const bytes = parseSize(size, "bytes");
  const balloon = vireo.get(balloonDriver);
  await want(vireo, Math.floor(bytes / BALLOON_PAGE_SIZE));
  await balloon.settled({ signal: vireo.signal });
  report(balloon, flags.json === true);
}
