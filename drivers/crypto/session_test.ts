import { assertEquals, assertRejects } from "@std/assert";
import type { SessionParameters } from "./codec.ts";
import { type CryptoHost, CryptoSession } from "./session.ts";

Deno.test("crypto session: closing forgets each key, and destroys what the device has, once", async () => {
  const keys = [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5), Uint8Array.of(6)];
  const parameters = keys.map((key) => ({ key }) as unknown as SessionParameters);
  const destroyed: bigint[] = [];
  const host = {
    destroy: (_: SessionParameters, { number }: { number: bigint }) => {
      destroyed.push(number);
      return number === 7n ? Promise.reject(new Error("refused")) : Promise.resolve();
    },
  } as unknown as CryptoHost;
  const id = (number: bigint) => ({ number, life: 0 }) as never;
  const session = new CryptoSession(host, [
    { parameters: parameters[0]!, id: id(7n) },
    { parameters: parameters[1]!, id: id(8n) },
    { parameters: parameters[2]!, id: undefined },
  ]);
  assertEquals(session.stateless, false);
  await assertRejects(() => session.close(), Error, "refused");
  await session.close();
  assertEquals(destroyed, [7n, 8n]);
  assertEquals(keys.map((key) => [...key]), [[0, 0, 0], [0, 0], [0]]);
});
