// Needs QEMU and the guest images: a guest gets an address and a file of a server of the host.
import { assertEquals } from "@std/assert";
import { GUEST_LIMIT } from "../cli_helper.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const SIZE = 4 << 20;
/** A script that runs commands of the guest's own, each in turn, and says how each ended. */
const COMMANDS = `
import { COMMANDS_BY_NAME } from "${ROOT}firmware/commands/table.ts";
import { DEFAULT_BOARD } from "${ROOT}firmware/target/options.ts";
import { report } from "${ROOT}firmware/terminal/report.ts";
export default async (vireo) => {
  await vireo[Symbol.asyncDispose]();
  const board = { ...DEFAULT_BOARD, target: vireo.target };
  for (const { name, flags, args } of JSON.parse(vireo.args[0])) {
    const code = await COMMANDS_BY_NAME.get(name).run({ board, flags, args }).then(() => 0, report);
    console.log(\`exit code \${code}\`);
  }
};
`;

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

Deno.test("net dhcp and net fetch in guests give a lease and the host's bytes", {
  timeout: GUEST_LIMIT,
}, async () => {
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
    const ends = await Promise.allSettled(["x86_64-microvm", "aarch64-virt"].map(async (board) => {
      const to = `${dir}/${board}`;
      const target = ["--target", `qemu:${board}`, "--blk", "none"];
      const got = await vireo(["net", "fetch", `${base}/file`, "-o", to, "--json", ...target]);
      assertEquals([got.code, got.err, JSON.parse(got.out).bytes], [0, "", SIZE]);
      assertEquals(await Deno.readFile(to), file);
    }));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    await Deno.writeTextFile(`${dir}/commands.ts`, COMMANDS);
    const calls = JSON.stringify([
      { name: "net dhcp", flags: { json: true, deadline: "20000" }, args: [] },
      { name: "net fetch", flags: { deadline: "20000" }, args: [`${base}/none`] },
    ]);
    const target = ["--target", "qemu:x86_64-microvm", "--blk", "none"];
    const run = await vireo(["run", ...target, `${dir}/commands.ts`, calls]);
    const end = run.out.indexOf("exit code");
    const { address, router, server: lender } = JSON.parse(run.out.slice(0, end));
    assertEquals([address, router, lender], ["10.0.2.15", "10.0.2.2", "10.0.2.2"]);
    assertEquals([run.code, run.out.slice(end)], [0, "exit code 0\nexit code 1\n"]);
    assertEquals(/saw 404, expected 200/.test(run.err), true, run.err);
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
