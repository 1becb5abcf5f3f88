import type { GpuDevice } from "@vireo/emu";
import { gpuDriver } from "@vireo/drivers";
import { DeviceId } from "@vireo/hal";
import { UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** A display, and whether the device offers RESOURCE_BLOB. */
interface Screen {
  readonly width: number;
  readonly height: number;
  readonly blob: boolean;
}

/** Parses `640x480[,blob]`. */
function parseScreen(value = "640x480"): Screen {
  const [, width, height, blob] = /^(\d{2,4})x(\d{2,4})(,blob)?$/.exec(value) ?? [];
  if (width === undefined) {
    throw new UsageError(`--with gpu: expected 640x480[,blob], got '${value}'`);
  }
  return { width: Number(width), height: Number(height), blob: blob !== undefined };
}

/** GPUs, in two dimensions. */
export const GPU: BoardDevice = {
  name: "gpu",
  deviceId: DeviceId.GPU,
  summary: "displays: what they are, and a test card on them",
  value: "WIDTHxHEIGHT[,blob]",
  driver: () => Promise.resolve(gpuDriver),
  async emulate(value) {
    const { blob, ...size } = parseScreen(value);
    const { GpuDevice } = await import("@vireo/emu");
    return new GpuDevice({ displays: [size], blob });
  },
  qemu(value) {
    const { width, height, blob } = parseScreen(value);
    // QEMU says what it needs for blobs where it cannot have them: /dev/udmabuf.
    const more = blob ? ",blob=on" : "";
    return { backends: [], devices: [`virtio-gpu-device,xres=${width},yres=${height}${more}`] };
  },
  commands: [
    {
      name: "info",
      summary: "list the displays",
      example: "vireo gpu info --with gpu=800x600 --json",
      async run(vireo, { flags }) {
        const options = { signal: vireo.signal };
        const gpu = vireo.get(gpuDriver);
        const displays = [];
        for (const display of await gpu.displays(options)) {
          displays.push({ ...display, edid: await gpu.edid(display.id, options) ?? null });
        }
        if (flags["json"]) return console.log(JSON.stringify(displays));
        for (const { id, width, height, enabled, edid } of displays) {
          const name = edid === null ? "" : `, ${edid.manufacturer} ${edid.name ?? ""}`;
          console.log(`display ${id}: ${width}x${height} ${enabled ? "on" : "off"}${name}`);
        }
      },
    },
    {
      name: "card",
      summary: "draw a test card with words on the first display",
      arguments: [["[words]", "what it says"]],
      options: [["-o, --output <file>", "save what the display shows: PNG, on QEMU PPM"]],
      example: "vireo gpu card 'hello' -o card.png",
      async run(vireo, { args, flags }) {
        const options = { signal: vireo.signal };
        const gpu = vireo.get(gpuDriver);
        const [display] = await gpu.displays(options);
        await using picture = await gpu.create(display!.width, display!.height, options);
        picture.canvas().testCard(args[0] ?? "VIREO TEST CARD");
        await gpu.setScanout(0, picture, undefined, options);
        await picture.flush(undefined, options);
        const output = flags["output"];
        if (typeof output === "string") {
          const model = vireo.emulated?.extras.get("gpu") as GpuDevice | undefined;
          if (model !== undefined) await Deno.writeFile(output, model.png()!);
          else if (vireo.qmp !== undefined) {
            await vireo.qmp.execute("screendump", {
              filename: await Deno.realPath(".") + `/${output}`,
            });
          } else throw new UsageError("-o: nobody sees this target's display");
        }
        const { width, height } = picture;
        if (flags["json"]) console.log(JSON.stringify({ width, height, output: output ?? null }));
        else console.log(`a test card of ${width}x${height} on display 0`);
      },
    },
  ],
};
