// Draws a test card on the first display, and saves what is on it as PNG if a file is named.
//
//   vireo run --with gpu examples/gpu.ts card.png
//   vireo run --with gpu --target qtest:aarch64-virt examples/gpu.ts /tmp/card.png
import { gpuDriver } from "@vireo/drivers/gpu";
import { GpuDevice } from "@vireo/emu/gpu";
import type { Vireo } from "@vireo/firmware";

/** The function that `vireo run` calls. */
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
  if (file !== undefined) {
    if (emulated instanceof GpuDevice) await Deno.writeFile(file, emulated.png()!);
    else await vireo.qmp?.execute("screendump", { filename: file, format: "png" }, options);
  }
  console.log("a test card is on it");
}
