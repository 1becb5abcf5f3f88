import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "../errors.ts";
import { QtestChannel } from "./_channel.ts";
import { Libc, Received } from "../unix/libc.ts";

const encoder = new TextEncoder();

/** A channel whose other side is a script: it answers before it is asked, which a socket allows. */
class Wire implements Disposable {
  readonly channel: QtestChannel;
  readonly interrupts: string[] = [];
  readonly broken: VireoError[] = [];
  /** How many slices of waiting each access has, and had. */
  slices = 1;
  waited = 0;
  readonly #libc = new Libc();
  readonly #ours: number;
  #theirs: number;

  constructor(deadline = 50) {
    [this.#ours, this.#theirs] = this.#libc.socketPair();
    this.#libc.setSocketDeadline(this.#ours, deadline);
    this.channel = new QtestChannel(this.#libc, this.#ours, {
      interrupt: (line, level) => this.interrupts.push(`${line}=${level ? 1 : 0}`),
      stderr: () => "qemu: some reason\n",
      broken: (error) => this.broken.push(error),
      lasts: (slices) => {
        this.waited = slices;
        return slices < this.slices;
      },
    });
  }

  answer(text: string): this {
    const bytes = encoder.encode(text);
    assert(this.#libc.send(this.#theirs, bytes, bytes.length));
    return this;
  }

  asked(): string {
    const bytes = new Uint8Array(4096);
    const length = this.#libc.receive(this.#theirs, bytes, 4096n, false);
    return new TextDecoder().decode(bytes.subarray(0, Math.max(length, 0)));
  }

  hangUp(): this {
    this.#libc.close(this.#theirs);
    this.#theirs = -1;
    return this;
  }

  [Symbol.dispose](): void {
    this.#libc.close(this.#ours);
    if (this.#theirs >= 0) this.#libc.close(this.#theirs);
    this.#libc.dispose();
  }
}

Deno.test("each access is one command of its width", () => {
  using wire = new Wire();
  const { channel } = wire;
  wire.answer("OK 0x0000000000000012\n");
  assertEquals(channel.read(1, 0xfeb0_0003), 0x12);
  wire.answer("OK 0x000000000000fffe\n");
  assertEquals(channel.read(2, 0x1000), 0xfffe);
  wire.answer("OK 0x00000000f4726976\n");
  assertEquals(channel.read(4, 0x12_3456_7890), 0xf472_6976);
  wire.answer("OK\n".repeat(3));
  assertEquals(
    wire.asked(),
    "readb 0xfeb00003\nreadw 0x00001000\nreadl 0x0000001234567890\n",
  );
});

Deno.test("ports have commands of their own, whose answers are as long as they need be", () => {
  using wire = new Wire();
  const { channel } = wire;
  wire.answer("OK 0x0012\nIRQ raise 3\n");
  assertEquals(channel.readPort(1, 0xcfc), 0x12);
  wire.answer("OK 0xfffe\n");
  assertEquals(channel.readPort(2, 0xcfe), 0xfffe);
  wire.answer("OK 0x29c08086\n");
  assertEquals(channel.readPort(4, 0xcfc), 0x29c0_8086);
  wire.answer("OK\n");
  channel.writePort(4, 0xcf8, 0x8000_0000);
  assertEquals(
    wire.asked(),
    "inb 0x00000cfc\ninw 0x00000cfe\ninl 0x00000cfc\noutl 0x00000cf8 0x80000000\n",
  );
  assertEquals(wire.interrupts, ["3=1"]);
  wire.answer("OK 0x00zz\n");
  assertThrows(() => channel.readPort(1, 0), VireoError, "OK and a value");
});

Deno.test("writes carry the value, unsigned", () => {
  using wire = new Wire();
  wire.answer("OK\n");
  wire.channel.write(4, 0x1000_1070, -1);
  wire.answer("OK\n");
  wire.channel.write(1, 0x1000_1170, 0x5a);
  assertEquals(wire.asked(), "writel 0x10001070 0xffffffff\nwriteb 0x10001170 0x0000005a\n");
});

Deno.test("interrupts before, between and behind answers are taken in order", () => {
  using wire = new Wire();
  wire.answer("IRQ raise 47\nIRQ lower 47\nOK 0x0000000000000001\nIRQ raise 3\nIRQ ra");
  assertEquals(wire.channel.read(4, 0), 1);
  assertEquals(wire.interrupts, ["47=1", "47=0", "3=1"]);
  wire.answer("ise 12\n");
  wire.channel.drain();
  assertEquals(wire.interrupts.at(-1), "12=1");
  wire.channel.drain(); // nothing there: no wait, no error
  wire.answer("OK 0x0000000000000002\n");
  assertEquals(wire.channel.read(4, 0), 2);
});

for (
  const [name, answer] of [
    ["a refusal", "FAIL Unknown command 'readl'\n"],
    ["garbage", "garbage\n"],
    ["a read without a value", "OK\n"],
    ["a value that is none", "OK 0x00000000zzzzzzzz\n"],
    ["a line without end", "x".repeat(5000)],
  ] as const
) {
  Deno.test(`${name} breaks the channel with QEMU's words`, () => {
    using wire = new Wire();
    wire.answer(answer);
    const error = assertThrows(() => wire.channel.read(4, 0), VireoError, "some reason");
    assert(error instanceof VireoError && error.code === "HOST_ERROR");
    assertEquals(wire.broken, [error]);
    assertThrows(() => wire.channel.write(4, 0, 0), VireoError, error.message);
  });
}

Deno.test("an answer that nobody asked for breaks the channel without throwing", () => {
  using wire = new Wire();
  wire.answer("OK\n").channel.drain();
  assertEquals(wire.broken.length, 1);
});

Deno.test("an empty line is a wrong answer, and is not waited behind", () => {
  using asked = new Wire();
  asked.answer("\n");
  const error = assertThrows(() => asked.channel.read(4, 0), VireoError, "QEMU answered ''");
  assertEquals(error.expected, "OK");
  using idle = new Wire();
  idle.answer("\n").channel.drain();
  assertEquals(idle.broken.map(({ expected }) => expected), ["an interrupt"]);
});

Deno.test("silence and a closed connection are told apart", () => {
  using silent = new Wire();
  assertThrows(() => silent.channel.read(4, 0), VireoError, "did not answer within");
  using closed = new Wire();
  closed.hangUp();
  assertThrows(() => closed.channel.read(4, 0), VireoError, "QEMU");
  using idle = new Wire();
  idle.hangUp().channel.drain();
  assert(idle.broken[0]!.message.startsWith("QEMU ended"));
});

Deno.test("commands are one line of bounded length", () => {
  using wire = new Wire();
  wire.answer("OK 5000\n");
  assertEquals(wire.channel.command("clock_step 5000"), "5000");
  assertThrows(() => wire.channel.command("a\nb"), RangeError);
  assertThrows(() => wire.channel.command("x".repeat(256)), RangeError);
});

Deno.test("an answer is waited for as long as its limit says, each one from the beginning", () => {
  using wire = new Wire(1);
  wire.slices = 3;
  const { channel } = wire;
  wire.answer("OK 0x0000000000000012\n");
  assertEquals([channel.read(1, 0), wire.waited], [0x12, 0]);
  assertThrows(() => channel.read(1, 0), VireoError, "did not answer within its deadline");
  assertEquals([wire.waited, wire.broken.length], [3, 1]);
});

/** A channel that receives these parts, or results, one by one; it notes what it asks of the C library. */
function scripted(...parts: readonly (string | number)[]) {
  const rest = [...parts];
  const asked: string[] = [];
  const interrupts: string[] = [];
  const libc = {
    send: (_fd: number, bytes: Uint8Array, length: number) => {
      asked.push(new TextDecoder().decode(bytes.subarray(0, length)));
      return true;
    },
    receive: (_fd: number, bytes: Uint8Array, capacity: bigint, block: boolean) => {
      asked.push(block ? "wait" : "look");
      assertEquals(capacity, BigInt(bytes.length));
      const part = rest.shift() ?? Received.NOTHING;
      if (typeof part === "number") return part;
      bytes.set(encoder.encode(part));
      return part.length;
    },
  } as unknown as Libc;
  const channel = new QtestChannel(libc, 0, {
    interrupt: (line, level) => interrupts.push(`${line}=${level ? 1 : 0}`),
    stderr: () => "",
    broken: () => {},
  });
  return { channel, asked, interrupts };
}

Deno.test("a command waits for its answer, and a look for interrupts does not", () => {
  const { channel, asked, interrupts } = scripted("OK\n", "IRQ raise 3\n", Received.NOTHING);
  channel.write(2, 0x10, 0x1_ffff);
  channel.drain();
  channel.drain();
  assertEquals(asked, ["writew 0x00000010 0x0001ffff\n", "wait", "look", "look"]);
  assertEquals([interrupts, channel.sent, channel.error], [["3=1"], 1, undefined]);
});

Deno.test("what comes behind the answer to a write is taken, and the next answer is the next one", () => {
  const { channel, interrupts } = scripted(
    "OK\nIRQ raise 3\nIRQ low",
    "er 3\nOK 0x0000000000000005\nIRQ raise 4\n",
    "OK\n",
    "OK 0x07\n",
  );
  channel.write(4, 0, 0);
  assertEquals(interrupts, ["3=1"]);
  assertEquals(channel.read(4, 0), 5);
  assertEquals(interrupts, ["3=1", "3=0", "4=1"]);
  channel.writePort(1, 0, 0);
  assertEquals(channel.command("x"), "0x07");
});

Deno.test("a command is sent as it is, and what comes behind its answer is taken", () => {
  const { channel, asked, interrupts } = scripted("OK 5000\nIRQ raise 3\n", "OK\n");
  assertEquals([channel.command("clock_step 5000"), interrupts], ["5000", ["3=1"]]);
  assertEquals([channel.command("x"), channel.sent], ["", 2]);
  assertEquals(asked, ["clock_step 5000\n", "wait", "x\n", "wait"]);
});

Deno.test("a line ends where it ends, whatever a longer one before has left behind", () => {
  for (const first of ["OK 0x00000000000", "OK 0x0000000", "OK 0x000000000000001"]) {
    // The line before ended where the first part of the next one does, or later.
    const { channel } = scripted(
      `IRQ raise ${"0".repeat(first.length - 11)}7\nOK\n`,
      first,
      `${"2".repeat(21 - first.length)}\n`,
    );
    channel.write(4, 0, 0);
    assertEquals(channel.read(4, 0) % 16, first.length === 21 ? 1 : 2, first);
  }
});

Deno.test("a value is digits from 0 to f, of which the last eight count", () => {
  for (
    const [text, value] of [
      ["0x0000000090abcdef", 0x90ab_cdef],
      ["0x00000000fa9f0a9f", 0xfa9f_0a9f],
      ["0x123456789abcdef0", 0x9abc_def0],
      ["0x0", undefined],
      ["0x9", undefined],
      ["0xfedc", 0xfedc],
      ["0x00000000123456789", undefined],
    ] as const
  ) {
    const { channel } = scripted(`OK ${text}\n`);
    if (value !== undefined) assertEquals(channel.read(4, 0), value);
    else assertThrows(() => channel.read(4, 0), VireoError, "expected OK and a value");
  }
  // What is beside the digits in ASCII.
  for (const wrong of ["/", ":", "`", "g", "A"]) {
    const { channel } = scripted(`OK 0x000000000000000${wrong}\n`);
    assertThrows(() => channel.read(4, 0), VireoError, "expected OK and a value");
  }
});

Deno.test("what breaks a channel is named, wherever its line is among others", () => {
  const { channel } = scripted("OK\nIRQ raise 3\nFAIL no such address\n");
  const said = "QEMU answered 'FAIL no such address' to 'writel 0x00000000 0x00000000'";
  channel.write(4, 0, 0);
  assertEquals([channel.error?.message.startsWith(said), channel.error?.seen], [
    true,
    "nothing on its standard error",
  ]);
  const refused = scripted("IRQ raise 3\nFAIL no such address\n");
  assertThrows(() => refused.channel.write(4, 0, 0), VireoError, said);
  for (
    const [result, why] of [
      [Received.END, "QEMU ended instead of answering"],
      [Received.FAILED, "QEMU ended instead of answering"],
      [Received.NOTHING, "QEMU did not answer within its deadline"],
    ] as const
  ) {
    const ended = scripted("OK 0x", result);
    assertThrows(() => ended.channel.read(4, 0), VireoError, why);
    // Nothing is sent any more.
    assertThrows(() => ended.channel.read(4, 0), VireoError, why);
    assertEquals([ended.asked.length, ended.channel.sent], [3, 1]);
  }
  for (const result of [Received.END, Received.FAILED]) {
    const idle = scripted(result);
    idle.channel.drain();
    assertEquals(idle.channel.error?.message.startsWith("QEMU ended"), true);
    idle.channel.drain();
    assertEquals(idle.asked, ["look"]);
  }
});
