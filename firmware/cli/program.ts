import { Command, Option } from "@commander-js/extra-typings";
import { type BoardFlags, boardOptions } from "./board_flags.ts";
import type { BoardDevice, DeviceCall } from "../devices/board_device.ts";
import { deviceCommand, runDeviceCommand } from "../devices/run.ts";
import { BOARD_DEVICES, having } from "../devices/table.ts";
import { inGuest } from "../terminal/environment.ts";
import { parseTarget } from "../target/target.ts";
import { Finished, parseCount, parseSize, UsageError } from "../terminal/usage.ts";

/** The board that `vireo boot` boots. */
const DEFAULT_GUEST = "x86_64-microvm";
const collect = (value: string, before: string[] | undefined): string[] => [
  ...(before ?? []),
  value,
];

const withText = ({ name, value }: BoardDevice): string =>
  value === undefined ? name : `${name}=${value}`;

/** Adds a command that takes the options of a board. */
function withBoard(parent: Parent, name: string, target = "emu") {
  return parent.command(name)
    .option("--target <target>", "emu, devmem, qtest:BOARD or qemu:BOARD (see boards)", target)
    .option(
      "--blk <disk>",
      "a disk: FILE[,ro][,serial=TEXT][,block-size=BYTES], or none; may be repeated",
      collect,
      undefined as string[] | undefined,
    )
    .option("--net <wire>", "the network: hub (emu), user (QEMU), tap:NAME or none")
    .addOption(
      new Option("--transport <bus>", "emu: the bus that devices are on").choices(
        ["mmio", "pci"] as const,
      ),
    )
    .option("--legacy", "devices have the legacy interface only (virtio-mmio: version 1)")
    .option("--transitional", "devices on PCI have both the legacy and the modern interface")
    .option("--force-legacy", "try the legacy interface of devices on PCI first")
    .option("--packed", "devices offer RING_PACKED")
    .option("--in-order", "emu: devices offer IN_ORDER")
    .option("--notification-data", "emu: devices offer NOTIFICATION_DATA")
    .option("--platform-iommu", "devices offer ACCESS_PLATFORM")
    .option("--queue-size <n>", "largest queue size, a power of two")
    .option("--no-indirect", "do not negotiate INDIRECT_DESC")
    .option("--no-event-idx", "do not negotiate EVENT_IDX")
    .option("--qemu <path>", "another QEMU than the board's")
    .option(
      "--qemu-arg <arg>",
      "one more argument for QEMU; may be repeated",
      collect,
      undefined as string[] | undefined,
    )
    .option(
      "--device <device>",
      "one more -device for QEMU; may be repeated",
      collect,
      undefined as string[] | undefined,
    )
    .option(
      "--with <device>",
      `one more device: ${BOARD_DEVICES.map(withText).join(", ")}; may be repeated`,
      collect,
      undefined as string[] | undefined,
    )
    .option("--mmio <windows>", "devmem: register windows as BASE,SIZE,COUNT")
    .option("--unbind", "devmem: take PCI functions from Linux's drivers, and give them back")
    .option("--poll", "devmem, qemu: poll even where interrupts are to be had")
    .option("--kernel <file>", "qemu: another kernel than the image's")
    .addOption(
      new Option("--accel <accel>", "qemu: how the processor runs").choices(
        ["tcg", "kvm"] as const,
      ),
    )
    .option("--memory <MiB>", "qemu: the guest's memory")
    .option("--smp <n>", "qemu: the guest's processors");
}

function consoleOption() {
  return new Option("--console <device>", "qemu: what the REPL talks through in the guest")
    .choices(["uart", "virtio"] as const);
}

/** What subcommands are added to. */
type Parent = Pick<Command, "command">;

const JSON_FLAG = "--json";
const JSON_TEXT = "print JSON, for scripts";

function example(command: { addHelpText(position: "after", text: string): unknown }, text: string) {
  command.addHelpText("after", `\nExample:\n${text.split("\n").map((l) => `  $ ${l}`).join("\n")}`);
}

/**
 * Builds the `vireo` command; what a subcommand needs is loaded when it runs.
 *
 * @param args The command line, for commands that run it again in a guest.
 * @returns The commander program; parse with `{ from: "user" }`.
 */
