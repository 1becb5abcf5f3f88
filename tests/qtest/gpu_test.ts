// Needs QEMU: its screendump must show what was drawn, pixel by pixel.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { gpuDriver } from "@vireo/drivers";
import { VireoError } from "@vireo/hal";
import { BOARDS } from "../../firmware/boards/mod.ts";
import { openVireo } from "../../firmware/session.ts";
import { isNewer, QEMU_DIFFERENCES } from "../qemu/mod.ts";
import { TempFolder } from "../temp_folder.ts";

const SOON = { deadline: 10_000 };

/** A binary PPM: its size and its pixels. */
function readPpm(bytes: Uint8Array): { width: number; height: number; rgb: Uint8Array } {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, 64));
  const [all, width, height] = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(head)!;
  return { width: Number(width), height: Number(height), rgb: bytes.subarray(all.length) };
}

for (const { name } of BOARDS) {
  Deno.test(`gpu on ${name}: QEMU's screen shows the test card, pixel by pixel`, async () => {
    using folder = new TempFolder();
    const dir = folder.path;
    await using vireo = await openVireo({
      target: `qtest:${name}`,
      blk: [],
      net: { kind: "none" },
      with: [{ name: "gpu", value: "800x600" }],
    });
    const gpu = vireo.get(gpuDriver);
    const [display] = await gpu.displays(SOON);
    assertEquals([display!.width, display!.height, display!.enabled], [800, 600, true]);
    const edid = await gpu.edid(0, SOON);
    assertEquals([edid?.manufacturer, edid?.preferred], ["RHT", { width: 800, height: 600 }]);
    await using picture = await gpu.create(800, 600, SOON);
    const canvas = picture.canvas().testCard(`VIREO ON ${name}`);
    await gpu.setScanout(0, picture);
    await picture.flush(undefined, SOON);
    await gpu.setCursor(0, { x: 5, y: 5 }, undefined);
    await gpu.moveCursor(0, { x: 9, y: 9 });
    const filename = `${dir}/screen.ppm`;
    await vireo.qmp!.execute("screendump", { filename });
    const { width, height, rgb } = readPpm(await Deno.readFile(filename));
    assertEquals([width, height], [800, 600]);
    for (let i = 0; i < width * height; i++) {
      const [r, g, b] = canvas.at(i % width, Math.floor(i / width));
      const same = rgb[3 * i] === r && rgb[3 * i + 1] === g && rgb[3 * i + 2] === b;
      assert(
        same,
        `pixel ${i}: ${[r, g, b]} was drawn, ${rgb.subarray(3 * i, 3 * i + 3)} is shown`,
      );
    }
  });
}

Deno.test("gpu blobs: without /dev/udmabuf QEMU refuses them and says so", async () => {
  const open = () =>
    openVireo({
      target: "qtest:aarch64-virt",
      blk: [],
      net: { kind: "none" },
      with: [{ name: "gpu", value: "64x48,blob" }],
    });
  try {
    await using vireo = await open();
    // Where the host has it, the picture is read from the guest's memory.
    await using picture = await vireo.get(gpuDriver).create(64, 48, SOON);
    assert(picture.blob);
    await vireo.get(gpuDriver).setScanout(0, picture);
    await picture.flush(undefined, SOON);
  } catch (error) {
    assert(error instanceof VireoError, String(error));
    const { before, since } = QEMU_DIFFERENCES.UDMABUF;
    assertStringIncludes(error.message, isNewer("UDMABUF") ? since : before);
    assertEquals(error.code, "HOST_ERROR");
  }
});
