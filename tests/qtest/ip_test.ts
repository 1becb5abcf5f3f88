// Needs QEMU: its user network lends an address and passes TCP on to servers of this host.
import { assertEquals, assertRejects } from "@std/assert";
import { IpStack } from "@vireo/firmware/ip";
import { VireoError } from "@vireo/hal";
import { MMIO_BOARDS, PCI_BOARDS } from "../../firmware/boards/mod.ts";
import type { Vireo } from "../../firmware/vireo.ts";
import { openVireo } from "../../firmware/session.ts";

const SOON = { deadline: 10_000 };

function open(target: string): Promise<Vireo> {
  return openVireo({ target, blk: [], net: { kind: "user" } });
}

const random = (length: number): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65536));
  }
  return bytes;
};

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

for (const { name } of [...MMIO_BOARDS, PCI_BOARDS[1]!]) {
  Deno.test(`ip on ${name}: a lease, and files of a host's server, byte for byte`, async () => {
    const file = random(4 << 20);
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/file") return new Response(file);
        if (pathname === "/parts") {
          // Without a length: chunks.
          return new Response(ReadableStream.from([file.slice(0, 10), file.slice(10, 5000)]));
        }
        return new Response("not here", { status: 404 });
      },
    );
    await using vireo = await open(`qtest:${name}`);
    await using ip = await IpStack.dhcp(vireo.net, SOON);
    assertEquals(ip.address, "10.0.2.15");
    const { mask, router, dns, server: lender } = ip.lease!;
    assertEquals([mask, router, dns, lender], [
      "255.255.255.0",
      "10.0.2.2",
      ["10.0.2.3"],
      "10.0.2.2",
    ]);
    const base = `http://10.0.2.2:${server.addr.port}`;
    const whole = await ip.fetch(`${base}/file`, SOON);
    assertEquals([whole.status, whole.headers.get("content-length")], [200, String(file.length)]);
    assertEquals(await sha256(await readAll(whole.body)), await sha256(file));
    const parts = await ip.fetch(`${base}/parts`, SOON);
    assertEquals(await readAll(parts.body), file.slice(0, 5000));
    const none = await ip.fetch(`${base}/none`, SOON);
    assertEquals([none.status, new TextDecoder().decode(await readAll(none.body))], [
      404,
      "not here",
    ]);
  });
}

Deno.test("ip on QEMU: a megabyte goes up and comes back; what is not there is a typed error", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const serving = (async () => {
    using connection = await listener.accept();
    await connection.readable.pipeTo(connection.writable).catch(() => {});
  })();
  await using vireo = await open("qtest:aarch64-virt");
  await using ip = IpStack.static(vireo.net, { address: "10.0.2.15", router: "10.0.2.2" });
  const data = random(1 << 20);
  {
    await using connection = await ip.connect({ host: "10.0.2.2", port }, SOON);
    const writer = connection.writable.getWriter();
    const writing = writer.write(data).then(() => writer.close());
    const back = await readAll(connection.readable);
    await writing;
    assertEquals(await sha256(back), await sha256(data));
  }
  await serving;
  listener.close();
  const refused = () => ip.connect({ host: "10.0.2.2", port }, SOON);
  assertEquals((await assertRejects(refused, VireoError)).code, "COMMAND_REFUSED");
  const absent = () => ip.connect({ host: "10.0.2.77", port: 1 }, SOON);
  assertEquals((await assertRejects(absent, VireoError)).code, "NO_DEVICE");
  await assertRejects(() => ip.fetch("https://10.0.2.2/", SOON), TypeError, "http://");
});