export function buildProgram(args: readonly string[] = []): Command {
  const program = new Command("vireo")
    .description("Virtio drivers in TypeScript, on an emulated board or a real one")
    .version("0.1.0")
    .enablePositionalOptions();
  program.hook("preAction", async (_, command) => {
    const flags: { target?: unknown } = command.opts();
    if (typeof flags.target !== "string" || parseTarget(flags.target).kind !== "qemu") return;
    if (inGuest()) return;
    const { guestCommand } = await import("../in_guest/plan.ts");
    const board = boardOptions(command.opts() as unknown as BoardFlags);
    const device = deviceCommand(`${command.parent?.name()} ${command.name()}`)?.device;
    const plan = await guestCommand(command, device ? having(board, device.name) : board);
    if (plan === undefined) return;
    await (await import("../commands/table.ts")).checkCall({ ...plan.call, board: plan.board });
    const { runInGuest } = await import("../in_guest/command.ts");
    throw new Finished(await runInGuest({ ...plan, args }));
  });
  example(program, "vireo probe\nvireo blk read --blk disk.img --sector 0 --count 1 | xxd | head");

  const probe = withBoard(program, "probe")
    .description("list the devices: what they offered and what was negotiated")
    .option(JSON_FLAG, JSON_TEXT)
    .action(async (flags) => {
      await (await import("../commands/probe.ts")).probe(boardOptions(flags), flags);
    });
  example(probe, "vireo probe --legacy --no-event-idx\nvireo probe --json | jq '.devices[].id'");

  const boards = program.command("boards")
    .description("list the boards, and which targets each supports")
    .option(JSON_FLAG, JSON_TEXT)
    .action(async (flags) => (await import("../commands/boards.ts")).listBoards(flags));
  example(boards, "vireo boards\nvireo probe --target qtest:riscv64-virt");

  const demo = withBoard(program, "demo")
    .description("drive all four devices of a board and report what each did")
    .option(JSON_FLAG, JSON_TEXT)
    .action(async (flags) => {
      const board = boardOptions(flags);
      await (await import("../commands/demo.ts")).demo(board, { ...flags, given: !!flags.blk });
    });
  example(demo, "vireo demo --blk disk.img,ro");

  const run = withBoard(program, "run")
    .description("run a TypeScript file with the board's bus and drivers")
    .argument("<script>", "a file whose default export takes a Vireo")
    .argument("[args...]", "passed on as vireo.args")
    .option("--watch", "run it again whenever the file changes")
    .passThroughOptions()
    .action(async (script, args, flags) => {
      const board = boardOptions(flags);
      const { run, watch } = await import("../commands/run.ts");
      if (flags.watch) await watch(script);
      else await run(board, script, args);
    });
  example(
    run,
    "vireo run examples/read_disk.ts --blk disk.img".replace(
      /(run) (\S+) (.*)/,
      "$1 $3 $2",
    ),
  );

  const shell = withBoard(program, "shell")
    .description("a TypeScript REPL with bus, blk, net, con and rng in scope")
    .addOption(consoleOption())
    .action(async (flags) => {
      await (await import("../commands/shell.ts")).shell(boardOptions(flags), flags);
    });
  example(
    shell,
    "vireo shell --blk disk.img\nvireo shell --target qemu:aarch64-virt --console virtio",
  );

  const image = program.command("image")
    .description("write a kernel and an initramfs that boot into the REPL, and QEMU's command line")
    .addOption(
      new Option("--arch <arch>").choices(["x86_64", "aarch64"] as const).makeOptionMandatory(),
    )
    .requiredOption("-o, --output <dir>", "where to write them")
    .option("--refresh", "look for newer Debian packages")
    .option(JSON_FLAG, JSON_TEXT)
    .action(async (flags) => await (await import("../commands/image.ts")).makeImage(flags));
  example(image, "vireo image --arch aarch64 -o out\nout/boot.sh\nvireo boot");

  const boot = withBoard(program, "boot", `qemu:${DEFAULT_GUEST}`)
    .description("boot a guest into the REPL, which has the board's drivers in scope")
    .addOption(consoleOption())
    .action(async (flags) => {
      const board = boardOptions(flags);
      if (!inGuest()) throw new UsageError(`boot: only qemu targets boot, not ${flags.target}`);
      await (await import("../commands/shell.ts")).shell(board, flags);
    });
  example(boot, "vireo boot --target qemu:aarch64-virt --blk disk.img --memory 1024");

  addBlk(program);
  addNet(program);
  for (const device of BOARD_DEVICES) addDevice(program, device);

  const con = withBoard(program, "console")
    .description("connect standard input and output to a console port")
    .option("--port <name>", "the port's name or number", "0")
    .option("--list", "list the ports instead")
    .option("--send <text>", "send this instead of standard input")
    .option("--quiet <ms>", "after the input ended, stop when nothing came for so long", "300")
    .option(JSON_FLAG, JSON_TEXT)
    .action(async (flags) => {
      const board = boardOptions(flags);
      const quiet = parseCount(flags.quiet, "--quiet");
      await (await import("../commands/console.ts")).runConsole(board, { ...flags, quiet });
    });
  example(con, "echo hello | vireo console\nvireo console --list --json");

  const rng = withBoard(program, "rng")
    .description("write random bytes from the entropy device")
    .argument("[bytes]", "how many, for example 32 or 1M", "32")
    .addOption(new Option("--format <format>").choices(["hex", "raw"] as const).default("hex"))
    .option(JSON_FLAG, JSON_TEXT)
    .action(async (bytes, flags) => {
      const length = parseSize(bytes, "bytes");
      await (await import("../commands/rng.ts")).rng(boardOptions(flags), length, flags);
    });
  example(rng, "vireo rng 16\nvireo rng 1M --format raw > random.bin");
  return program;
}

