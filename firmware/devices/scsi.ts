import { DeviceId } from "@vireo/hal/ids";
import { doubleCommas, nameAndWords } from "../terminal/commas.ts";
import { UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** Size of the disk that a host has when none was named, in bytes. */
const DEFAULT_DISK = 16 * 1024 * 1024;

interface UnitOption {
  readonly path: string | undefined;
  readonly kind: "disk" | "cdrom";
  readonly readOnly: boolean;
}

/** Units of `FILE[,ro][,cd]`, several with `+` between them: targets from 0 on. Commas of names are doubled. */
function parseUnits(value: string | undefined): UnitOption[] {
  if (value === undefined) return [{ path: undefined, kind: "disk", readOnly: false }];
  return value.split("+").map((text) => {
    const isWord = (word: string): boolean => word === "ro" || word === "cd";
    const { name: path, words } = nameAndWords(text, isWord);
    if (path === "" || !words.every(isWord)) {
      throw new UsageError(`--with scsi: expected FILE[,ro][,cd][+FILE...], got '${text}'`);
    }
    const cd = words.includes("cd");
    return { path, kind: cd ? "cdrom" : "disk", readOnly: cd || words.includes("ro") };
  });
}

/** SCSI disks and CDs. */
export const SCSI: BoardDevice = {
  name: "scsi",
  deviceId: DeviceId.SCSI,
  value: "FILE[,ro][,cd][+FILE...]",
  driver: async () => (await import("@vireo/drivers/scsi")).scsiDriver,
  async emulate(value, cleanup) {
    const units = parseUnits(value);
    const { FileDisk, MemoryDisk } = await import("@vireo/emu/backends");
    const { ScsiDevice } = await import("@vireo/emu/scsi");
    return new ScsiDevice({
      queues: 2,
      units: units.map(({ path, kind, readOnly }, target) => ({
        target,
        kind,
        serial: `vireo-${target}`,
        disk: cleanup.use(
          path === undefined ? new MemoryDisk(DEFAULT_DISK) : new FileDisk(path, { readOnly }),
        ),
      })),
    });
  },
  qemu(value, id) {
    const units = parseUnits(value);
    const name = (i: number): string => `${id}disk${i}`;
    const backends = units.flatMap(({ path, readOnly }, i) => [
      "-blockdev",
      path === undefined
        ? `null-co,node-name=${name(i)},size=${DEFAULT_DISK},read-zeroes=on`
        : `raw,node-name=${name(i)},discard=unmap,read-only=${readOnly ? "on" : "off"},` +
          `file.driver=file,file.discard=unmap,file.filename=${doubleCommas(path)}`,
    ]);
    const devices = units.map(({ kind }, i) =>
      `scsi-${kind === "cdrom" ? "cd" : "hd"},bus=${id}.0,scsi-id=${i},drive=${name(i)},` +
      `serial=vireo-${i}`
    );
    return { backends, devices: [`virtio-scsi-device,id=${id}`, ...devices] };
  },
};
