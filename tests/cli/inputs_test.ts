/**
 * What people give the command line, wrong, empty, huge, absent or cut short, and what it answers: an exit
 * code and a line. Nothing here may end in a stack, or in code 0 without an answer.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { call, type Result, Running, VIREO, vireo } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

/** A command line in a folder of its own, where `~` stands for the folder. */
interface Input {
  /** The command line, split at spaces. */
  readonly args: string;
  /** Standard input. */
  readonly stdin?: string;
  /** The exit code; 0 fine, 1 a device or the host failed, 2 the command line was wrong. */
  readonly code: number;
  /** All of standard error, without its end of line. */
  readonly err?: string;
  /** A line of standard output; none may be there if it is not said. */
  readonly out?: string | RegExp;
}

/** Command lines of a script that does not end until Ctrl-C is pressed. */
const INTERRUPTED: readonly string[] = [
  "run ~/forever.ts",
  "run --trace-file ~/t.txt ~/forever.ts",
  "record run ~/forever.ts -o ~/r.vireo",
  "run --target qtest:riscv64-virt ~/forever.ts",
];

/** What loads a script, or another program; a sample of each other kind is a process too. */
const OWN_PROCESS =
  /^(run|record|deno|check driver|boot|image|help|rng|blk read|blk raed)\b|qemu:|\/dev\/full/;

/** The files of the folder. */
async function prepare(dir: string): Promise<void> {
  const files: [string, number | string][] = [
    ["empty.img", 0],
    ["ragged.img", 9 * 512],
    ["cut.img", 1000],
    ["disk.img", 64 * 512],
    ["a,b.img", 64 * 512],
  ];
  for (const [name, contents] of files) {
    const path = `${dir}/${name}`;
    if (typeof contents === "string") await Deno.writeTextFile(path, contents);
    else {
      await Deno.writeTextFile(path, "");
      await Deno.truncate(path, contents);
    }
  }
  const scripts: Readonly<Record<string, string>> = {
    "args.ts":
      `export default ({ args }: { args: string[] }) => console.log(JSON.stringify(args));`,
    "syntax.ts": "export default () => {\n  let x = ;\n};\n",
    "missing.ts": `import "./nothere.ts";\nexport default () => {};\n`,
    "bare.ts": `import "nopackage";\nexport default () => {};\n`,
    "nothing.ts": "",
    "number.ts": "export default 1;\n",
    "forever.ts":
      `export default () => { console.log("begun"); setInterval(() => {}, 1000); return new Promise(() => {}); };`,
    "class.ts": "export default class {}\n",
    "name.ts": `import { rngDrver } from "@vireo/drivers/rng";\nexport default () => rngDrver;\n`,
    "length.ts":
      "export default ({ rng }: { rng: { read(n: number): unknown } }) => rng.read(1.5);\n",
  };
  for (const [name, text] of Object.entries(scripts)) {
    await Deno.writeTextFile(`${dir}/${name}`, text);
  }
  await Deno.mkdir(`${dir}/folder`);
}

const DISK = "the disk has 64 sectors, 0 to 63";

