import type { Port } from "@vireo/drivers/console";
import type { WaitOptions } from "@vireo/drivers/wait";
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
  // The other end may answer before it takes more, so both go on at once.
  const [answer] = await Promise.all([
    readText(port, text.length, waiting),
    port.write(text, waiting),
  ]);
  console.log(flags.json ? JSON.stringify({ sent, answer }) : answer);
}

/** Reads so many bytes, or fewer if the other end closes the port. */
async function readText(port: Port, count: number, waiting: WaitOptions): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (let left = count; left > 0;) {
    const bytes = await port.read(waiting);
    if (bytes === null) break;
    left -= bytes.length;
    text += decoder.decode(bytes, { stream: true });
  }
  return text;
}
