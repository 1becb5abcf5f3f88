import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Interrupt } from "../interrupt.ts";
import { QtestChannel } from "./_channel.ts";
import { InterruptLines } from "./_interrupts.ts";
import { Libc } from "../unix/libc.ts";
import { doorbellMessages, gicv2mMessages } from "./_messages.ts";
import { CountedSignal } from "../counted_signal_test_util.ts";

/** Lines over a socket on which a script speaks for QEMU. */
class Board implements AsyncDisposable {
  readonly lines: InterruptLines;
  readonly channel: QtestChannel;
  readonly #libc = new Libc();
  readonly #ours: number;
  readonly #theirs: number;

  constructor() {
    [this.#ours, this.#theirs] = this.#libc.socketPair();
    this.#libc.setSocketDeadline(this.#ours, 1000);
    this.channel = new QtestChannel(this.#libc, this.#ours, {
      interrupt: (line, level) => this.lines.set(line, level),
      stderr: () => "",
      broken: (error) => this.lines.fail(error),
    });
    this.lines = new InterruptLines(this.#libc, this.#ours, this.channel);
  }

  say(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.#libc.send(this.#theirs, bytes, bytes.length);
  }

  heard(): string {
    const bytes = new Uint8Array(4096);
    const length = this.#libc.receive(this.#theirs, bytes, 4096n, false);
    return new TextDecoder().decode(bytes.subarray(0, Math.max(length, 0)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.channel.fail("the test is over");
    await this.lines.dispose();
    this.#libc.close(this.#ours);
    this.#libc.close(this.#theirs);
    this.#libc.dispose();
  }
}

const wait = (interrupt: Interrupt): Promise<void> =>
  interrupt.wait({ signal: AbortSignal.timeout(5000), ready: () => false });

async function isSilent(interrupt: Interrupt): Promise<void> {
  const stop = new AbortController();
  const wait = interrupt.wait({ signal: stop.signal, ready: () => false });
  stop.abort(new Error("silent"));
  await assertRejects(() => wait, Error, "silent");
}

Deno.test("a pulse is kept for the next waiter, once, and wakes those that wait already", async () => {
  await using board = new Board();
  const pulsed = board.lines.openPulsed(7);
  board.say("IRQ raise 7\nIRQ lower 7\nIRQ raise 7\nIRQ lower 7\n");
  board.channel.drain();
  await wait(pulsed);
  await isSilent(pulsed);
  const waits = [wait(pulsed), wait(pulsed)];
  board.say("IRQ raise 7\nIRQ lower 7\n");
  await Promise.all(waits);
  await isSilent(pulsed);
  board.lines.closePulsed(7);
  board.say("IRQ raise 7\nIRQ lower 7\n");
  board.channel.drain();
  await isSilent(board.lines.openPulsed(7));
});

Deno.test("messages to a GICv2m frame are inputs of the GIC that the frame names", async () => {
  await using board = new Board();
  board.say("OK 0x0000000000500002\n");
  const messages = gicv2mMessages(0x802_0000, board.channel, board.lines);
  assertEquals(board.heard(), "readl 0x08020008\n");
  assertEquals(messages.take(3), undefined);
  const [first, second] = messages.take(2)!;
  assertEquals([first!.address, first!.data], [0x802_0040, 0x50]);
  assertEquals([second!.address, second!.data], [0x802_0040, 0x51]);
  board.say("IRQ raise 49\nIRQ lower 49\n");
  board.channel.drain();
  await wait(second!.interrupt);
  await isSilent(first!.interrupt);
  assertEquals(messages.take(1), undefined);
  messages.give([second!]);
  assertThrows(() => messages.give([second!]), TypeError);
  assertEquals([messages.take(1)?.[0]?.data, messages.take(1)], [0x51, undefined]);
});

Deno.test("messages to a doorbell are asked for and acknowledged when its line rises", async () => {
  await using board = new Board();
  const log: string[] = [];
  // Two causes at once, and one that comes while they are acknowledged.
  const causes = [0x8000_0008, 1, 0];
  const edu = {
    read: (_width: number, address: number): number => {
      log.push(`read ${address.toString(16)}`);
      return causes.shift()!;
    },
    write: (_width: number, address: number, value: number): void => {
      log.push(`write ${address.toString(16)} ${value.toString(16)}`);
    },
  };
  const pulse = board.lines.pulse.bind(board.lines);
  board.lines.pulse = (input) => {
    log.push(`pulse ${input.toString(16)}`);
    pulse(input);
  };
  const messages = doorbellMessages(0x4000_0000, 33, edu, board.lines);
  const taken = messages.take(32)!;
  assertEquals(taken.map(({ address }) => address), Array(32).fill(0x4000_0060));
  assertEquals(taken.map(({ data }) => data), taken.map((_, i) => 2 ** i));
  const waits = [wait(taken[3]!.interrupt), wait(taken[31]!.interrupt)];
  board.say("IRQ raise 33\n");
  await Promise.all(waits);
  await wait(taken[0]!.interrupt);
  await isSilent(taken[1]!.interrupt);
  assertEquals(log, [
    "read 40000024",
    ...["write 40000064 80000008", "pulse 10003", "pulse 1001f"],
    "read 40000024",
    ...["write 40000064 1", "pulse 10000"],
    "read 40000024",
  ]);
});

Deno.test("a machine that is gone ends the waits for messages, and nothing else", async () => {
  const board = new Board();
  const messages = doorbellMessages(0x4000_0000, 33, board.channel, board.lines);
  const [message] = messages.take(1)!;
  const pending = wait(message!.interrupt);
  board.lines.set(33, true);
  board.channel.fail("QEMU ended");
  await assertRejects(() => pending, Error, "QEMU ended");
  await assertRejects(() => wait(message!.interrupt), Error, "QEMU ended");
  messages.give([message!]);
  await board[Symbol.asyncDispose]();
});

Deno.test("messages of QEMU are left in the socket while nobody waits", async () => {
  await using board = new Board();
  const pulsed = board.lines.openPulsed(7);
  const waiting = wait(pulsed);
  board.say("IRQ raise 7\nIRQ lower 7\n");
  await waiting;
  await new Promise((resolve) => setTimeout(resolve, 20));
  board.say("IRQ raise 7\nIRQ lower 7\n");
  await new Promise((resolve) => setTimeout(resolve, 20));
  await isSilent(pulsed);
  board.channel.drain();
  await wait(pulsed);
});

Deno.test("messages of QEMU are left in the socket when the last one that waits is aborted", async () => {
  await using board = new Board();
  const pulsed = board.lines.openPulsed(7);
  await isSilent(pulsed);
  // The poll has been woken, and has ended.
  await new Promise((resolve) => setTimeout(resolve, 20));
  board.say("IRQ raise 7\nIRQ lower 7\n");
  await new Promise((resolve) => setTimeout(resolve, 20));
  await isSilent(pulsed);
  board.channel.drain();
  await wait(pulsed);
});

Deno.test("a wait for a line leaves no listener at its signal, however it ends", async () => {
  await using board = new Board();
  const pulsed = board.lines.openPulsed(7);
  const stop = new CountedSignal();
  const { signal } = stop;
  const answered = pulsed.wait({ signal, ready: () => false });
  assertEquals(stop.listeners, 1);
  board.say("IRQ raise 7\nIRQ lower 7\n");
  await answered;
  assertEquals(stop.listeners, 0);
  const aborted = pulsed.wait({ signal, ready: () => false });
  stop.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  assertEquals(stop.listeners, 0);
});

Deno.test("after an access this thread looks for the interrupt, while that often finds one", async () => {
  await using board = new Board();
  const line = board.lines.line(7);
  const { readable, poll } = Libc.prototype;
  const calls: string[] = [];
  Libc.prototype.readable = function (...args) {
    calls.push("parked");
    return readable.apply(this, args);
  };
  Libc.prototype.poll = function (...args) {
    calls.push("looked");
    return poll.apply(this, args);
  };
  /** An interrupt, at once or when nobody looks for it any more, and what was done to hear of it. */
  const heard = async (access: boolean, soon: boolean): Promise<string> => {
    calls.length = 0;
    const waiting = wait(line);
    if (access) {
      board.say("OK\n");
      board.channel.command("writel");
    }
    while (!soon && !calls.includes("parked")) await new Promise((resolve) => setTimeout(resolve));
    board.say("IRQ raise 7\nIRQ lower 7\n");
    await waiting;
    return calls.join();
  };
  try {
    assertEquals(await heard(false, true), "parked");
    assertEquals(await heard(true, true), "looked");
    assertEquals(await heard(false, true), "parked", "there was no other access");
    for (let i = 0; i < 8; i++) assertEquals(await heard(true, false), "looked,parked");
    // It hardly looks any more, until that finds something again.
    for (let i = 8; i < 32; i++) {
      assertEquals(await heard(true, true), i % 32 === 0 ? "looked" : "parked");
    }
    assertEquals(await heard(true, true), "looked");
    assertEquals(await heard(true, true), "looked");
  } finally {
    Object.assign(Libc.prototype, { readable, poll });
  }
});

Deno.test("a line is active from its rise to its fall, and a pulse that nobody opened is none", async () => {
  await using board = new Board();
  const line = board.lines.line(9);
  assertEquals(line.polled, false);
  board.lines.set(9, true);
  await wait(line);
  await wait(line);
  board.lines.set(9, false);
  await isSilent(line);
  const pulsed = board.lines.openPulsed(7);
  board.lines.closePulsed(7);
  board.lines.pulse(7);
  await isSilent(pulsed);
  board.lines.set(7, true);
  await wait(pulsed);
});

Deno.test("the parked poll ends with the last wait, and is parked once for the next ones", async () => {
  const descriptors = (): number => [...Deno.readDirSync("/proc/self/fd")].length;
  const before = descriptors();
  const { readable } = Libc.prototype;
  let begun = 0;
  let parked = 0;
  let changed = Promise.withResolvers<void>();
  const change = (step: 1 | -1): void => {
    if (step === 1) begun++;
    parked += step;
    changed.resolve();
    changed = Promise.withResolvers();
  };
  Libc.prototype.readable = function (...args) {
    change(1);
    return readable.apply(this, args).finally(() => change(-1));
  };
  const until = async (count: number): Promise<void> => {
    while (parked !== count) await changed.promise;
  };
  try {
    await using board = new Board();
    const line = board.lines.line(9);
    // One that gives up before there is a poll leaves nothing for it.
    await isSilent(line);
    for (const round of [1, 2]) {
      const stops = [new AbortController(), new AbortController()];
      const waits = stops.map(({ signal }) =>
        assertRejects(() => line.wait({ signal, ready: () => false }))
      );
      await until(1);
      stops[0]!.abort();
      await waits[0];
      for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve));
      assertEquals([begun, parked], [round, 1]);
      stops[1]!.abort();
      await until(0);
      await waits[1];
    }
  } finally {
    Libc.prototype.readable = readable;
  }
  assertEquals(descriptors(), before);
});

Deno.test("the end of the machine ends the parked poll, which disposal waits for", async () => {
  const board = new Board();
  const { readable } = Libc.prototype;
  const parked = Promise.withResolvers<void>();
  Libc.prototype.readable = function (...args) {
    const ended = readable.apply(this, args);
    parked.resolve();
    return ended;
  };
  try {
    const waiting = assertRejects(() => wait(board.lines.line(9)), Error, "QEMU ended");
    await parked.promise;
    board.channel.fail("QEMU ended");
    await waiting;
    await board[Symbol.asyncDispose]();
  } finally {
    Libc.prototype.readable = readable;
  }
});