function addBlk(program: Parent): void {
  const blk = program.command("blk").description("read, write and measure a disk");
  example(blk, "vireo blk info --blk disk.img");
  const load = () => import("../commands/blk.ts");
  const disk = (name: string, text: string) =>
    withBoard(blk, name).description(text)
      .option("--disk <n>", "which disk, counted from 0", "0")
      .option(JSON_FLAG, JSON_TEXT);

  const info = disk("info", "capacity, limits, features, serial, partitions and file systems")
    .action(async (flags) => await (await load()).info(boardOptions(flags), flags));
  example(info, "vireo blk info --blk disk.img,serial=S1");

  const range = (name: string, text: string) =>
    disk(name, text)
      .option("--sector <n>", "first sector of 512 bytes", "0")
      .option("--count <n>", "number of sectors; to the end by default");
  const read = range("read", "copy sectors to standard output or a file")
    .option("-o, --output <file>", "write here instead")
    .option("--hash", "print the SHA-256 instead of the bytes")
    .action(async (flags) => await (await load()).read(boardOptions(flags), flags));
  example(read, "vireo blk read --blk disk.img --sector 2048 --count 8 -o part.bin");
  const write = disk("write", "copy standard input or a file to sectors")
    .option("--sector <n>", "first sector of 512 bytes", "0")
    .option("-i, --input <file>", "read here instead")
    .option("--flush", "flush afterwards")
    .action(async (flags) => await (await load()).write(boardOptions(flags), flags));
  example(write, "vireo blk write --blk disk.img --sector 16 -i part.bin --flush");
  const flush = disk("flush", "make what was written durable")
    .action(async (flags) => await (await load()).flush(boardOptions(flags), flags));
  example(flush, "vireo blk flush --blk disk.img");
  const discard = range("discard", "tell the disk that sectors are not needed")
    .action(async (flags) => await (await load()).discard(boardOptions(flags), flags));
  example(discard, "vireo blk discard --blk disk.img --sector 64 --count 128");
  const bench = disk("bench", "requests a second of random reads or writes")
    .addOption(new Option("--op <op>").choices(["read", "write"] as const).default("read"))
    .option("--depth <n>", "requests in flight", "32")
    .option("--bytes <n>", "bytes a request", "4096")
    .option("--requests <n>", "how many in all", "100000")
    .action(async (flags) => await (await load()).bench(boardOptions(flags), flags));
  example(
    bench,
    "vireo blk bench --depth 1\nvireo blk bench --op write --bytes 64K --requests 5000",
  );
}

