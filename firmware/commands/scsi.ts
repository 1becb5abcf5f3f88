import { scsiDriver, type ScsiUnit } from "@vireo/drivers/scsi";
import { keepJsonApart, keepOffTerminal, writeOutput } from "../terminal/files.ts";
import { parseCount } from "../terminal/usage.ts";
import type { JsonFlag } from "./command.ts";
import type { Vireo } from "../vireo.ts";

/** Flags of `vireo scsi read`. */
interface ReadFlags extends JsonFlag {
  readonly unit: string;
  readonly lun: string;
  readonly block: string;
  readonly count: string;
  readonly output?: string;
}

function unitOf(vireo: Vireo, flags: ReadFlags): ScsiUnit {
  const target = parseCount(flags.unit, "--unit", 0, 255);
  return vireo.get(scsiDriver).unit(target, parseCount(flags.lun, "--lun", 0, 16383));
}

/** `vireo scsi list`. */
export async function list(vireo: Vireo, flags: JsonFlag): Promise<void> {
  const options = { signal: vireo.signal };
  const units = [];
  for (const unit of await vireo.get(scsiDriver).units(options)) {
    const { vendor, product, type } = await unit.inquiry(options);
    const { blocks, blockSize } = await unit.capacity(options);
    const { target, lun } = unit;
    units.push({ target, lun, type, vendor, product, blocks, blockSize });
  }
  if (flags.json) console.log(JSON.stringify(units));
  else {
    for (const { target, lun, vendor, product, blocks, blockSize } of units) {
      console.log(`${target}:${lun} ${vendor} ${product}: ${blocks} blocks of ${blockSize}`);
    }
  }
}

/** `vireo scsi read`. */
export async function read(vireo: Vireo, flags: ReadFlags): Promise<void> {
  const block = parseCount(flags.block, "--block", 0, 2 ** 40);
  const count = parseCount(flags.count, "--count", 1, 1 << 20);
  keepOffTerminal("scsi read", flags.output);
  keepJsonApart(flags, "bytes");
  const bytes = await unitOf(vireo, flags).read(block, count, { signal: vireo.signal });
  await writeOutput(flags.output, bytes);
  if (flags.json) console.log(JSON.stringify({ block, count, bytes: bytes.length }));
}