const INPUTS: readonly Input[] = [
  // Options after a script are the script's, so options of `run` there are a mistake.
  {
    args: "run ~/args.ts --target qtest:x86_64-microvm",
    code: 2,
    err: "vireo: run: --target must stand before ~/args.ts, or after -- if it is for the script",
  },
  {
    args: "run ~/args.ts a --blk=none",
    code: 2,
    err: "vireo: run: --blk must stand before ~/args.ts, or after -- if it is for the script",
  },
  { args: "run ~/args.ts a --mine -x", code: 0, out: '["a","--mine","-x"]' },
  { args: "run ~/args.ts a -- --target b -- c", code: 0, out: '["a","--target","b","--","c"]' },
  { args: "run -- ~/args.ts --target b", code: 0, out: '["--target","b"]' },
  // Places that a disk does not have.
  {
    args: "blk read --blk ~/disk.img --sector 64",
    code: 2,
    err: `vireo: --sector: ${DISK}, got 64`,
  },
  {
    args: "blk read --blk ~/disk.img --sector 99999999 --hash",
    code: 2,
    err: `vireo: --sector: ${DISK}, got 99999999`,
  },
  {
    args: "blk read --blk ~/disk.img --sector 60 --count 5",
    code: 2,
    err: "vireo: --sector, --count: the disk has 64 sectors, got 60 + 5",
  },
  {
    args: "blk read --count 0",
    code: 2,
    err: "vireo: --count: expected 1 to 17592186044415, got 0",
  },
  {
    args: "blk write --blk ~/disk.img --sector 64",
    stdin: "",
    code: 2,
    err: `vireo: --sector: ${DISK}, got 64`,
  },
  {
    args: "blk discard --blk ~/disk.img --sector 64",
    code: 2,
    err: `vireo: --sector: ${DISK}, got 64`,
  },
  {
    args: "blk write --blk ~/disk.img --sector 63",
    stdin: "x".repeat(513),
    code: 1,
    err:
      "vireo: The input is longer than the disk from there on: saw 513 bytes, expected at most 512 [OUT_OF_RANGE]",
  },
  // Disks that are empty, or no whole number of blocks.
  { args: "blk info --blk ~/empty.img", code: 0, out: "0 B (0 sectors), blocks of 512 bytes" },
  { args: "blk info --blk /dev/null", code: 0, out: "no partition table" },
  {
    args: "blk read --blk ~/empty.img",
    code: 1,
    err: "vireo: The disk is empty: it has 0 sectors (virtio1) [OUT_OF_RANGE]",
  },
  {
    args: "blk info --blk ~/ragged.img,block-size=4096",
    code: 0,
    out: "the last 512 bytes cannot be used: a block has 4096 bytes",
  },
  {
    args: "blk read --blk ~/ragged.img,block-size=4096",
    code: 2,
    err:
      "vireo: --sector, --count: the disk has 9 sectors, but only the first 8 are whole blocks of " +
      "4096 bytes, got 0 + 9",
  },
  {
    args: "blk write --blk ~/ragged.img,block-size=4096 --sector 8",
    stdin: "x",
    code: 1,
    err:
      "vireo: The input is longer than the disk from there on: saw 1 bytes, expected at most 0 [OUT_OF_RANGE]",
  },
  {
    args: "blk info --blk ~/cut.img",
    code: 1,
    err:
      "vireo: Cannot use disk image ~/cut.img: its size must be whole sectors, so it seems truncated: saw 1000 bytes, " +
      "expected a multiple of 512 bytes [HOST_ERROR]",
  },
  // Wires without a way back.
  {
    args: "net ping --net tap:vireonone0",
    code: 2,
    err:
      "vireo: --source: must be given, because vireonone0 has no IPv4 address on this host (to give it " +
      "one: ip addr add 192.0.2.1/24 dev vireonone0)",
  },
  {
    args: "net ping 10.0.2.2 --source 10.0.2",
    code: 2,
    err: "vireo: --source: expected an IPv4 address, got '10.0.2'",
  },
  // Scripts that cannot be loaded, here and for a guest that is not even booted.
  {
    args: "run ~/syntax.ts",
    code: 2,
    err:
      "vireo: run: Cannot load ~/syntax.ts: SyntaxError: Expression expected, at ~/syntax.ts:2:11",
  },
  {
    args: "run --target qemu:x86_64-microvm ~/syntax.ts",
    code: 2,
    err:
      "vireo: Cannot bundle for the guest: SyntaxError: Expression expected, at ~/syntax.ts:2:11",
  },
  {
    args: "run ~/missing.ts",
    code: 2,
    err:
      'vireo: run: Cannot load ~/missing.ts: Module not found "file://~/nothere.ts", at ~/missing.ts:1:8',
  },
  {
    args: "run --target qemu:x86_64-microvm ~/missing.ts",
    code: 2,
    err:
      'vireo: Cannot bundle for the guest: Module not found "file://~/nothere.ts", at ~/missing.ts:1:8',
  },
  {
    args: "run ~/bare.ts",
    code: 2,
    err:
      'vireo: run: Cannot load ~/bare.ts: Import "nopackage" not a dependency and not in import map ' +
      'from "file://~/bare.ts", at ~/bare.ts:1:8',
  },
  {
    args: "run ~/folder",
    code: 2,
    err: "vireo: run: ~/folder must be a file with a script; it is a folder or a device",
  },
  { args: "run ~/args.ts/x", code: 2, err: "vireo: run: no such file: ~/args.ts/x" },
  { args: "run ~/none.ts", code: 2, err: "vireo: run: no such file: ~/none.ts" },
  {
    args: "run ~/nothing.ts",
    code: 2,
    err:
      "vireo: run: ~/nothing.ts: expected 'export default async function (vireo: Vireo) { ... }'",
  },
  {
    args: "run ~/number.ts",
    code: 2,
    err: "vireo: run: ~/number.ts: expected 'export default async function (vireo: Vireo) { ... }'",
  },
  {
    args: "run ~/class.ts",
    code: 2,
    err: "vireo: run: ~/class.ts: expected 'export default async function (vireo: Vireo) { ... }'",
  },
  {
    args: "run ~/name.ts",
    code: 2,
    err:
      "vireo: run: Cannot load ~/name.ts: The requested module '@vireo/drivers/rng' does not provide " +
      "an export named 'rngDrver', at ~/name.ts:1:10",
  },
  {
    args: "check driver ~/none.ts",
    code: 2,
    err: "vireo: check driver: no such file: ~/none.ts",
  },
  // Files that the host does not read or write.
  {
    args: "check --only rng --html ~/none/x",
    code: 1,
    err: "vireo: --html: Cannot write ~/none/x: No such file or directory [HOST_ERROR]",
  },
  {
    args: "check driver rng --only plain --junit ~/folder",
    code: 1,
    err: "vireo: --junit: Cannot write ~/folder: Is a directory [HOST_ERROR]",
  },
  {
    args: "probe --target qemu:x86_64-microvm --kernel ~/none",
    code: 1,
    err: "vireo: --kernel: Cannot read ~/none: No such file or directory [HOST_ERROR]",
  },
  {
    args: "vsock send 7 x --with vsock=~/none/x",
    code: 1,
    err: "vireo: --with vsock: Cannot listen at ~/none/x: No such file or directory [HOST_ERROR]",
  },
  {
    args: "blk read --count 8 -o /dev/full",
    code: 1,
    err: "vireo: --output: Cannot write /dev/full: No space left on device [HOST_ERROR]",
  },
  {
    args: "blk read -o ~/folder",
    code: 1,
    err: "vireo: --output: Cannot write ~/folder: Is a directory [HOST_ERROR]",
  },
  {
    args: "net capture -o ~/none/x",
    code: 1,
    err: "vireo: --output: Cannot write ~/none/x: No such file or directory [HOST_ERROR]",
  },
  {
    args: "9p cat hello.txt -o ~/args.ts/x",
    code: 1,
    err: "vireo: --output: Cannot write ~/args.ts/x: Not a directory [HOST_ERROR]",
  },
  {
    args: "scsi read -o /dev/full",
    code: 1,
    err: "vireo: --output: Cannot write /dev/full: No space left on device [HOST_ERROR]",
  },
  {
    args: "image --arch aarch64 -o /dev/null/x",
    code: 1,
    err: "vireo: --output: Cannot make /dev/null/x: Not a directory [HOST_ERROR]",
  },
  {
    args: "blk write -i ~/none",
    code: 1,
    err: "vireo: --input: Cannot read ~/none: No such file or directory [HOST_ERROR]",
  },
  {
    args: "blk write -i ~/folder",
    code: 1,
    err: "vireo: --input: Cannot read ~/folder: Is a directory [HOST_ERROR]",
  },
  {
    args: "9p put x ~/folder",
    code: 1,
    err: "vireo: --input: Cannot read ~/folder: Is a directory [HOST_ERROR]",
  },
  {
    args: "9p ls --with 9p=~/none",
    code: 1,
    err: "vireo: --with 9p: Cannot share ~/none: No such file or directory [HOST_ERROR]",
  },
  {
    args: "9p ls --with 9p=~/args.ts",
    code: 1,
    err: "vireo: --with 9p: Cannot share ~/args.ts: it must be a folder [HOST_ERROR]",
  },
  {
    args: "rng 64K --trace-file /dev/full",
    code: 1,
    err: "vireo: Cannot write the trace to /dev/full: No space left on device [HOST_ERROR]",
    out: /^[0-9a-f]{131072}$/,
  },
  {
    args: "record boards -o ~/none/x",
    code: 2,
    err: "vireo: record: boards drives no devices",
  },
  {
    args: "record probe -o ~/none/x",
    code: 1,
    err: "vireo: Cannot write the recording to ~/none/x: No such file or directory [HOST_ERROR]",
  },
  // Numbers, frames and addresses.
  {
    args: `caif send ${"x".repeat(4033)}`,
    code: 2,
    err: "vireo: Cannot send a frame of 4033 bytes: expected 1 to 4032",
  },
  {
    args: "input watch --type 99999 -c 1",
    code: 2,
    err: "vireo: --type: expected 1 to 767, got 99999",
  },
  {
    args: "crypto aes-cbc 00",
    code: 2,
    err: "vireo: data: expected a multiple of 16 bytes, got 1",
  },
  {
    args: `crypto aes-cbc ${"00".repeat(16)} --key 00`,
    code: 2,
    err: "vireo: --key: expected 16, 24 or 32 bytes, got 1",
  },
  {
    args: `crypto aes-cbc ${"00".repeat(16)} --iv 0000`,
    code: 2,
    err: "vireo: --iv: expected 16 bytes, got 2",
  },
  {
    args: "vsock send 4294967295 x",
    code: 2,
    err: "vireo: Cannot connect to port 4294967295: expected an integer from 0 to 4294967294",
  },
  {
    args: `net send ${"ff".repeat(1515)}`,
    code: 2,
    err: "vireo: frame: expected 14 to 1514 bytes, as the MTU is 1500, got 1515",
  },
  { args: "net send ff", code: 2, err: "vireo: frame: expected 14 bytes or more, got 1" },
  {
    args: "net send xy",
    code: 2,
    err: "vireo: frame: expected pairs of hex digits, got 'xy'",
  },
  {
    args: "net fetch http://10.0.2/",
    code: 2,
    err: "vireo: url: expected http:// and an IPv4 address or a name, got 'http://10.0.2/'",
  },
  {
    args: "net fetch https://10.0.2.2/",
    code: 2,
    err: "vireo: url: expected http:// and an IPv4 address or a name, got 'https://10.0.2.2/'",
  },
  {
    args: "net fetch http://10.0.2.999/",
    code: 2,
    err: "vireo: url: expected http:// and an IPv4 address or a name, got 'http://10.0.2.999/'",
  },
  {
    args: "rng 1e3",
    code: 2,
    err: "vireo: bytes: expected a number such as 4096, 0x1000 or 64K, got '1e3'",
  },
  {
    args: "rng 9999999999999999999",
    code: 2,
    err: "vireo: bytes: expected at most 9007199254740991, got 9999999999999999999",
  },
  { args: "rng 0 --json", code: 0, out: '{"length":0,"hex":""}' },
  // Values that an option does not have, and what a device answers or does not.
  {
    args: "blk read --disk 1",
    code: 2,
    err: "vireo: --disk: expected 0 to 0, got 1",
  },
  {
    args: "blk info --blk ~/disk.img,rw",
    code: 2,
    err:
      "vireo: --blk: expected ro, serial=TEXT or block-size=BYTES after the file, got 'rw'; a comma in the file's name is written twice",
  },
  {
    args: "blk info --blk ~/disk.img,block-size=1000",
    code: 2,
    err: "vireo: --blk: expected a block size of 512 to 65536, a power of two, got 1000",
  },
  {
    args: "blk info --blk none --blk ~/disk.img",
    code: 2,
    err: "vireo: --blk: 'none' stands alone",
  },
  {
    args: "blk read --json",
    code: 2,
    err: "vireo: --json: needs -o FILE or --hash, standard output has the bytes",
  },
  {
    args: "scsi read --json",
    code: 2,
    err: "vireo: --json: needs -o FILE, standard output has the bytes",
  },
  {
    args: "9p cat hello.txt --json",
    code: 2,
    err: "vireo: --json: needs -o FILE, standard output has the bytes",
  },
  { args: "deno --version", code: 0, out: /^deno 2\./ },
  {
    args: "record --bogus",
    code: 2,
    err: "vireo: record: expected -o FILE, the recording",
  },
  {
    args: "net ping 10.0.2.9 -c 1 --deadline 50",
    code: 1,
    err: "vireo: Timed out after 50 ms waiting for 10.0.2.9 to answer ARP (virtio0) [TIMEOUT]",
  },
  {
    args: "console --port nobody --send x",
    code: 2,
    err: "vireo: console: no port 'nobody': Timed out after 1000 ms waiting for port nobody",
  },
  {
    args: "scsi read --block 99999999",
    code: 1,
    err:
      "vireo: Unit 0:0 refuses a command (virtio4): saw ILLEGAL REQUEST, logical block address out of range (21/00), expected GOOD [OUT_OF_RANGE]",
  },
  {
    args: "9p cat nothing",
    code: 1,
    err: "vireo: Cannot read 'nothing': saw ENOENT (no such file or folder) [COMMAND_REFUSED]",
  },
  {
    args: "9p ls nothing",
    code: 1,
    err: "vireo: Cannot list 'nothing': saw ENOENT (no such file or folder) [COMMAND_REFUSED]",
  },
  {
    args: "9p cat /",
    code: 1,
    err: "vireo: Cannot read '/': saw EBADF (not a file that can be read) [COMMAND_REFUSED]",
  },
  {
    args: "9p put nothing/file",
    stdin: "x",
    code: 1,
    err:
      "vireo: Cannot write 'nothing/file': saw ENOENT (no such file or folder) [COMMAND_REFUSED]",
  },
  { args: `rproc-serial send ${"x".repeat(100_000)}`, code: 0, out: "x".repeat(100_000) },
  {
    args: `rng ${"x".repeat(100_000)}`,
    code: 2,
    err: `vireo: bytes: expected a number such as 4096, 0x1000 or 64K, got '${
      "x".repeat(341)
    }... (99660 more characters)`,
  },
  {
    args: "probe --with 9p=",
    code: 2,
    err: "vireo: --with 9p: expected DIR[,ro], got ''",
  },
  {
    args: "probe --queue-size 65536",
    code: 2,
    err: "vireo: --queue-size: expected 1 to 32768, got 65536",
  },
  {
    args: "probe --target qemu:x86_64-microvm --memory 1",
    code: 2,
    err: "vireo: --memory: expected 256 to 65536, got 1",
  },
  {
    args: "probe --legacy --packed",
    code: 2,
    err: "vireo: --packed: legacy devices do not have it",
  },
  {
    args: "probe --target qtest:x86_64-q35 --device=",
    code: 2,
    err: "vireo: --device: expected a value that is not empty",
  },
  {
    args: "blk info --target vhost-user:blk=~/none",
    code: 1,
    err:
      "vireo: Cannot call connect to ~/none: the host refused: saw No such file or directory [HOST_ERROR]",
  },
  {
    args: "boot --target emu",
    code: 2,
    err: "vireo: boot: only qemu targets boot, not emu",
  },
  // A comma in a file's name.
  {
    args: "blk info --blk ~/a,,b.img",
    code: 0,
    out: "32 KiB (64 sectors), blocks of 512 bytes",
  },
  {
    args: "blk info --blk ~/a,b.img,ro",
    code: 0,
    out: "32 KiB (64 sectors), blocks of 512 bytes, read-only",
  },
  {
    args: "blk info --blk ~/a,c.img",
    code: 2,
    err:
      "vireo: --blk: expected ro, serial=TEXT or block-size=BYTES after the file, got 'c.img'; a comma in the file's name is written twice",
  },
  {
    args: "9p ls --with 9p=~/a,b",
    code: 2,
    err: "vireo: --with 9p: expected DIR[,ro], got '~/a,b'",
  },
  // Options and commands that are not there.
  {
    args: "probe --targe emu",
    code: 2,
    err: "vireo: unknown option '--targe' (Did you mean --target?); see 'vireo probe --help'",
  },
  {
    args: "blk raed",
    code: 2,
    err: "vireo: unknown command 'raed' (Did you mean read?); see 'vireo blk --help'",
  },
  {
    args: "rng --format x",
    code: 2,
    err:
      "vireo: option '--format <format>' argument 'x' is invalid. Allowed choices are hex, raw; see " +
      "'vireo rng --help'",
  },
  {
    args: "image",
    code: 2,
    err: "vireo: required option '--arch <arch>' not specified; see 'vireo image --help'",
  },
  {
    args: "probe extra",
    code: 2,
    err: "vireo: too many arguments for 'probe'. Expected 0 arguments but got 1: extra; see " +
      "'vireo probe --help'",
  },
  {
    args: "help blk raed",
    code: 2,
    err: "vireo: unknown command 'raed'; see 'vireo blk --help'",
  },
  { args: "help blk read", code: 0, out: "Usage: vireo blk read [options]" },
  {
    args: "blk help raed",
    code: 2,
    err: "vireo: unknown command 'raed'; see 'vireo blk --help'",
  },
  { args: "blk help read", code: 0, out: "Usage: vireo blk read [options]" },
  { args: "blk help --help", code: 0, out: "Usage: vireo blk help [options] [command...]" },
  { args: "help blk help", code: 0, out: "Usage: vireo blk help [options] [command...]" },
];

