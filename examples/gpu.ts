// Draws a test card on the first display; on the emulator it is saved as PNG if a file is named.
//
//   vireo run --with gpu examples/gpu.ts card.png
import { gpuDriver } from "@vireo/drivers";
import { GpuDevice } from "@vireo/emu";
import type { Vireo } from "@vireo/firmware";

/** What `vireo run` calls. */
export default async function main(vireo: Vireo): Promise<void> {
  const options = { signal: vireo.signal };
  const gpu = vireo.get(gpuDriver);
  const [display] = await gpu.displays(options);
  console.log(`display 0 is ${display!.width}x${display!.height}`);
  await using picture = await gpu.create(display!.width, display!.height, options);
  picture.canvas().testCard("VIREO TEST CARD");
  await gpu.setScanout(0, picture, undefined, options);
  await picture.flush(undefined, options);
  const emulated = vireo.emulated?.extras.get("gpu");
  const [file] = vireo.args;
  if (emulated instanceof GpuDevice && file !== undefined) {
    await Deno.writeFile(file, emulated.png()!);
  }
  console.log("a test card is on it");
}
