// Needs QEMU and the guest images: a guest gets an address and a file of a server of the host.
import { assertEquals } from "@std/assert";

const ROOT = new URL("../..", import.meta.url).pathname;
const SIZE = 4 << 20;

async function vireo(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(`${ROOT}vireo`, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("net dhcp and net fetch in guests of both boards give a lease and the host's bytes", async () => {
  const file = new Uint8Array(SIZE);
  for (let at = 0; at < SIZE; at += 65536) crypto.getRandomValues(file.subarray(at, at + 65536));
  const dir = await Deno.makeTempDir({ prefix: "vireo-ip-" });
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) =>
      new URL(request.url).pathname === "/file"
        ? new Response(file)
        : new Response("no", { status: 404 }),
  );
  try {
    const base = `http://10.0.2.2:${server.addr.port}`;
    await Promise.all(["x86_64-microvm", "aarch64-virt"].map(async (board) => {
      const target = ["--target", `qemu:${board}`, "--blk", "none"];
      const lease = await vireo(["net", "dhcp", "--json", ...target]);
      assertEquals([lease.code, lease.err], [0, ""]);
      const { address, router, server: lender } = JSON.parse(lease.out);
      assertEquals([address, router, lender], ["10.0.2.15", "10.0.2.2", "10.0.2.2"]);
      const to = `${dir}/${board}`;
      const got = await vireo(["net", "fetch", `${base}/file`, "-o", to, "--json", ...target]);
      assertEquals([got.code, got.err, JSON.parse(got.out).bytes], [0, "", SIZE]);
      assertEquals(await Deno.readFile(to), file);
      const none = await vireo(["net", "fetch", `${base}/none`, ...target]);
      assertEquals([none.code, none.out, /saw 0x194/.test(none.err)], [1, "", true]);
    }));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("net fetch and dhcp refuse what they cannot do", async () => {
  const wrong = await vireo(["net", "fetch", "https://example.org/"]);
  assertEquals([wrong.code, /http:\/\/ and an IPv4/.test(wrong.err)], [2, true]);
  const alone = await vireo(["net", "dhcp", "--deadline", "50"]);
  assertEquals([alone.code, /No DHCP server/.test(alone.err)], [1, true]);
});
