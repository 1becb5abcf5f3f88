import { assert, assertEquals, assertThrows } from "@std/assert";
import { OnTerminal, Running } from "../cli_helper.ts";
import { GRACE_VARIABLE } from "../../firmware/terminal/environment.ts";
import { UsageError } from "../../firmware/terminal/usage.ts";
import { graceOf, Presses } from "../../firmware/terminal/interrupts.ts";

/** Milliseconds that a busy machine may take beyond the grace; a program that goes on takes for ever. */
const SOON = 15_000;

const LOOP = "for (;;);";

/** Presses Ctrl-C every 100 milliseconds, until it is disposed of. */
class PressedAgain implements Disposable {
  presses = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(child: Deno.ChildProcess) {
    this.#timer = setInterval(() => {
      this.presses++;
      try {
        child.kill("SIGINT");
      } catch (error) {
        // It has ended.
        if (!(error instanceof TypeError)) throw error;
      }
    }, 100);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Scripts that do not end by themselves: the body, and how often Ctrl-C is pressed. */
const SCRIPTS: Readonly<Record<string, readonly [body: string, presses: number]>> = {
  "waits for ever": ["await new Promise(() => {});", 1],
  "loops": [LOOP, 1],
  "loops, pressed twice": [LOOP, 2],
  "ignores the signal": ["for (;;) await new Promise((resolve) => setTimeout(resolve, 10));", 1],
  "throws the signal's reason": [
    "await new Promise((_, no) => vireo.signal.onabort = () => no(vireo.signal.reason));",
    1,
  ],
  "ends by itself": ["await new Promise((yes) => vireo.signal.onabort = yes);", 1],
  "handles what the device never answers": ["await vireo.net.receive();", 1],
};

for (const target of ["emu", "qtest:aarch64-virt"]) {
  for (const [name, [body, presses]] of Object.entries(SCRIPTS)) {
    Deno.test(`run --target ${target}: Ctrl-C ends a script that ${name}`, async () => {
      const script = await Deno.makeTempFile({ suffix: ".ts" });
      try {
        await Deno.writeTextFile(
          script,
          `import type { Vireo } from "@vireo/firmware";
export default async function main(vireo: Vireo) {
  console.log("begun");
  setInterval(() => {}, 1000);
  ${body}
}`,
        );
        // The second press does not wait for the grace, or the script would have an hour.
        const grace = presses === 2 ? "3600000" : "200";
        const run = new Running(`run --target ${target} ${script}`, { [GRACE_VARIABLE]: grace });
        await run.line("begun");
        const began = performance.now();
        run.child.kill("SIGINT");
        // Signals that come while one waits to be seen are one: on a busy machine it takes more than two.
        using again = presses === 1 ? undefined : new PressedAgain(run.child);
        const { code, err } = await run.end();
        assertEquals([code, err], [130, ""]);
        assert(again?.presses !== 0, "the first press ended it");
        assert(performance.now() - began < SOON);
      } finally {
        await Deno.remove(script);
      }
    });
  }
}

Deno.test("run: Ctrl-C ends a script that is still being imported", async () => {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(script, 'console.log("begun");\nfor (;;);\n');
    const run = new Running(`run ${script}`);
    await run.line("begun");
    run.child.kill("SIGINT");
    const { code, err } = await run.end();
    assertEquals([code, err], [130, ""]);
  } finally {
    await Deno.remove(script);
  }
});

for (const TERM of ["xterm", "dumb"]) {
  for (const what of [LOOP, "await new Promise(() => {})"]) {
    Deno.test(`shell on a terminal of type ${TERM}: three times Ctrl-C ends ${what}`, async () => {
      await using screen = new OnTerminal("shell", { TERM });
      await screen.seen("3 times Ctrl-C in a row leaves too");
      await screen.seen("> ");
      await screen.type(`console.log("beg" + "un"); ${what}\r`);
      await screen.seen("begun");
      // Signals that come while one waits to be seen are one: on a busy machine it takes more presses.
      let presses = 0;
      const press = setInterval(() => {
        presses++;
        void screen.type("\x03").catch(() => {});
      }, 100);
      try {
        assertEquals(await screen.end(), 130);
      } finally {
        clearInterval(press);
      }
      assert(presses >= 3, `it ended after ${presses} presses`);
    });
  }

  Deno.test(`shell on a terminal of type ${TERM}: Ctrl-D leaves`, async () => {
    await using screen = new OnTerminal("shell", { TERM });
    await screen.seen("> ");
    await screen.type("\x04");
    assertEquals(await screen.end(), 0);
  });
}

Deno.test("VIREO_GRACE is milliseconds that a timer can keep", () => {
  assertEquals([undefined, "", "1", "5000"].map(graceOf), [1000, 1000, 1, 5000]);
  for (const said of ["0", "-1", "soon", "2147483648"]) {
    const wanted = `VIREO_GRACE: expected milliseconds from 1 to 2147483647, got '${said}'`;
    assertThrows(() => graceOf(said), UsageError, wanted);
  }
});

Deno.test("Presses counts Ctrl-C in a row, in signals and in keys", () => {
  const signals = new Presses();
  assertEquals([0, 500, 3000, 3500, 4000].map((at) => signals.press(at)), [
    false,
    false,
    false,
    false,
    true,
  ]);
  const keys = new Presses();
  const typed = (text: string): boolean => keys.keys(new TextEncoder().encode(text), 0);
  assertEquals(typed("\x03\x03a\x03"), false);
  assertEquals(typed("\x03"), false);
  assertEquals(typed("\x03"), true);
});
