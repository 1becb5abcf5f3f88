import { blkRequestName, BlkRequestType, BlkStatus, counted } from "@vireo/hal";
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
    if (type === BlkRequestType.ZONE_APPEND) {
      return `blk ${name} zone at ${sector} ${(readable - 16) / 512} sectors`;
    }
    if (ZONED.has(type)) return `blk ${name} zone at ${sector}`;
    if (readable < 32 || bytes.length < 32) return `blk ${name}`;
    return `blk ${name} sector ${view.getBigUint64(16, true)} ${view.getUint32(24, true)} sectors`;
  },
  answer: ({ request, bytes, last }, view) => {
    if (request === undefined) return undefined;
    const text = `${request}: ${last === undefined ? "no status" : nameOf(BlkStatus, last)}`;
    if (last !== BlkStatus.OK || bytes.length < 8) return text;
    if (request.startsWith(APPEND)) return `${text}, at sector ${view.getBigUint64(0, true)}`;
    if (!request.startsWith(REPORT)) return text;
    return `${text}, ${counted(view.getBigUint64(0, true), "zone")}`;
  },
};

/** The commands of zoned disks that name a zone (virtio 1.4 §5.2.6). */
const ZONED: ReadonlySet<number> = new Set([
  BlkRequestType.ZONE_REPORT,
  BlkRequestType.ZONE_OPEN,
  BlkRequestType.ZONE_CLOSE,
  BlkRequestType.ZONE_FINISH,
  BlkRequestType.ZONE_RESET,
]);
const APPEND = "blk ZONE_APPEND ";
const REPORT = "blk ZONE_REPORT ";
