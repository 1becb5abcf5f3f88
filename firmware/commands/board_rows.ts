import { inGuest } from "../terminal/environment.ts";
import { UsageError } from "../terminal/usage.ts";
import { command, type CommandRow, JSON_OPTION } from "./command.ts";

const CONSOLE = {
  flag: "--console <device>",
  summary: "qemu: what the REPL talks through in the guest",
  choices: ["uart", "virtio"],
} as const;

/** Whether the user named a disk, by flags that are typed as the command's own. */
const namesDisk = (flags: object): boolean => "blk" in flags && flags.blk !== undefined;

/** The commands of boards as a whole. */
export const BOARD_ROWS: readonly CommandRow[] = [
  command({
    name: "probe",
    summary: "list the devices: what they offered and what was negotiated",
    options: [JSON_OPTION],
    example: "vireo probe --legacy --no-event-idx\nvireo probe --json | jq '.devices[].id'",
    board: {},
    run: async ({ board, flags }) => await (await import("./probe.ts")).probe(board, flags),
  }),
  command({
    name: "boards",
    summary: "list the boards, and which targets each supports",
    options: [JSON_OPTION],
    example: "vireo boards\nvireo probe --target qtest:riscv64-virt",
    run: async ({ flags }) => (await import("./boards.ts")).listBoards(flags),
  }),
  command({
    name: "demo",
    summary: "drive all four devices of a board and report what each did",
    options: [JSON_OPTION],
    example: "vireo demo --blk disk.img,ro",
    board: {},
    beforeGuest: async ({ board, flags }) =>
      await (await import("./demo.ts")).prepareDemo(board, namesDisk(flags)),
    run: async ({ board, flags }) =>
      await (await import("./demo.ts")).demo(board, { ...flags, given: namesDisk(flags) }),
  }),
  command({
    name: "run",
    summary: "run a TypeScript file with the board's bus and drivers",
    arguments: [
      ["<script>", "a file whose default export takes a Vireo"],
      ["[args...]", "passed on as vireo.args; -- before those that are options of run too"],
    ],
    options: [{ flag: "--watch", summary: "run it again whenever the file changes" }],
    example: "vireo run --blk disk.img examples/read_disk.ts\n" +
      "vireo run script.ts -- --target is-for-the-script",
    passThrough: true,
    stdin: "bytes",
    board: {},
    async beforeGuest({ args: [script], flags }) {
      // It starts the same command line without this flag, again and again.
      if (flags.watch) return undefined;
      await (await import("./run.ts")).checkFile(script);
      return { script };
    },
    async run({ board, args: [script, args], flags }) {
      const { run, watch } = await import("./run.ts");
      if (flags.watch) await watch(script);
      else await run(board, script, args);
    },
  }),
  command({
    name: "shell",
    summary: "a TypeScript REPL with bus, blk, net, con and rng in scope",
    options: [CONSOLE],
    example: "vireo shell --blk disk.img\nvireo shell --target qemu:aarch64-virt --console virtio",
    stdin: "keys",
    board: {},
    beforeGuest: () => Promise.resolve({}),
    run: async ({ board, flags }) => await (await import("./shell.ts")).shell(board, flags),
  }),
  command({
    name: "image",
    summary: "write a kernel and an initramfs that boot into the REPL, and QEMU's command line",
    options: [
      {
        flag: "--arch <arch>",
        summary: "the guest's processor",
        choices: ["x86_64", "aarch64"],
        required: true,
      },
      { flag: "-o, --output <dir>", summary: "where to write them", required: true },
      { flag: "--refresh", summary: "look for newer Debian packages" },
      JSON_OPTION,
    ],
    example: "vireo image --arch aarch64 -o out\nout/boot.sh\nvireo boot",
    run: async ({ flags }) => await (await import("./image.ts")).makeImage(flags),
  }),
  command({
    name: "boot",
    summary: "boot a guest into the REPL, which has the board's drivers in scope",
    options: [CONSOLE],
    example: "vireo boot --target qemu:aarch64-virt --blk disk.img --memory 1024",
    stdin: "keys",
    board: { target: "qemu:x86_64-microvm" },
    beforeGuest: () => Promise.resolve({}),
    async run({ board, flags }) {
      if (!inGuest()) throw new UsageError(`boot: only qemu targets boot, not ${board.target}`);
      await (await import("./shell.ts")).shell(board, flags);
    },
  }),
];

/** The commands of the devices that have no group. */
export const STREAM_ROWS: readonly CommandRow[] = [
  command({
    name: "console",
    summary: "connect standard input and output to a console port",
    options: [
      { flag: "--port <name>", summary: "the port's name or number", value: "0" },
      { flag: "--list", summary: "list the ports instead", noStdin: true },
      { flag: "--send <text>", summary: "send this instead of standard input", noStdin: true },
      {
        flag: "--quiet <ms>",
        summary: "after the input ended, stop when nothing came for so long",
        value: "300",
      },
      JSON_OPTION,
    ],
    example: "echo hello | vireo console\nvireo console --list --json",
    stdin: "keys",
    board: {},
    run: async ({ board, flags }) => await (await import("./console.ts")).runConsole(board, flags),
  }),
  command({
    name: "rng",
    summary: "write random bytes from the entropy device",
    arguments: [["[bytes]", "how many, for example 32 or 1M", "32"]],
    options: [
      {
        flag: "--format <format>",
        summary: "how to write them",
        choices: ["hex", "raw"],
        value: "hex",
      },
      JSON_OPTION,
    ],
    example: "vireo rng 16\nvireo rng 1M --format raw > random.bin",
    board: {},
    run: async ({ board, args: [bytes], flags }) =>
      await (await import("./rng.ts")).rng(board, bytes, flags),
  }),
];
