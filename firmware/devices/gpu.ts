import { DeviceId } from "@vireo/hal/ids";
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
  value: "WIDTHxHEIGHT[,blob]",
  driver: async () => (await import("@vireo/drivers/gpu")).gpuDriver,
  async emulate(value) {
    const { blob, ...size } = parseScreen(value);
    const { GpuDevice } = await import("@vireo/emu/gpu");
    return new GpuDevice({ displays: [size], blob });
  },
  qemu(value) {
    const { width, height, blob } = parseScreen(value);
    // QEMU says what it needs for blobs where it cannot have them: /dev/udmabuf.
    const more = blob ? ",blob=on" : "";
    return { backends: [], devices: [`virtio-gpu-device,xres=${width},yres=${height}${more}`] };
  },
};
