import { assertEquals } from "@std/assert";
import { BootProgress } from "./boot_progress.ts";
import { GuestInterrupts } from "./interrupts.ts";

function progress(
  kind: { isTerminal: boolean; isDumb: boolean },
): readonly [string[], BootProgress] {
  const written: string[] = [];
  const output = { ...kind, write: (text: string) => void written.push(text) };
  return [written, new BootProgress("x86_64-microvm", output)];
}

Deno.test("a guest that boots says so on a terminal until its program says something", () => {
  const [written, shown] = progress({ isTerminal: true, isDumb: false });
  shown.booted();
  shown.begin();
  shown.booted();
  shown.end();
  shown.end();
  assertEquals(written, [
    "\rvireo: starting the program on x86_64-microvm (0 s); Ctrl-C to stop\x1b[K",
    "\rvireo: starting the program on x86_64-microvm (0 s); Ctrl-C to stop\x1b[K",
    "\r\x1b[K",
  ]);
});

Deno.test("a guest that boots says so in a line where no line can be written over, and nothing in a pipe", () => {
  for (
    const [isTerminal, lines] of [[true, ["vireo: booting x86_64-microvm\n"]], [false, []]] as const
  ) {
    const [written, shown] = progress({ isTerminal, isDumb: true });
    shown.begin();
    shown.booted();
    shown[Symbol.dispose]();
    assertEquals(written, [...lines]);
  }
});

/** Types keys, and returns those that come through until the input ends. */
async function typed(
  interrupts: GuestInterrupts,
  ...keys: (string | (() => void))[]
): Promise<string> {
  const text = new TextEncoder();
  const input = new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = keys.shift();
      if (next === undefined) return controller.close();
      if (typeof next === "string") return controller.enqueue(text.encode(next));
      next();
      return this.pull!(controller);
    },
  }, { highWaterMark: 0 });
  return await new Response(input.pipeThrough(interrupts.keys())).text();
}

Deno.test("keys that are typed while a guest boots are not its program's", async () => {
  using interrupts = new GuestInterrupts();
  assertEquals(
    await typed(interrupts, "blk.write(0, all)\r", "\x04", () => interrupts.ready(), "1 + 1\r"),
    "1 + 1\r",
  );
});

Deno.test("Ctrl-C while a guest boots is an interrupt, the second one ends it at once", async () => {
  using interrupts = new GuestInterrupts();
  let first = false;
  void interrupts.first.then(() => first = true);
  assertEquals(await typed(interrupts, "abc\x03"), "");
  assertEquals([first, interrupts.signal.aborted], [true, false]);
  assertEquals(await typed(interrupts, "\x03"), "");
  assertEquals(interrupts.signal.aborted, true);
});
