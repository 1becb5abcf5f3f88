import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "../errors.ts";
import { Machine } from "./_machine.ts";
import type { QtestBoard } from "./board.ts";

const MEMORY = 0x10_0000;
const BOARD: QtestBoard = {
  name: "fake",
  qemu: "qemu-system-riscv64",
  machine: "virt",
  args: ["-smp", "1"],
  ram: { base: 0, defaultSize: MEMORY, reservedLow: 0, reservedHigh: 0 },
  interrupts: { type: "none", firstInput: 0 },
};

/** A program in place of QEMU: it prints its arguments, and then does what each line says. */
const PROGRAM = `#!/bin/bash
printf '%s\\n' "$#" "$@"
while read -r line; do eval "$line"; echo .; done
`;

/** Runs something with the program. */
async function withProgram(run: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ prefix: "vireo-program-" });
  try {
    await Deno.writeTextFile(path, PROGRAM);
    await Deno.chmod(path, 0o755);
    await run(path);
  } finally {
    await Deno.remove(path);
  }
}

/** What this process has of machines: descriptors, and mappings of their memory. */
function held(): string[] {
  const links = [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      return [Deno.readLinkSync(`/proc/self/fd/${name}`)];
    } catch {
      return []; // The folder's own.
    }
  });
  const mapped = Deno.readTextFileSync("/proc/self/maps").match(/\/memfd:vireo-\S+/g) ?? [];
  return [
    ...links.filter((link) => link.startsWith("/memfd:vireo-")),
    ...links.filter((link) => link.startsWith("socket:")).map(() => "a socket"),
    ...mapped.map((name) => `mapped ${name}`),
  ];
}

/** What is held beyond that. */
function more(before: readonly string[]): string[] {
  const rest = held();
  for (const one of before) rest.splice(rest.indexOf(one), 1);
  return rest.sort();
}

/** Talks to the program of a machine. */
class Talk {
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #text = "";

  constructor({ process }: Machine) {
    this.#reader = process.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#writer = process.stdin.getWriter();
  }

  /** The next line. */
  async line(): Promise<string> {
    while (!this.#text.includes("\n")) this.#text += (await this.#reader.read()).value!;
    const [line, ...rest] = this.#text.split("\n");
    this.#text = rest.join("\n");
    return line!;
  }

  /** Has it do something. @returns What it printed, in lines. */
  async does(command: string): Promise<string[]> {
    await this.#writer.write(new TextEncoder().encode(`${command}\n`));
    const lines: string[] = [];
    for (let line = await this.line(); line !== "."; line = await this.line()) lines.push(line);
    return lines;
  }

  async end(): Promise<void> {
    await this.#writer.abort().catch(() => {});
    await this.#reader.cancel();
  }
}

Deno.test("a machine shares memory, a socket and its standard error with the program, and leaves nothing", () =>
  withProgram(async (qemu) => {
    const before = held();
    const firmware = new TextEncoder().encode("park");
    const machine = Machine.start({
      board: { ...BOARD, firmware },
      qemu,
      memory: MEMORY,
      args: ["-device", "x"],
    });
    assertEquals(more(before), [
      "/memfd:vireo-stderr (deleted)",
      "a socket",
      "mapped /memfd:vireo-ram",
    ]);
    const talk = new Talk(machine);
    const count = Number(await talk.line());
    const args: string[] = [];
    while (args.length < count) args.push(await talk.line());
    const option = (name: string): string => args[args.indexOf(name) + 1]!;
    assertEquals(args.slice(-4), ["-smp", "1", "-device", "x"]);
    assertEquals([option("-M"), option("-m")], ["virt,memory-backend=vireo-ram", "size=1024k"]);
    const path = /^memory-backend-file,id=vireo-ram,size=1048576,share=on,mem-path=(.*)$/.exec(
      option("-object"),
    )![1]!;
    const fd = /^socket,id=qtest,fd=(\d+)$/.exec(option("-chardev"))![1]!;
    // Its memory is this process's, from the first byte to the last.
    const bytes = new Uint8Array(machine.ram.buffer);
    assertEquals(bytes.length, MEMORY);
    await talk.does(`printf ab | dd of=${path} seek=${MEMORY - 2} bs=1 conv=notrunc 2>&-`);
    assertEquals([...bytes.subarray(-2)], [0x61, 0x62]);
    assertEquals(await talk.does(`cat ${option("-bios")}; echo`), ["park"]);
    await talk.does(`printf hello >&${fd}`);
    const into = new Uint8Array(16);
    assertEquals(machine.libc.receive(machine.socket, into, 16n, true), 5);
    // What it says on its standard error is there at once: the last 4 KiB, from the start of a line.
    assertEquals(machine.stderr(), "");
    await talk.does("echo first >&2");
    assertEquals(machine.stderr(), "first\n");
    await talk.does("printf '%04089d\\n' 0 >&2");
    const long = `${"0".repeat(4089)}\n`;
    assertEquals(machine.stderr().length, `first\n${long}`.length);
    await talk.does("echo next >&2");
    assertEquals(machine.stderr().length, `${long}next\n`.length);
    await talk.does("echo last >&2");
    assertEquals(machine.stderr(), "next\nlast\n");

    await machine.stop();
    assertEquals((await machine.process.status).signal, "SIGKILL");
    // Its end is the end of the connection: this process has no copy of the other side.
    assertEquals(machine.libc.receive(machine.socket, into, 16n, true), 0);
    await machine.stop();
    machine.release();
    await talk.end();
    assertEquals([bytes.length, more(before)], [0, []]);
    assertThrows(() => machine.libc.dispose());
  }));

Deno.test("a machine without a firmware has none, and one that ended is stopped", () =>
  withProgram(async (qemu) => {
    const before = held();
    const machine = Machine.start({ board: BOARD, qemu, memory: MEMORY, args: [] });
    const talk = new Talk(machine);
    const count = Number(await talk.line());
    for (let i = 0; i < count; i++) assert(await talk.line() !== "-bios");
    await talk.end();
    assertEquals((await machine.process.status).success, true);
    await machine.stop();
    machine.release();
    assertEquals(more(before), []);
  }));

Deno.test("a machine that cannot be started costs nothing", () =>
  withProgram(async (qemu) => {
    await Promise.resolve();
    const before = held();
    const firmware = new Uint8Array(16);
    for (
      const [memory, args, why] of [
        // Before there is memory, and when all else is there.
        [0, [], "Invalid argument"],
        [-4096, [], "Invalid argument"],
        [MEMORY, ["a\0b"], "nul byte"],
      ] as const
    ) {
      const error = assertThrows(
        () => Machine.start({ board: { ...BOARD, firmware }, qemu, memory, args }),
        VireoError,
        why,
      );
      assertEquals([error.code, more(before)], ["HOST_ERROR", []], why);
    }
    const none = assertThrows(
      () => Machine.start({ board: BOARD, qemu: "/none", memory: MEMORY, args: [] }),
      VireoError,
      "there is no such file",
    );
    assertEquals([none.code, more(before)], ["HOST_ERROR", []]);
  }));
