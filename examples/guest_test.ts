// Needs QEMU and the guest images: every example that needs no emulator, all in one boot of a guest, with the
// devices that are on a board when asked.
import { assertEquals, assertMatch } from "@std/assert";

const ROOT = new URL("..", import.meta.url).pathname;
const WITH = ["balloon", "crypto", "gpu", "input", "p9", "scsi"];

/** Those of the devices that every board has; the last one takes a driver away. */
const OTHERS = ["console_echo", "entropy", "ping", "probe", "read_disk", "write_a_driver"];

/** A script that runs one example after the other. */
function script(names: readonly string[]): string {
  const imports = names.map((name) => `import ${name} from "${ROOT}examples/${name}.ts";\n`);
  const calls = names.map((name) => `  console.log("${name}:");\n  await ${name}(vireo);\n`);
  return `${imports.join("")}export default async (vireo) => {\n${calls.join("")}};\n`;
}

const PRINTED = `balloon:
the host has 8192 KiB of ours
the host has 0 KiB of ours
crypto:
the device's secret says 'attack at dawn'
gpu:
display 0 is 640x480
a test card is on it
input:
QEMU Virtio Keyboard has 147 keys
key 47 pressed
key 47 released
p9:
attached to 'vireo', 262168 bytes a message
file files.txt, 51 bytes
Files are read like memory,
and memory like files.
the host says ENOTEMPTY
scsi:
0:0 QEMU QEMU HARDDISK, 16 MiB
nothing, it was written to nowhere
`;

/** What the others print. */
const OTHERS_PRINTED = [
  /^1048576 bytes came back as they were sent$/m,
  /^key [0-9a-f]{64}$/m,
  /^reply \d from 10\.0\.2\.2 in /m,
  /^virtio\d: block at virtio-mmio@/m,
  /^sha256 [0-9a-f]{64}$/m,
  /^rolled [1-6] and [1-6]$/m,
];

/** What is shown here is the examples in a guest: tests/guest/matrix_test.ts has the other architecture. */
const BOARDS = ["x86_64-microvm", "x86_64-q35 --packed"] as const;

for (const [i, board] of BOARDS.entries()) {
  const others = i === 0 ? OTHERS : [];
  const timeout = 600_000;
  Deno.test(`examples in a guest: ${board}`, { timeout }, async () => {
    const dir = await Deno.makeTempDir({ prefix: "vireo-devices-" });
    try {
      await Deno.writeTextFile(`${dir}/script.ts`, script([...WITH, ...others]));
      await Deno.mkdir(`${dir}/share`);
      const flags = WITH.map((name) => name === "p9" ? `9p=${dir}/share` : name)
        .flatMap((value) => ["--with", value]);
      const { code, stdout, stderr } = await new Deno.Command(`${ROOT}vireo`, {
        args: ["run", "--target", ...`qemu:${board}`.split(" "), ...flags, `${dir}/script.ts`],
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
        env: { NO_COLOR: "1" },
      }).output();
      const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
      assertEquals([code, text(stderr)], [0, ""]);
      // QEMU's keyboard has 147 keys up to 10.0.2, and 159 in 10.0.13.
      const printed = text(stdout).replace("has 159 keys", "has 147 keys");
      assertEquals(printed.slice(0, PRINTED.length), PRINTED);
      const rest = printed.slice(PRINTED.length);
      if (others.length === 0) assertEquals(rest, "");
      else for (const line of OTHERS_PRINTED) assertMatch(rest, line);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}
