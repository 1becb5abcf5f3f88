import { vsockDriver } from "@vireo/drivers/vsock";
import { writeAll } from "../terminal/output.ts";
import { parseCount } from "../terminal/usage.ts";
import type { JsonFlag } from "./command.ts";
import type { Vireo } from "../vireo.ts";

/** `vireo vsock send`. */
export async function send(
  vireo: Vireo,
  where: string,
  text: string,
  flags: JsonFlag & { readonly deadline: string },
): Promise<void> {
  const port = parseCount(where, "port");
  const deadline = parseCount(flags.deadline, "--deadline");
  const vsock = vireo.get(vsockDriver);
  await using connection = await vsock.connect(port, { deadline, signal: vireo.signal });
  const writer = connection.writable.getWriter();
  const sending = writer.write(new TextEncoder().encode(text)).then(() => writer.close());
  let answer = "";
  const decoder = new TextDecoder();
  for await (const bytes of connection.readable) {
    if (flags.json) answer += decoder.decode(bytes, { stream: true });
    else await writeAll(bytes);
  }
  await sending;
  if (flags.json) console.log(JSON.stringify({ port, answer }));
  else console.log();
}

/** `vireo vsock listen`. */
export async function listen(
  vireo: Vireo,
  where: string,
  flags: JsonFlag & { readonly deadline: string },
): Promise<void> {
  const port = parseCount(where, "port");
  const deadline = parseCount(flags.deadline, "--deadline");
  using listener = vireo.get(vsockDriver).listen(port);
  await using connection = await listener.accept({ deadline, signal: vireo.signal });
  let count = 0;
  const counting = new TransformStream<Uint8Array, Uint8Array>({
    transform(bytes, out) {
      count += bytes.length;
      out.enqueue(bytes);
    },
  });
  await connection.readable.pipeThrough(counting)
    .pipeTo(connection.writable, { signal: vireo.signal });
  const { peerCid, peerPort } = connection;
  if (flags.json) console.log(JSON.stringify({ peerCid, peerPort, bytes: count }));
  else console.log(`${count} bytes from ${peerCid}:${peerPort} said back`);
}
