// Gives the host 8 MiB of the guest's memory, and takes them back.
//
//   vireo run --with balloon examples/balloon.ts
import { balloonDriver } from "@vireo/drivers/balloon";
import type { Vireo } from "@vireo/firmware";

/** The function that `vireo run` calls. */
export default async function main(vireo: Vireo): Promise<void> {
  const balloon = vireo.get(balloonDriver);
  const options = { signal: vireo.signal, deadline: 10_000 };
  for (const pages of [2048, 0]) {
    await balloon.resize(pages, options);
    console.log(`the host has ${balloon.size * 4} KiB of ours`);
  }
}
