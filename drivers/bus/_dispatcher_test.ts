import { assertEquals } from "@std/assert";
import type { Interrupt, InterruptWait } from "@vireo/hal";
import { Dispatcher } from "./_dispatcher.ts";
import { settle } from "./bus_test_util.ts";

/** A line whose waits end when the test says so. */
class Line implements Interrupt {
  readonly polled = false;
  /** Ends the wait that is in progress, or makes it fail. */
  end: (error?: Error) => void = () => {};
  /** Serves it at once, as a machine does that saves promises. */
  serve: () => boolean = () => false;
  waits = 0;
  /** Whether it fires all the time. */
  stuck = false;

  wait({ signal, repeated, serve }: InterruptWait): Promise<void> {
    assertEquals(repeated, true);
    this.waits++;
    if (this.stuck) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.end = (error) => error === undefined ? resolve() : reject(error);
    this.serve = serve!;
    signal.addEventListener("abort", () => reject(signal.reason));
    return promise;
  }
}

/** A dispatcher of some lines, and what it told the device: which lines it served, and why it was lost. */
function rig(count: number, progress: () => boolean = () => true) {
  const lines = Array.from({ length: count }, () => new Line());
  const sources = lines.map((interrupt) => ({ interrupt, cause: 1, queues: undefined }));
  const served: number[] = [];
  const lost: unknown[] = [];
  const dispatcher = new Dispatcher();
  const target = {
    serve: (source: { interrupt: Interrupt }) => {
      served.push(lines.indexOf(source.interrupt as Line));
      return progress();
    },
    due: () => false,
    dueInMemory: () => false,
    expects: () => false,
    lost: (error: unknown) => lost.push(error),
  };
  return { lines, served, lost, dispatcher, start: () => dispatcher.start(sources, target) };
}

Deno.test("dispatcher: each line is served as often as it fires, and started once", async () => {
  const { lines, served, dispatcher, start } = rig(2);
  assertEquals(dispatcher.running, false);
  start();
  start();
  assertEquals([dispatcher.running, ...lines.map(({ waits }) => waits)], [true, 1, 1]);
  for (const i of [1, 0, 1]) {
    lines[i]!.end();
    await settle();
  }
  assertEquals(served, [1, 0, 1]);
  dispatcher.stop();
  await dispatcher.ended();
});

Deno.test("dispatcher: a line that fails ends the others, and the device is lost once", async () => {
  const { lines, served, lost, dispatcher, start } = rig(3);
  start();
  const error = new Error("unplugged");
  lines[1]!.end(error);
  await settle();
  assertEquals(lost, [error]);
  for (const line of lines) line.end(new Error("unplugged too"));
  await dispatcher.ended();
  assertEquals([lost, served], [[error], []]);
});

Deno.test("dispatcher: nothing is served after the stop, and the next start has loops of its own", async () => {
  const { lines, served, lost, dispatcher, start } = rig(1);
  start();
  lines[0]!.end();
  dispatcher.stop();
  assertEquals(dispatcher.running, false);
  await dispatcher.ended();
  assertEquals([served, lost], [[], []]);
  start();
  lines[0]!.end();
  await settle();
  assertEquals(served, [0]);
  dispatcher.stop();
  await dispatcher.ended();
});

Deno.test("dispatcher: a line that was served while it was waited for is not served again after it", async () => {
  const { lines, served, dispatcher, start } = rig(1);
  const [line] = lines;
  start();
  assertEquals([line!.serve(), line!.serve(), served], [true, true, [0, 0]]);
  line!.end();
  await settle();
  assertEquals(served, [0, 0]);
  line!.end();
  await settle();
  assertEquals(served, [0, 0, 0]);
  dispatcher.stop();
  await dispatcher.ended();
});

Deno.test("dispatcher: a line without progress is paused after 64 serves, for longer and longer until it has some", async () => {
  const { setTimeout } = globalThis;
  const { now } = performance;
  const pauses: (number | undefined)[] = [];
  let time = 0;
  const { lines, served, dispatcher, start } = rig(1, () => served.length === 90);
  const ended = Promise.withResolvers<void>();
  try {
    performance.now = () => time;
    globalThis.setTimeout = ((fire: () => void, ms?: number) => {
      pauses.push(ms);
      if (pauses.length <= 40) queueMicrotask(fire);
      else ended.resolve();
      return 0;
    }) as unknown as typeof setTimeout;
    const [line] = lines;
    line!.stuck = true;
    const wait = line!.wait.bind(line);
    line!.wait = (options) => {
      // A millisecond is not calm yet, more is.
      if (pauses.length === 10) time = 1;
      if (pauses.length === 40) time = 2.5;
      return wait(options);
    };
    start();
    await ended.promise;
  } finally {
    globalThis.setTimeout = setTimeout;
    performance.now = now;
  }
  const growing = Array.from({ length: 26 }, (_, i) => Math.min(i + 1, 16));
  assertEquals(pauses, [...growing, ...growing.slice(0, 14), 1]);
  // The 90th had progress, and after the calm all is as at first.
  assertEquals(served.length, 90 + 64 + 13 + 64);
  dispatcher.stop();
});
