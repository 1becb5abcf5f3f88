import { assertEquals } from "@std/assert";
import { SCSI_CONFIG, SCSI_EVENT, SCSI_REQUEST, SCSI_RESPONSE, SCSI_TMF, scsiLun } from "./scsi.ts";

Deno.test("scsi: the numbers of virtio 1.4 §5.6", () => {
  const {
    sense_size: senseSize,
    cdb_size: cdbSize,
    max_channel: maxChannel,
    max_target: maxTarget,
    max_lun: maxLun,
  } = SCSI_CONFIG;
  assertEquals([senseSize, cdbSize, maxChannel, maxTarget, maxLun].map((f) => f.offset), [
    ...[20, 24, 28, 30, 32],
  ]);
  assertEquals([SCSI_REQUEST.id.offset, SCSI_REQUEST.crn.offset, SCSI_REQUEST.SIZE], [8, 18, 19]);
  assertEquals([SCSI_RESPONSE.status.offset, SCSI_RESPONSE.response.offset], [10, 11]);
  assertEquals([SCSI_TMF.lun.offset, SCSI_TMF.id.offset, SCSI_EVENT.reason.offset], [8, 16, 12]);
  assertEquals([...scsiLun(3, 0x1234)], [1, 3, 0x52, 0x34, 0, 0, 0, 0]);
});
