import { assertEquals } from "@std/assert";
import { GPU_CONFIG, GPU_HDR, GpuCommand, GpuFormat, GpuResponse } from "./gpu.ts";

Deno.test("gpu: the numbers of virtio 1.4 §5.7", () => {
  assertEquals([GPU_CONFIG.events_clear.offset, GPU_CONFIG.num_scanouts.offset], [4, 8]);
  assertEquals([GPU_CONFIG.blob_alignment.offset, GPU_CONFIG.SIZE], [16, 20]);
  assertEquals([GPU_HDR.fence_id.offset, GPU_HDR.ctx_id.offset, GPU_HDR.SIZE], [8, 16, 24]);
  assertEquals([GpuCommand.GET_EDID, GpuCommand.MOVE_CURSOR], [0x10a, 0x301]);
  assertEquals([GpuCommand.RESOURCE_CREATE_BLOB, GpuCommand.SET_SCANOUT_BLOB], [0x10c, 0x10d]);
  assertEquals([GpuResponse.OK_EDID, GpuResponse.ERR_INVALID_PARAMETER], [0x1104, 0x1205]);
  assertEquals([GpuFormat.R8G8B8A8, GpuFormat.R8G8B8X8], [67, 134]);
});
