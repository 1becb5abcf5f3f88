import { rpmsgDriver } from "@vireo/drivers/rpmsg";
import { parseCount } from "../terminal/usage.ts";
import type { JsonFlag } from "./command.ts";
import type { Vireo } from "../vireo.ts";

/** `vireo rpmsg send`. */
export async function send(
  vireo: Vireo,
  text: string,
  flags: JsonFlag & { readonly service: string; readonly deadline: string },
): Promise<void> {
  const deadline = parseCount(flags.deadline, "--deadline");
  const waiting = { signal: vireo.signal, deadline };
  const rpmsg = vireo.get(rpmsgDriver);
  const { address } = await rpmsg.channel(flags.service, waiting);
  using endpoint = rpmsg.endpoint({ remote: address });
  await endpoint.send(new TextEncoder().encode(text), waiting);
  const { from, bytes } = await endpoint.receive(waiting);
  const answer = new TextDecoder().decode(bytes);
  console.log(flags.json ? JSON.stringify({ from, answer }) : answer);
}