function addNet(program: Parent): void {
  const net = program.command("net").description("ping, send, capture and measure a network");
  example(net, "vireo net ping 10.0.2.2");
  const load = () => import("../commands/net.ts");
  const nic = (name: string, text: string) =>
    withBoard(net, name).description(text).option(JSON_FLAG, JSON_TEXT);

  const info = nic("info", "address, link, MTU, queues and features")
    .action(async (flags) => await (await load()).info(boardOptions(flags), flags));
  example(info, "vireo net info --json");
  const ping = withBoard(net, "ping")
    .description("ICMP echo, with ARP before it")
    .argument("[address]", "IPv4 address", "10.0.2.2")
    .option("--source <address>", "our IPv4 address", "10.0.2.15")
    .option("-c, --count <n>", "how many", "4")
    .option("--deadline <ms>", "how long to wait for each answer", "1000")
    .option(JSON_FLAG, JSON_TEXT)
    .action(async (address, flags) =>
      await (await load()).pingHost(boardOptions(flags), address, flags)
    );
  example(ping, "vireo net ping 10.0.2.2 -c 3");
  const dhcp = nic("dhcp", "ask the network for an address")
    .option("--deadline <ms>", "how long to wait for a server", "5000")
    .action(async (flags) => await (await load()).lease(boardOptions(flags), flags));
  example(dhcp, "vireo net dhcp --target qtest:aarch64-virt");
  const fetching = withBoard(net, "fetch")
    .description("fetch a file by HTTP, with an address that the network lends")
    .argument("<url>", "http:// and an IPv4 address; QEMU's user network has the host at 10.0.2.2")
    .option("-o, --output <file>", "write here instead of standard output")
    .option("--deadline <ms>", "how long to wait for an address, and for the connection", "5000")
    .option(JSON_FLAG, JSON_TEXT)
    .action(async (url, flags) => await (await load()).fetchFile(boardOptions(flags), url, flags));
  example(
    fetching,
    "vireo net fetch http://10.0.2.2:8000/README.md --target qtest:aarch64-virt -o README.md",
  );
  const send = withBoard(net, "send")
    .description("send one Ethernet frame given in hex")
    .argument("<frame>", "pairs of hex digits, 14 bytes or more")
    .option(JSON_FLAG, JSON_TEXT)
    .action(async (frame, flags) => await (await load()).send(boardOptions(flags), frame, flags));
  example(send, "vireo net send 'ffffffffffff 525400123456 88b5 6869'");
  const capture = nic("capture", "write received frames as a pcap file")
    .option("-o, --output <file>", "write here instead of standard output")
    .option("-c, --count <n>", "stop after so many frames", "10")
    .option("--deadline <ms>", "stop after this long without a frame", "5000")
    .option("--ping <address>", "ping this address first, so that there is something to see")
    .action(async (flags) => await (await load()).capture(boardOptions(flags), flags));
  example(capture, "vireo net capture --ping 10.0.2.2 -c 2 -o out.pcap");
  const bench = nic("bench", "frames a second to the hub and back")
    .option("--bytes <n>", "bytes a frame", "64")
    .option("--frames <n>", "how many", "1000000")
    .action(async (flags) => await (await load()).bench(boardOptions(flags), flags));
  example(bench, "vireo net bench --bytes 1514");
}

/** Adds what the command line can do with a device of the table. */
function addDevice(program: Command, device: BoardDevice): void {
  const parent = program.command(device.name).description(device.summary);
  for (const entry of device.commands) {
    const command = withBoard(parent, entry.name)
      .description(entry.summary)
      .option(JSON_FLAG, JSON_TEXT);
    for (const [syntax, text] of entry.arguments ?? []) command.argument(syntax, text);
    for (const [syntax, text, value] of entry.options ?? []) {
      command.addOption(new Option(syntax, text).default(value));
    }
    command.action(async (...given: unknown[]) => {
      const flags = command.opts();
      const args = given.slice(0, entry.arguments?.length ?? 0) as (string | undefined)[];
      // A table of flags has no types of its own; the board's lists are among them, for nobody.
      const call = { flags: { ...flags } as unknown as DeviceCall["flags"], args };
      await runDeviceCommand(device, entry, boardOptions(flags), call);
    });
    example(command, entry.example);
  }
}
