import { counted, GPU_FLAG_FENCE, GPU_HDR, GpuCommand, GpuFormat, GpuResponse } from "@vireo/hal";
import { bytesText, nameOf } from "./names.ts";
import type { DeviceWords } from "./places.ts";

/** Bytes behind the header that the words of a command are about; in one that is shorter they are left out. */
const NEEDED: Readonly<Record<number, number>> = {
  [GpuCommand.GET_EDID]: 4,
  [GpuCommand.RESOURCE_CREATE_2D]: 16,
  [GpuCommand.RESOURCE_UNREF]: 4,
  [GpuCommand.SET_SCANOUT]: 24,
  [GpuCommand.RESOURCE_FLUSH]: 20,
  [GpuCommand.TRANSFER_TO_HOST_2D]: 28,
  [GpuCommand.RESOURCE_ATTACH_BACKING]: 8,
  [GpuCommand.RESOURCE_DETACH_BACKING]: 4,
  [GpuCommand.RESOURCE_ASSIGN_UUID]: 4,
  [GpuCommand.RESOURCE_CREATE_BLOB]: 32,
  [GpuCommand.SET_SCANOUT_BLOB]: 36,
  [GpuCommand.UPDATE_CURSOR]: 28,
  [GpuCommand.MOVE_CURSOR]: 28,
};

/** Words of the GPU (virtio 1.4 §5.7.6.8). */
export const GPU_WORDS: DeviceWords = {
  request: (_, view) => {
    if (view.byteLength < GPU_HDR.SIZE) return undefined;
    const type = view.getUint32(GPU_HDR.type.offset, true);
    const fenced = (view.getUint32(GPU_HDR.flags.offset, true) & GPU_FLAG_FENCE) !== 0;
    const fence = fenced ? ` fence ${view.getBigUint64(GPU_HDR.fence_id.offset, true)}` : "";
    const whole = view.byteLength >= GPU_HDR.SIZE + (NEEDED[type] ?? 0);
    return `gpu ${nameOf(GpuCommand, type)}${whole ? fields(type, view) : ""}${fence}`;
  },
  answer: ({ request, bytes }, view) => {
    if (request === undefined || bytes.length < 4) return request;
    return `${request}: ${nameOf(GpuResponse, view.getUint32(0, true))}`;
  },
};

function fields(type: number, view: DataView): string {
  const word = (index: number): number => view.getUint32(GPU_HDR.SIZE + 4 * index, true);
  const rect = (index = 0): string =>
    `${word(index + 2)}x${word(index + 3)}+${word(index)}+${word(index + 1)}`;
  const size = (index: number): string => `${word(index)}x${word(index + 1)}`;
  switch (type) {
    case GpuCommand.GET_EDID:
      return ` scanout ${word(0)}`;
    case GpuCommand.RESOURCE_CREATE_2D:
      return ` resource ${word(0)} ${nameOf(GpuFormat, word(1))} ${size(2)}`;
    case GpuCommand.RESOURCE_UNREF:
    case GpuCommand.RESOURCE_DETACH_BACKING:
    case GpuCommand.RESOURCE_ASSIGN_UUID:
      return ` resource ${word(0)}`;
    case GpuCommand.RESOURCE_ATTACH_BACKING:
      return ` resource ${word(0)} ${counted(word(1), "range")}`;
    case GpuCommand.SET_SCANOUT:
      return ` scanout ${word(4)} resource ${word(5)} ${rect()}`;
    case GpuCommand.RESOURCE_FLUSH:
      return ` resource ${word(4)} ${rect()}`;
    case GpuCommand.TRANSFER_TO_HOST_2D:
      return ` resource ${word(6)} ${rect()} from byte ${long(view, 4)}`;
    case GpuCommand.RESOURCE_CREATE_BLOB:
      return ` resource ${word(0)} ${blobMemory(word(1))} ${counted(word(3), "range")}, ` +
        bytesText(Number(long(view, 6)));
    case GpuCommand.SET_SCANOUT_BLOB:
      return ` scanout ${word(4)} resource ${word(5)} ${nameOf(GpuFormat, word(8))} ${size(6)}`;
    case GpuCommand.UPDATE_CURSOR:
      return ` scanout ${word(0)} resource ${word(4)} at ${word(1)},${word(2)} ` +
        `hot spot ${word(5)},${word(6)}`;
    case GpuCommand.MOVE_CURSOR:
      return ` scanout ${word(0)} at ${word(1)},${word(2)}`;
    default:
      return "";
  }
}

/** Where a blob lives (virtio 1.4 §5.7.6.8). */
const BLOB_MEMORY = { GUEST: 1, HOST3D: 2, HOST3D_GUEST: 3 } as const;

function blobMemory(memory: number): string {
  return nameOf(BLOB_MEMORY, memory);
}

/** 64 bits behind the header, by the index of their first word. */
function long(view: DataView, index: number): bigint {
  return view.getBigUint64(GPU_HDR.SIZE + 4 * index, true);
}
