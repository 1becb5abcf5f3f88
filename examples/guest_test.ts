// Needs QEMU and the guest images: the devices that are on a board when asked, all in one boot of a guest,
// each driven by its example.
import { assertEquals } from "@std/assert";

const ROOT = new URL("..", import.meta.url).pathname;
const WITH = ["balloon", "crypto", "gpu", "input", "p9", "scsi"];

/** A script that runs one example after the other. */
function script(): string {
  const imports = WITH.map((name) => `import ${name} from "${ROOT}examples/${name}.ts";\n`);
  const calls = WITH.map((name) => `  console.log("${name}:");\n  await ${name}(vireo);\n`);
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

const BOARDS = [
  ["x86_64-microvm", "aarch64-virt --packed"],
  ["x86_64-q35 --packed", "aarch64-virt-pci --poll"],
] as const;

for (const pair of BOARDS) {
  Deno.test(`balloon, crypto, gpu, input, 9p and scsi in guests: ${pair.join(", ")}`, async () => {
    const ends = await Promise.allSettled(pair.map(async (board) => {
      const dir = await Deno.makeTempDir({ prefix: "vireo-devices-" });
      try {
        await Deno.writeTextFile(`${dir}/script.ts`, script());
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
        assertEquals(text(stdout), PRINTED);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    }));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  });
}
