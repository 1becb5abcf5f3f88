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
    name: "inspect",
    summary: "show the rings of a board: descriptors, entries, what is in flight, QEMU's view",
    options: [JSON_OPTION],
    example: "vireo inspect --target qtest:aarch64-virt\nvireo inspect --packed --json",
    board: {},
    run: async ({ board, flags }) => await (await import("./inspect.ts")).inspect(board, flags),
  }),
  command({
    name: "check",
    summary: "look at devices clause by clause, without our drivers; or at a driver",
    arguments: [
      ["[driver]", "the word driver: look at a driver instead, on strict emulated devices"],
      ["[script]", "its script, as vireo run takes it, or a bundled driver: blk, net, 9p, ..."],
      ["[args...]", "passed on to the script as vireo.args"],
    ],
    options: [
      {
        flag: "--only <words>",
        summary: "device types (blk) or schedules (late), sections (§2.7), clauses or checks",
      },
      { flag: "--hostile", summary: "with the checks that break rules on purpose" },
      { flag: "--list", summary: "list the checks instead" },
      { flag: "--seed <n>", summary: "start of the random numbers", value: "1" },
      { flag: "--junit <file>", summary: "write the results as JUnit too", file: "write" },
      { flag: "--html <file>", summary: "write the results as a page too" },
      JSON_OPTION,
    ],
    example: "vireo check --only blk,rng --hostile\n" +
      "vireo check --target qtest:aarch64-virt --hostile --html report.html\n" +
      "vireo check --list --only §2.7\n" +
      "vireo check driver my_driver/my_driver.ts\n" +
      "vireo check driver blk --only late,drv.split-ring --seed 7",
    board: {},
    async run({ board, args: [word, script, args], flags }) {
      // In a guest a missing argument is null.
      if (!word) return await (await import("./check.ts")).check(board, flags);
      if (word !== "driver") {
        throw new UsageError(`check: expected nothing or 'driver', got '${word}'`);
      }
      await (await import("./check_driver.ts")).checkDriver(board, script, args, flags);
    },
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
    options: [
      { flag: "--watch", summary: "run it again whenever it or a module that it imports changes" },
      { flag: "--check", summary: "check its types first" },
    ],
    example: "vireo run --blk disk.img examples/read_disk.ts\n" +
      "vireo run script.ts -- --target is-for-the-script",
    passThrough: true,
    stdin: "bytes",
    board: {},
    async beforeGuest({ args: [script], flags }) {
      // It starts the same command line without this flag, again and again.
      if (flags.watch) return undefined;
      const { checkFile, checkTypes } = await import("./run.ts");
      await (flags.check ? checkTypes : checkFile)(script);
      return { script };
    },
    async run({ board, args: [script, args], flags }) {
      if (flags.watch) return await (await import("./run.ts")).watch(script);
      if (flags.check && !inGuest()) await (await import("./run.ts")).checkTypes(script);
      const { CtrlC } = await import("../terminal/interrupts.ts");
      // Its thread comes up while the other modules are loaded.
      using ctrlC = new CtrlC();
      await (await import("./run.ts")).run(board, script, args, ctrlC);
    },
  }),
  command({
    name: "new",
    summary: "write a folder with a driver, a device or a script of yours, and a test of it",
    arguments: [
      ["<kind>", "driver, device or script"],
      ["<name>", "the folder, for example my_driver"],
    ],
    example: "vireo new driver my_driver\nvireo run my_driver/my_driver.ts",
    run: async ({ args: [kind, name] }) => await (await import("./new.ts")).makeNew(kind, name),
  }),
  command({
    name: "deno",
    summary: "run the Deno that Vireo has, for checks and tests of your own files",
    arguments: [["[args...]", "Deno's own"]],
    example:
      "vireo deno check --config my_driver/deno.json my_driver\nvireo deno test -A --config my_driver/deno.json my_driver",
    passThrough: true,
    run: async ({ args: [args] }) => await (await import("./deno.ts")).runDeno(args),
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
    name: "serve",
    summary: "serve a device at a vhost-user socket, for QEMU's guests and other front ends",
    arguments: [["<device>", "blk, net, console, rng, a device of --with, or a .ts file"]],
    options: [
      { flag: "--socket <path>", summary: "where to listen", required: true },
      { flag: "--queue-pairs <n>", summary: "queue pairs of a network device, 1 to 127" },
      { flag: "--once", summary: "end when the first front end left" },
      { flag: "--check", summary: "fail if a driver or a front end broke the specification" },
      JSON_OPTION,
    ],
    example: "vireo serve blk --blk disk.img --socket /run/a.sock\n" +
      "vireo serve my_device.ts --socket /run/b.sock --json",
    board: {},
    run: async ({ board, args: [device], flags }) =>
      await (await import("./serve.ts")).serve(board, device, flags),
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
