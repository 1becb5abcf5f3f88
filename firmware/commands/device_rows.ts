import type { Vireo } from "../vireo.ts";
import {
  type ArgumentsOf,
  command,
  type CommandArgument,
  type CommandCall,
  type CommandGroup,
  type CommandOption,
  type CommandRow,
  type FlagsOf,
  JSON_OPTION,
  type TypedCommand,
} from "./command.ts";

/** A command of a device of `--with`, which gets the opened board. */
interface DeviceCommand<O, A> extends Omit<TypedCommand<O, A>, "board" | "options" | "run"> {
  readonly arguments?: A;
  readonly options?: O;
  run(vireo: Vireo, call: CommandCall<FlagsOf<O> & { json?: true }, ArgumentsOf<A>>): Promise<void>;
}

/** Makes a maker of commands of a device; they open a board that has it. */
function commandsOf(device: string) {
  return <
    const O extends readonly CommandOption[] = [],
    const A extends readonly CommandArgument[] = [],
  >({ run, options, ...row }: DeviceCommand<O, A>): CommandRow =>
    command<readonly CommandOption[], readonly CommandArgument[]>({
      ...row as Omit<CommandRow, "run" | "options" | "board">,
      options: [JSON_OPTION, ...options ?? []],
      board: { device },
      async run(call) {
        const { openVireo } = await import("../session.ts");
        await using vireo = await openVireo(call.board);
        await run(vireo, call as never);
      },
    });
}

const deadline = <const V extends string>(value: V, summary: string) =>
  ({ flag: "--deadline <ms>", summary, value }) as const;
const OUTPUT = {
  flag: "-o, --output <file>",
  summary: "write here instead",
  file: "write",
} as const;

const balloon = commandsOf("balloon");
const BALLOON: CommandGroup = {
  name: "balloon",
  summary: "the memory balloon: give the guest's memory to the host and take it back",
  example: "vireo balloon inflate 16M",
  commands: [
    balloon({
      name: "info",
      summary: "say how large the balloon is, and should be",
      example: "vireo balloon info --json",
      run: async (vireo, { flags }) => await (await import("./balloon.ts")).info(vireo, flags),
    }),
    balloon({
      name: "inflate",
      summary: "let the host ask for memory, and give it",
      arguments: [["<bytes>", "for example 16M"]],
      example: "vireo balloon inflate 16M --target qtest:aarch64-virt",
      run: async (vireo, { args: [bytes], flags }) =>
        await (await import("./balloon.ts")).inflate(vireo, bytes, flags),
    }),
  ],
};

const RPMSG: CommandGroup = {
  name: "rpmsg",
  summary: "messages to and from a remote processor",
  example: "vireo rpmsg send hello",
  commands: [
    commandsOf("rpmsg")({
      name: "send",
      summary: "send a message to a service, and print its answer",
      arguments: [["<text>", "at most 496 bytes"]],
      options: [
        { flag: "--service <name>", summary: "which service", value: "rpmsg-client-sample" },
        deadline("1000", "how long to wait for it and for its answer"),
      ],
      example: "vireo rpmsg send hello",
      run: async (vireo, { args: [text], flags }) =>
        await (await import("./rpmsg.ts")).send(vireo, text, flags),
    }),
  ],
};

const scsi = commandsOf("scsi");
const SCSI: CommandGroup = {
  name: "scsi",
  summary: "SCSI disks and CDs",
  example: "vireo scsi list --with scsi=disk.img",
  commands: [
    scsi({
      name: "list",
      summary: "list the units of every target",
      example: "vireo scsi list --with scsi=disk.img",
      run: async (vireo, { flags }) => await (await import("./scsi.ts")).list(vireo, flags),
    }),
    scsi({
      name: "read",
      summary: "write blocks to standard output",
      options: [
        { flag: "--unit <target>", summary: "which target", value: "0" },
        { flag: "--lun <n>", summary: "which of its units", value: "0" },
        { flag: "--block <n>", summary: "the first block", value: "0" },
        { flag: "--count <n>", summary: "how many", value: "1" },
        OUTPUT,
      ],
      example: "vireo scsi read --with scsi=disk.img --block 0 --count 1 | xxd | head",
      run: async (vireo, { flags }) => await (await import("./scsi.ts")).read(vireo, flags),
    }),
  ],
};

