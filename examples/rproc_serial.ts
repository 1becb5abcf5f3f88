// Says hello over the serial line of a remote processor, which says it back.
//
//   vireo run --with rproc-serial examples/rproc_serial.ts
import { rprocSerialDriver } from "@vireo/drivers/rproc-serial";
import type { Vireo } from "@vireo/firmware";

/** The function that `vireo run` calls. */
export default async function main(vireo: Vireo): Promise<void> {
  const waiting = { signal: vireo.signal, deadline: 1000 };
  using port = (await vireo.get(rprocSerialDriver).port(0, waiting)).open();
  await port.writeText("hello, remote processor\n", waiting);
  const bytes = await port.read(waiting);
  console.log(`it says: ${new TextDecoder().decode(bytes ?? new Uint8Array()).trim()}`);
}
