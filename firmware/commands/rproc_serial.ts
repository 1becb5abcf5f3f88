import { rprocSerialDriver } from "@vireo/drivers/rproc-serial";
import type { JsonFlag } from "./command.ts";
import type { Vireo } from "../vireo.ts";

/** `vireo rproc-serial send`. */
export async function send(
  vireo: Vireo,
  sent: string,
  flags: JsonFlag & { readonly deadline: string },
): Promise<void> {
  const waiting = { signal: vireo.signal, deadline: Number(flags.deadline) };
  using port = (await vireo.get(rprocSerialDriver).port(0, waiting)).open();
  const text = new TextEncoder().encode(sent);
  await port.write(text, waiting);
  const decoder = new TextDecoder();
  let answer = "";
  for (let left = text.length; left > 0;) {
    const bytes = await port.read(waiting);
    if (bytes === null) break;
    left -= bytes.length;
    answer += decoder.decode(bytes, { stream: true });
  }
  console.log(flags.json ? JSON.stringify({ sent, answer }) : answer);
}