const p9 = commandsOf("9p");
const P9: CommandGroup = {
  name: "9p",
  summary: "files of the host, by 9P",
  note:
    "Nothing outside of DIR is reached: each step starts from a held directory and follows no link, whatever\n" +
    "else changes the tree. Not protected: a directory that the host moves out of DIR while a request has it\n" +
    "open, hard links, and what is mounted in DIR.",
  example: "vireo 9p ls --with 9p=.",
  commands: [
    p9({
      name: "ls",
      summary: "list a directory",
      arguments: [["[path]", "which; the root by default"]],
      example: "vireo 9p ls --with 9p=. drivers --json",
      run: async (vireo, { args: [path], flags }) =>
        await (await import("./p9.ts")).ls(vireo, path ?? "", flags),
    }),
    p9({
      name: "cat",
      summary: "write a file to standard output",
      arguments: [["<path>", "which"]],
      options: [OUTPUT],
      example: "vireo 9p cat --with 9p=. README.md | head",
      run: async (vireo, { args: [path], flags }) =>
        await (await import("./p9.ts")).cat(vireo, path, flags),
    }),
    p9({
      name: "put",
      summary: "write a file, or standard input, to the host's tree",
      arguments: [["<path>", "where to"], ["[file]", "what; standard input by default"]],
      options: [{
        flag: "-i, --input <file>",
        summary: "the same as [file]; the way for qemu targets",
        file: "read",
      }],
      stdin: "bytes",
      example: "vireo 9p put --with 9p=/tmp/share notes/today.txt -i today.txt",
      run: async (vireo, { args: [path, file], flags }) =>
        await (await import("./p9.ts")).put(vireo, path, file, flags),
    }),
  ],
};

const RPROC_SERIAL: CommandGroup = {
  name: "rproc-serial",
  summary: "the serial line of a remote processor",
  example: "vireo rproc-serial send hello",
  commands: [
    commandsOf("rproc-serial")({
      name: "send",
      summary: "send text, and print as many bytes as come back",
      arguments: [["<text>", "what to send"]],
      options: [deadline("1000", "how long to wait for the answer")],
      example: "vireo rproc-serial send hello",
      run: async (vireo, { args: [text], flags }) =>
        await (await import("./rproc_serial.ts")).send(vireo, text, flags),
    }),
  ],
};

const CAIF: CommandGroup = {
  name: "caif",
  summary: "frames to and from a modem",
  example: "vireo caif send hello",
  commands: [
    commandsOf("caif")({
      name: "send",
      summary: "send a frame, and print the modem's",
      arguments: [["<text>", "1 to 4032 bytes"]],
      options: [deadline("1000", "how long to wait for the frame")],
      example: "vireo caif send hello",
      run: async (vireo, { args: [text], flags }) =>
        await (await import("./caif.ts")).send(vireo, text, flags),
    }),
  ],
};

const gpu = commandsOf("gpu");
const GPU: CommandGroup = {
  name: "gpu",
  summary: "displays: what they are, and a test card on them",
  example: "vireo gpu card 'hello' -o card.png",
  commands: [
    gpu({
      name: "info",
      summary: "list the displays",
      example: "vireo gpu info --with gpu=800x600 --json",
      run: async (vireo, { flags }) => await (await import("./gpu.ts")).info(vireo, flags),
    }),
    gpu({
      name: "card",
      summary: "draw a test card with words on the first display",
      arguments: [["[words]", "what it says"]],
      options: [{
        flag: "-o, --output <file>",
        summary: "save what the display shows: PNG, on QEMU PPM",
        file: "write",
      }],
      example: "vireo gpu card 'hello' -o card.png",
      run: async (vireo, { args: [words], flags }) =>
        await (await import("./gpu.ts")).card(vireo, words, flags),
    }),
  ],
};

