/**
 * What people give the command line, wrong, empty, huge, absent or cut short, and what it answers: an exit
 * code and a line. Nothing here may end in a stack, or in code 0 without an answer.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { vireo } from "../cli_helper.ts";

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
  readonly out?: string;
}

/** The files of the folder. */
async function prepare(dir: string): Promise<void> {
  const files: [string, number | string][] = [
    ["empty.img", 0],
    ["ragged.img", 9 * 512],
    ["cut.img", 1000],
    ["disk.img", 64 * 512],
  ];
  for (const [name, contents] of files) {
    const path = `${dir}/${name}`;
    if (typeof contents === "string") await Deno.writeTextFile(path, contents);
    else {
      await Deno.writeTextFile(path, "");
      await Deno.truncate(path, contents);
    }
  }
  await Deno.writeTextFile(
    `${dir}/args.ts`,
    `export default ({ args }: { args: string[] }) => console.log(JSON.stringify(args));`,
  );
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
    out: "the last 512 bytes cannot be used: they are no whole block of 4096 bytes",
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
      "vireo: Cannot use disk image ~/cut.img: it seems truncated: saw 1000 bytes, expected a size that is " +
      "a multiple of 512 bytes [HOST_ERROR]",
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
];

Deno.test("every input gets an exit code and a line, never a stack or silence", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "vireo-inputs-" });
  try {
    await prepare(dir);
    const here = (text: string): string => text.replaceAll("~", dir);
    for (const { args, stdin, code, err = "", out } of INPUTS) {
      await t.step(args, async () => {
        const result = await vireo(here(args), stdin);
        assertEquals([result.code, result.err.trimEnd()], [code, here(err)]);
        if (out === undefined) assertEquals(result.out, "");
        else assert(result.out.split("\n").includes(here(out)), result.out);
        // A failure is one line, and success is never without an answer.
        assertEquals(code === 0 ? result.out !== "" : err !== "" && !err.includes("\n"), true);
      });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
