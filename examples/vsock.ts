// Connects to the host's echo port and sends a megabyte through it.
//
//   vireo run --with vsock examples/vsock.ts
import { vsockDriver } from "@vireo/drivers/vsock";
import type { Vireo } from "@vireo/firmware";

/** The function that `vireo run` calls. */
export default async function main(vireo: Vireo): Promise<void> {
  const vsock = vireo.get(vsockDriver);
  await using connection = await vsock.connect(7, { signal: vireo.signal });
  console.log(`guest ${vsock.cid}:${connection.localPort} to host ${connection.peerCid}:7`);
  const data = Uint8Array.from({ length: 1 << 20 }, (_, i) => i ^ i >> 8);
  const sending = ReadableStream.from([data]).pipeTo(connection.writable);
  let at = 0;
  for await (const bytes of connection.readable) {
    for (const byte of bytes) if (byte !== data[at++]) throw new Error(`Byte ${at - 1} differs`);
  }
  await sending;
  console.log(`${at} bytes came back as they were sent`);
}
