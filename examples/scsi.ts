// Lists the disks of a SCSI host, writes a block and reads it back.
//
//   vireo run --with scsi examples/scsi.ts
import { scsiDriver } from "@vireo/drivers/scsi";
import type { Vireo } from "@vireo/firmware";

/** The function that `vireo run` calls. */
export default async function main(vireo: Vireo): Promise<void> {
  const options = { signal: vireo.signal };
  const host = vireo.get(scsiDriver);
  const units = await host.units(options);
  for (const unit of units) {
    const { vendor, product } = await unit.inquiry(options);
    const { blocks, blockSize } = await unit.capacity(options);
    console.log(`${unit.target}:${unit.lun} ${vendor} ${product}, ${blocks * blockSize >> 20} MiB`);
  }
  const [disk] = units;
  const text = new TextEncoder().encode("SCSI reads like the specification".padEnd(512));
  await disk!.write(7, text, options);
  await disk!.flush(options);
  const back = new TextDecoder().decode(await disk!.read(7, 1, options)).trim();
  // Without an image, QEMU's disk forgets all that is written to it.
  console.log(back.replaceAll("\0", "") || "nothing, it was written to nowhere");
}
