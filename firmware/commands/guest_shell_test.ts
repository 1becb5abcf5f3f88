import { assertEquals } from "@std/assert";
import { openVireo } from "@vireo/firmware";
import { connectShell, shellOnPort } from "./guest_shell.ts";

Deno.test("a guest's shell on a port reads piped lines to their end, with the drivers in scope", async () => {
  const vireo = await openVireo();
  const lines = `(await blk.read(0, 512)).length + bus.devices.length
const n: number = 40; n + 2
con.ports.map((port) => port.name).join()
throw new RangeError(
`;
  const decoder = new TextDecoder();
  let out = "";
  const host = connectShell(vireo.hostPort!, new Blob([lines]).stream(), (bytes) => {
    out += decoder.decode(bytes, { stream: true });
  });
  try {
    await shellOnPort(vireo, "host");
  } finally {
    await vireo[Symbol.asyncDispose]();
    await host;
  }
  assertEquals(
    out,
    '516\n42\n"console,echo,host"\nUncaught SyntaxError: Unexpected end of input\n',
  );
});