/** Runs a command line of the shell in a folder, with the launcher as `$V`. */
async function shell(
  line: string,
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-c", line],
    env: { V: VIREO, NO_COLOR: "1", ...env },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

Deno.test("output that nobody takes ends in silence, and output without room in a line", async () => {
  for (const command of ["help", "probe", "rng 1M --format raw", "blk read"]) {
    const piped = await shell(`set -o pipefail; $V ${command} | head -c 1 >/dev/null`);
    assertEquals([command, piped.code, piped.err], [command, 0, ""]);
    const full = await shell(`$V ${command} >/dev/full`);
    assertEquals([command, full.code], [command, 1]);
    assertEquals(full.err, "vireo: No space left on device (os error 28)\n");
  }
});

Deno.test("bytes other than text are not written to a terminal", async () => {
  for (
    const command of ["blk read", "rng 8 --format raw", "net capture", "scsi read --with scsi"]
  ) {
    // A terminal of its own, whose output comes here.
    const seen = await shell(`script -qec "$V ${command}" /dev/null </dev/null`);
    assertEquals([command, seen.code], [command, 2]);
    const name = command.split(" --with")[0]!.replace(" 8", "");
    const line = `vireo: ${name}: standard output is a terminal; give -o FILE or a pipe\r\n`;
    assert(seen.out.includes(line), seen.out);
  }
});

Deno.test("what is interrupted ends with an exit code, without a word", async (t) => {
  using folder = new TempFolder();
  const dir = folder.path;
  await prepare(dir);
  for (const args of INTERRUPTED) {
    await t.step(args, async () => {
      const run = new Running(args.replaceAll("~", dir));
      await run.line("begun");
      run.child.kill("SIGINT");
      const ended = await run.end();
      assertEquals([ended.code, ended.err], [130, ""]);
    });
  }
});

Deno.test("every input gets an exit code and a line, never a stack or silence", async (t) => {
  using folder = new TempFolder();
  const dir = folder.path;
  await prepare(dir);
  assert(INPUTS.length >= 60);
  const here = (text: string): string => text.replaceAll("~", dir);
  const results: Result[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < INPUTS.length; i = next++) {
      const { args, stdin } = INPUTS[i]!;
      results[i] = await (OWN_PROCESS.test(args) ? vireo : call)(here(args), stdin);
    }
  };
  await Promise.all([worker(), worker()]);
  for (const [i, { args, code, err = "", out }] of INPUTS.entries()) {
    await t.step(args.slice(0, 100), () => {
      const result = results[i]!;
      assertEquals([result.code, result.err.trimEnd()], [code, here(err)]);
      if (out === undefined) assertEquals(result.out, "");
      else {
        const is = (line: string): boolean =>
          typeof out === "string" ? line === here(out) : out.test(line);
        assert(result.out.split("\n").some(is), result.out);
      }
      // A failure is one line, and success is never without an answer.
      assertEquals(code === 0 ? result.out !== "" : err !== "" && !err.includes("\n"), true);
    });
  }
});
