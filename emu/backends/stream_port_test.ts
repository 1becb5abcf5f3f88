import { assert, assertEquals } from "@std/assert";
import { loopbackPort, nullPort, streamPipe } from "./stream_port.ts";

Deno.test("a pipe connects its ends both ways and holds writers back", async () => {
  const { device, host } = streamPipe();
  const down = host.writable.getWriter();
  const up = device.writable.getWriter();
  const writes = [1, 2, 3, 4].map((n) => down.write(Uint8Array.of(n)));
  assert(down.desiredSize !== null && down.desiredSize < 0);
  const reader = device.readable.getReader();
  for (const n of [1, 2, 3, 4]) assertEquals((await reader.read()).value, Uint8Array.of(n));
  await Promise.all(writes);
  const [{ value }] = await Promise.all([
    host.readable.getReader().read(),
    up.write(Uint8Array.of(9)),
  ]);
  assertEquals(value, Uint8Array.of(9));
});

Deno.test("a loopback sends back, a null port takes all", async () => {
  const loop = loopbackPort();
  const writer = loop.writable.getWriter();
  const [{ value }] = await Promise.all([
    loop.readable.getReader().read(),
    writer.write(Uint8Array.of(1, 2)),
  ]);
  assertEquals(value, Uint8Array.of(1, 2));
  await nullPort().writable.getWriter().write(new Uint8Array(10));
});
