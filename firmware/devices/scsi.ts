import { scsiDriver, type ScsiUnit } from "@vireo/drivers";
import { DeviceId } from "@vireo/hal";
import { writeAll } from "../terminal/output.ts";
import { parseCount, UsageError } from "../terminal/usage.ts";
import type { Vireo } from "../vireo.ts";
import type { BoardDevice, DeviceCall } from "./board_device.ts";

/** Size of the disk that a host has when none was named, in bytes. */
const DEFAULT_DISK = 16 * 1024 * 1024;

interface UnitOption {
  readonly path: string | undefined;
  readonly kind: "disk" | "cdrom";
  readonly readOnly: boolean;
}

/** Units of `FILE[,ro][,cd]`, several with `+` between them: targets from 0 on. */
function parseUnits(value: string | undefined): UnitOption[] {
  if (value === undefined) return [{ path: undefined, kind: "disk", readOnly: false }];
  return value.split("+").map((text) => {
    const [path, ...words] = text.split(",");
    const wrong = words.find((word) => word !== "ro" && word !== "cd");
    if (!path || wrong !== undefined) {
      throw new UsageError(`--with scsi: expected FILE[,ro][,cd][+FILE...], got '${text}'`);
    }
    const cd = words.includes("cd");
    return { path, kind: cd ? "cdrom" : "disk", readOnly: cd || words.includes("ro") };
  });
}

function unitOf(vireo: Vireo, { flags }: DeviceCall): ScsiUnit {
  const target = parseCount(String(flags["unit"]), "--unit", 0, 255);
  return vireo.get(scsiDriver).unit(target, parseCount(String(flags["lun"]), "--lun", 0, 16383));
}

const UNIT_OPTIONS = [
  ["--unit <target>", "which target", "0"],
  ["--lun <n>", "which of its units", "0"],
] as const;

/** SCSI disks and CDs. */
export const SCSI: BoardDevice = {
  name: "scsi",
  deviceId: DeviceId.SCSI,
  summary: "SCSI disks and CDs",
  value: "FILE[,ro][,cd][+FILE...]",
  driver: () => Promise.resolve(scsiDriver),
  async emulate(value, cleanup) {
    const units = parseUnits(value);
    const { FileDisk, MemoryDisk, ScsiDevice } = await import("@vireo/emu");
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
          `file.driver=file,file.discard=unmap,file.filename=${path.replaceAll(",", ",,")}`,
    ]);
    const devices = units.map(({ kind }, i) =>
      `scsi-${kind === "cdrom" ? "cd" : "hd"},bus=${id}.0,scsi-id=${i},drive=${name(i)},` +
      `serial=vireo-${i}`
    );
    return { backends, devices: [`virtio-scsi-device,id=${id}`, ...devices] };
  },
  commands: [
    {
      name: "list",
      summary: "list the units of every target",
      example: "vireo scsi list --with scsi=disk.img",
      async run(vireo, { flags }) {
        const options = { signal: vireo.signal };
        const units = [];
        for (const unit of await vireo.get(scsiDriver).units(options)) {
          const { vendor, product, type } = await unit.inquiry(options);
          const { blocks, blockSize } = await unit.capacity(options);
          const { target, lun } = unit;
          units.push({ target, lun, type, vendor, product, blocks, blockSize });
        }
        if (flags["json"]) console.log(JSON.stringify(units));
        else {
          for (const { target, lun, vendor, product, blocks, blockSize } of units) {
            console.log(`${target}:${lun} ${vendor} ${product}: ${blocks} blocks of ${blockSize}`);
          }
        }
      },
    },
    {
      name: "read",
      summary: "write blocks to standard output",
      options: [
        ...UNIT_OPTIONS,
        ["--block <n>", "the first block", "0"],
        ["--count <n>", "how many", "1"],
        ["-o, --output <file>", "write here instead"],
      ],
      example: "vireo scsi read --with scsi=disk.img --block 0 --count 1 | xxd | head",
      async run(vireo, call) {
        const block = parseCount(String(call.flags["block"]), "--block", 0, 2 ** 40);
        const count = parseCount(String(call.flags["count"]), "--count", 1, 1 << 20);
        const bytes = await unitOf(vireo, call).read(block, count, { signal: vireo.signal });
        const output = call.flags["output"];
        if (typeof output === "string") await Deno.writeFile(output, bytes);
        else await writeAll(bytes);
      },
    },
  ],
};
