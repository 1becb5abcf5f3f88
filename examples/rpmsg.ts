// Finds a service of a remote processor by its name, and talks to it.
//
//   vireo run --with rpmsg examples/rpmsg.ts
import { rpmsgDriver } from "@vireo/drivers/rpmsg";
import type { Vireo } from "@vireo/firmware";

/** The function that `vireo run` calls. */
export default async function main(vireo: Vireo): Promise<void> {
  const waiting = { signal: vireo.signal, deadline: 1000 };
  const rpmsg = vireo.get(rpmsgDriver);
  const service = await rpmsg.channel("rpmsg-client-sample", waiting);
  using endpoint = rpmsg.endpoint({ remote: service.address });
  for (const text of ["hello", "world"]) {
    await endpoint.send(new TextEncoder().encode(text), waiting);
    const { from, bytes } = await endpoint.receive(waiting);
    console.log(`${service.name} at ${from} answers '${new TextDecoder().decode(bytes)}'`);
  }
}
