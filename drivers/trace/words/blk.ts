import { blkRequestName, BlkRequestType, BlkStatus } from "@vireo/hal";
import { nameOf } from "./names.ts";
import type { DeviceWords } from "./places.ts";

/** Words of the block device (virtio 1.4 §5.2.6). */
export const BLK_WORDS: DeviceWords = {
  request: ({ bytes, readable, writable }, view) => {
    if (bytes.length < 16) return undefined;
    const type = view.getUint32(0, true);
    const high = view.getUint32(12, true);
    // A big integer costs more than the rest.
    const sector = high === 0 ? view.getUint32(8, true) : view.getBigUint64(8, true);
    if (type === BlkRequestType.IN) {
      return `blk READ sector ${sector} ${(writable - 1) / 512} sectors`;
    }
    if (type === BlkRequestType.OUT) {
      return `blk WRITE sector ${sector} ${(readable - 16) / 512} sectors`;
    }
    const name = blkRequestName(type);
    if (readable < 32 || bytes.length < 32) return `blk ${name}`;
    return `blk ${name} sector ${view.getBigUint64(16, true)} ${view.getUint32(24, true)} sectors`;
  },
  answer: ({ request, last }) =>
    request && `${request}: ${last === undefined ? "no status" : nameOf(BlkStatus, last)}`,
};
