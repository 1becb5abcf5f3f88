import { assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { underWay } from "../terminal/under_way.ts";
import { GuestLine } from "./_line.ts";
import type { Qemu } from "./_qemu.ts";

/** What the host says of a QEMU that ends with a signal after its guest wrote this on the console. */
async function ending(console: string): Promise<VireoError> {
  const qemu: Qemu = {
    pid: 1,
    output: ReadableStream.from([new TextEncoder().encode(`\x16Vr0000${console}`)]),
    input: new WritableStream(),
    status: Promise.resolve({ success: false, code: 134, signal: "SIGABRT" }),
    errors: () => Promise.resolve("an assertion failed"),
    ended: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  return await assertRejects(() => new GuestLine(qemu, undefined).run({}), VireoError);
}

Deno.test("GuestLine names what the program was at when QEMU ended", async () => {
  // The kernel prints a line of /dev/kmsg without its level, behind the time.
  const line = (what: string): string => underWay(what).replace("<0>", "[    4.2] ");
  const error = await ending(`[1] up\n${line("split.request on 3")}${line("net.mac on 4")}[9] x\n`);
  assertEquals(error.code, "HOST_ERROR");
  assertEquals(
    error.message,
    "QEMU ended before the guest did, at net.mac on 4: saw SIGABRT\nan assertion failed\n[1] up\n[9] x",
  );
  assertEquals(
    (await ending("[1] up\n")).message,
    "QEMU ended before the guest did: saw SIGABRT\nan assertion failed\n[1] up",
  );
});
