/**
 * Talks to a console port whose host sends everything back: `vireo run examples/console_echo.ts hello`.
 *
 * @module
 */
import type { Vireo } from "@vireo/firmware";

/** Sends a line through the port, then a megabyte by streams, and checks what comes back. */
export default async function main({ console: device, args, signal }: Vireo): Promise<void> {
  const waiting = { signal, deadline: 1000 };
  using port = (await device.port("echo", waiting)).open();
  await port.hostOpened(waiting);

  const line = args.length > 0 ? args.join(" ") : "hello";
  await port.writeText(line, waiting);
  const decoder = new TextDecoder();
  let answer = "";
  while (answer.length < line.length) {
    const bytes = await port.read(waiting);
    if (bytes === null) throw new Error("The host closed the port");
    answer += decoder.decode(bytes, { stream: true });
  }
  console.log(`sent '${line}', got '${answer}'`);

  // Both directions at once: the host sends no faster than this side reads.
  const data = Uint8Array.from({ length: 1 << 20 }, (_, i) => (i * 31) ^ (i >> 8));
  const sending = ReadableStream.from([data]).pipeTo(port.writable, { signal });
  let at = 0;
  for await (const bytes of port.readable) {
    for (const byte of bytes) if (byte !== data[at++]) throw new Error(`Byte ${at - 1} differs`);
    if (at === data.length) break;
  }
  await sending;
  console.log(`${at} bytes came back as they were sent`);
}
