// Needs QEMU and the guest images: every example that needs no emulator, all in one boot of a guest, with the
// devices that are on a board when asked; then how Ctrl-C ends a command in the middle of I/O.
import { assertEquals, assertMatch } from "@std/assert";
import { GUEST_LIMIT, Running } from "../cli_helper.ts";
import { endGuest } from "../killed/guest.ts";
import { TempFolder } from "../temp_folder.ts";

const EXAMPLES = new URL("../../examples/", import.meta.url).pathname;
const WITH = ["balloon", "crypto", "gpu", "input", "p9", "scsi"];

/** Those of the devices that every board has; the last one takes a driver away. */
const OTHERS = ["console_echo", "entropy", "ping", "probe", "read_disk", "write_a_driver"];

/** A script that runs one example after the other, and then writes to the disk until it is ended. */
function script(names: readonly string[]): string {
  const imports = names.map((name) => `import ${name} from "${EXAMPLES}${name}.ts";\n`);
  const calls = names.map((name) => `  console.log("${name}:");\n  await ${name}(vireo);\n`);
  return `${imports.join("")}export default async (vireo) => {
${calls.join("")}
  for (let i = 0;; i++) {
    await vireo.blk.write(i % 1000, new Uint8Array(512));
    if (i === 100) console.log("busy");
  }
};
`;
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
  /^virtio\d: block at 0000:00:/m,
  /^sha256 [0-9a-f]{64}$/m,
  /^rolled [1-6] and [1-6]$/m,
];

// On one board: tests/guest/matrix_test.ts has the others, and the end of a guest's QEMU.
Deno.test(
  "examples in a guest: x86_64-q35 --packed; Ctrl-C in the middle of I/O ends the command at once",
  { timeout: GUEST_LIMIT },
  async () => {
    using folder = new TempFolder();
    const dir = folder.path;
    await Deno.writeTextFile(`${dir}/script.ts`, script([...WITH, ...OTHERS]));
    await Deno.writeFile(`${dir}/disk.img`, new Uint8Array(1 << 20));
    await Deno.mkdir(`${dir}/share`);
    const flags = WITH.map((name) => `--with ${name === "p9" ? `9p=${dir}/share` : name}`);
    const guest = new Running(
      `run --target qemu:x86_64-q35 --packed --blk ${dir}/disk.img ${
        flags.join(" ")
      } ${dir}/script.ts`,
    );
    await guest.line("busy");
    await endGuest(guest, "Ctrl-C", dir);
    // QEMU's keyboard has 147 keys up to 10.0.2, and 159 in 10.0.13.
    const printed = guest.text.replace("has 159 keys", "has 147 keys");
    assertEquals(printed.slice(0, PRINTED.length), PRINTED);
    const rest = printed.slice(PRINTED.length);
    for (const line of OTHERS_PRINTED) assertMatch(rest, line);
  },
);