const input = commandsOf("input");
const INPUT: CommandGroup = {
  name: "input",
  summary: "keyboards, mice, tablets and touch screens",
  example: "vireo input info --with input=tablet",
  commands: [
    input({
      name: "info",
      summary: "say what each input device is and has",
      example: "vireo input info --with input=tablet --json",
      run: async (vireo, { flags }) => (await import("./input.ts")).info(vireo, flags),
    }),
    input({
      name: "watch",
      summary: "print events as they come",
      options: [
        { flag: "-c, --count <n>", summary: "stop after so many" },
        deadline("10000", "how long to wait for each"),
        {
          flag: "--type <keys>",
          summary: "emulator: press these keys (codes, with commas) first",
        },
      ],
      example: "vireo input watch --type 30,48 -c 8",
      run: async (vireo, { flags }) => await (await import("./input.ts")).watch(vireo, flags),
    }),
  ],
};

const vsock = commandsOf("vsock");
const VSOCK: CommandGroup = {
  name: "vsock",
  summary: "sockets between guest and host",
  example: "vireo vsock send 7 hello",
  commands: [
    vsock({
      name: "send",
      summary: "connect to a port of the host, send text, and print what comes until the end",
      arguments: [["<port>", "which port"], ["<text>", "what to send"]],
      options: [deadline("2000", "how long to wait for the connection")],
      example: "vireo vsock send 7 hello",
      run: async (vireo, { args: [port, text], flags }) =>
        await (await import("./vsock.ts")).send(vireo, port, text, flags),
    }),
    vsock({
      name: "listen",
      summary: "take one connection of the host at a port, and say everything back to it",
      arguments: [["<port>", "which port"]],
      options: [deadline("30000", "how long to wait for it")],
      example: "vireo vsock listen 5000 --with vsock=/run/vireo.sock",
      run: async (vireo, { args: [port], flags }) =>
        await (await import("./vsock.ts")).listen(vireo, port, flags),
    }),
  ],
};

const crypto = commandsOf("crypto");
const CRYPTO: CommandGroup = {
  name: "crypto",
  summary: "ciphers, hashes, MACs and RSA on a device",
  example: "vireo crypto info",
  commands: [
    crypto({
      name: "info",
      summary: "say what the device can do",
      example: "vireo crypto info --target qtest:aarch64-virt",
      run: async (vireo, { flags }) => (await import("./crypto.ts")).info(vireo, flags),
    }),
    crypto({
      name: "aes-cbc",
      summary: "encrypt or decrypt with AES-CBC, without padding",
      arguments: [["<data>", "in hex, a multiple of 16 bytes"]],
      options: [
        { flag: "--key <hex>", summary: "16, 24 or 32 bytes", value: "00".repeat(16) },
        { flag: "--iv <hex>", summary: "16 bytes", value: "00".repeat(16) },
        { flag: "--decrypt", summary: "decrypt instead" },
      ],
      example: "vireo crypto aes-cbc 00112233445566778899aabbccddeeff --key " + "2b".repeat(16),
      run: async (vireo, { args: [data], flags }) =>
        await (await import("./crypto.ts")).aesCbc(vireo, data, flags),
    }),
  ],
};

/** The groups of the devices of `--with`, in the order of their ids. */
export const DEVICE_GROUPS: readonly CommandGroup[] = [
  BALLOON,
  RPMSG,
  SCSI,
  P9,
  RPROC_SERIAL,
  CAIF,
  GPU,
  INPUT,
  VSOCK,
  CRYPTO,
];
