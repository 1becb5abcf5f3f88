import type { GpuDevice } from "@vireo/emu";
import { gpuDriver } from "@vireo/drivers/gpu";
import { writeOutput } from "../terminal/files.ts";
import { UsageError } from "../terminal/usage.ts";
import type { JsonFlag } from "./command.ts";
import type { Vireo } from "../vireo.ts";

/** `vireo gpu info`. */
export async function info(vireo: Vireo, flags: JsonFlag): Promise<void> {
  const options = { signal: vireo.signal };
  const gpu = vireo.get(gpuDriver);
  const displays = [];
  for (const display of await gpu.displays(options)) {
    displays.push({ ...display, edid: await gpu.edid(display.id, options) ?? null });
  }
  if (flags.json) return console.log(JSON.stringify(displays));
  for (const { id, width, height, enabled, edid } of displays) {
    const name = edid === null ? "" : `, ${edid.manufacturer} ${edid.name ?? ""}`;
    console.log(`display ${id}: ${width}x${height} ${enabled ? "on" : "off"}${name}`);
  }
}

/** `vireo gpu card`. */
export async function card(
  vireo: Vireo,
  words: string | undefined,
  flags: JsonFlag & { readonly output?: string },
): Promise<void> {
  const options = { signal: vireo.signal };
  const gpu = vireo.get(gpuDriver);
  const [display] = await gpu.displays(options);
  await using picture = await gpu.create(display!.width, display!.height, options);
  picture.canvas().testCard(words ?? "VIREO TEST CARD");
  await gpu.setScanout(0, picture, undefined, options);
  await picture.flush(undefined, options);
  const output = flags.output;
  if (output !== undefined) {
    const model = vireo.emulated?.extras.get("gpu") as GpuDevice | undefined;
    if (model !== undefined) await writeOutput(output, model.png()!);
    else if (vireo.qmp !== undefined) {
      await vireo.qmp.execute("screendump", {
        filename: await Deno.realPath(".") + `/${output}`,
      });
    } else throw new UsageError("-o: nobody sees this target's display");
  }
  const { width, height } = picture;
  if (flags.json) console.log(JSON.stringify({ width, height, output: output ?? null }));
  else console.log(`a test card of ${width}x${height} on display 0`);
}
