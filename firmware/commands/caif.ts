import { caifDriver } from "@vireo/drivers/caif";
import { parseCount } from "../terminal/usage.ts";
import type { JsonFlag } from "./command.ts";
import type { Vireo } from "../vireo.ts";

/** `vireo caif send`. */
export async function send(
  vireo: Vireo,
  text: string,
  flags: JsonFlag & { readonly deadline: string },
): Promise<void> {
  const deadline = parseCount(flags.deadline, "--deadline");
  const waiting = { signal: vireo.signal, deadline };
  const caif = vireo.get(caifDriver);
  await caif.send(new TextEncoder().encode(text), waiting);
  const answer = new TextDecoder().decode(await caif.receive(waiting));
  console.log(flags.json ? JSON.stringify({ answer }) : answer);
}
