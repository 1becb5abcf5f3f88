import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import type { PciScript } from "../../testing/scripted_pci.ts";
import { legacy, modern, RING } from "./test_util.ts";
import type { InterruptRoute, QueueInterrupt } from "../transport.ts";

/** Three queues with callbacks, one of them slow, and one without. */
const QUEUES: readonly QueueInterrupt[] = [
  { index: 0, wanted: true },
  { index: 1, wanted: false },
  { index: 2, wanted: true },
  { index: 3, wanted: true, slowPath: true },
];
const plenty: PciScript = { queues: [8, 8, 8, 8], vectors: 8, messages: 8 };

const brief = ({ policy, sources }: InterruptRoute): unknown[] => [
  policy,
  ...sources.map(({ cause, queues }) => [cause, queues]),
];

const kinds = { modern, legacy };
for (const kind of ["modern", "legacy"] as const) {
  const open = (script: PciScript) => kinds[kind](script);

  Deno.test(`pci ${kind} interrupts: a vector for each queue with a callback, and one for changes`, () => {
    const [fn, transport] = open(plenty);
    assertEquals(transport.route, undefined);
    const route = transport.routeInterrupts(QUEUES);
    assertEquals(brief(route), ["msix-per-queue", [2, []], [1, [0]], [1, [2]], [1, [3]]]);
    assertEquals(route.refused, []);
    assertEquals([fn.configVector, ...fn.queues.map(({ vector }) => vector)], [0, 1, 0xffff, 2, 3]);
    assertEquals([fn.msix, fn.reserved], [true, 4]);
    // Address 0x1fee00000, data 0x4000 and up, not masked.
    assertEquals(
      Array.from(new Uint32Array(fn.table.buffer, 0, 20), (word) => word.toString(16)),
      [0, 1, 2, 3].flatMap((i) => ["fee00000", "1", `400${i}`, "0"]).concat(["0", "0", "0", "0"]),
    );
    assertEquals(transport.route, route);
  });

  Deno.test(`pci ${kind} interrupts: no vector fires while the table is written`, () => {
    const [fn, transport] = open(plenty);
    const { config, log } = fn;
    const { write16 } = config;
    Object.assign(config, {
      write16(offset: number, value: number) {
        log.push(`control ${value.toString(16)}`);
        write16(offset, value);
      },
    });
    transport.routeInterrupts(QUEUES.slice(0, 1));
    const steps = fn.takeLog().map((line) => line.replace(/^w (msix).*/, "$1"));
    // Enabled with all masked, and unmasked when the last entry is there.
    assertEquals(steps.slice(0, 12), ["control c000", ...Array(10).fill("msix"), "control 8000"]);
  });

  Deno.test(`pci ${kind} interrupts: slow queues share the vector of changes where there are few`, () => {
    for (const few of [{ vectors: 3 }, { messages: 3 }]) {
      const [fn, transport] = open({ ...plenty, ...few });
      const route = transport.routeInterrupts(QUEUES);
      assertEquals(brief(route), ["msix-slow-shared", [3, [3]], [1, [0]], [1, [2]]]);
      assertEquals(fn.queues.map(({ vector }) => vector), [1, 0xffff, 2, 0]);
      assertEquals(route.refused.length, 1);
      assertStringIncludes(route.refused[0]!, "msix-per-queue: it takes 4");
    }
  });

  Deno.test(`pci ${kind} interrupts: one vector for all queues, if there are but two`, () => {
    const [fn, transport] = open({ ...plenty, vectors: 2 });
    const route = transport.routeInterrupts(QUEUES);
    assertEquals(brief(route), ["msix-shared", [2, []], [1, undefined]]);
    assertEquals(fn.queues.map(({ vector }) => vector), [1, 0xffff, 1, 1]);
    assertEquals(route.refused, [
      "msix-per-queue: it takes 4 vectors, the function has 2",
      "msix-slow-shared: it takes 3 vectors, the function has 2",
    ]);
  });

  Deno.test(`pci ${kind} interrupts: a vector that the device refuses leads to the next policy (drv.pci.msix.3)`, () => {
    const attempt = (refuses: NonNullable<PciScript["refuses"]>) => {
      const [fn, transport] = open({ ...plenty, refuses });
      const route = transport.routeInterrupts(QUEUES);
      return { fn, route };
    };
    const third = attempt((vector) => vector === 3);
    assertEquals(brief(third.route), ["msix-slow-shared", [3, [3]], [1, [0]], [1, [2]]]);
    assertEquals(third.route.refused, ["msix-per-queue: the device refused the vector of queue 3"]);
    const second = attempt((vector) => vector === 2);
    assertEquals(second.route.policy, "msix-shared");
    assertEquals(second.fn.queues.map(({ vector }) => vector), [1, 0xffff, 1, 1]);
    const config = attempt((_, queue) => queue === "config");
    assertEquals(config.route.policy, "line");
    assertEquals(config.route.refused.map((text) => text.split(": ")[1]), [
      "the device refused the vector of changes",
      "the device refused the vector of changes",
      "the device refused the vector of changes",
    ]);
    const queue = attempt((_, queue) => queue === 2);
    assertEquals(brief(queue.route), ["line", [0, undefined]]);
    const { fn } = queue;
    assertEquals([fn.configVector, ...fn.queues.map(({ vector }) => vector)], [
      0xffff,
      0xffff,
      0xffff,
      0xffff,
      0xffff,
    ]);
    assertEquals(fn.msix, false);
  });

  Deno.test(`pci ${kind} interrupts: INTx without MSI-X, polling where the machine has neither`, () => {
    const [, transport] = open({ queues: [8] });
    const line = transport.routeInterrupts(QUEUES.slice(0, 1));
    assertEquals(brief(line), ["line", [0, undefined]]);
    assertEquals(line.refused, [
      "msix-per-queue: the function has no MSI-X",
      "msix-shared: the function has no MSI-X",
    ]);
    assertEquals(line.sources[0]!.interrupt.polled, false);
    const [, polled] = open({ queues: [8], line: "polled", vectors: 4 });
    const poll = polled.routeInterrupts([]);
    assertEquals([poll.policy, poll.refused[0]], [
      "poll",
      "msix-per-queue: it takes 1 messages, and the machine has fewer left",
    ]);
    const [, none] = open({ queues: [8], line: "none" });
    const own = none.routeInterrupts([]);
    assertEquals([own.policy, own.refused.at(-1)], [
      "poll",
      "line: the machine does not deliver it",
    ]);
    assertEquals(own.sources[0]!.interrupt.polled, true);
    none[Symbol.dispose]();
  });

  Deno.test(`pci ${kind} interrupts: a table outside the function's memory is not touched`, () => {
    const why = (msixTable: number, unmapped: number[] = []): string | undefined => {
      const [fn, transport] = open({ ...plenty, msixTable, unmapped });
      const route = transport.routeInterrupts([]);
      assertEquals([route.policy, fn.msix], ["line", false]);
      return route.refused[0];
    };
    assertEquals(why(3), "msix-per-queue: its table is in BAR3");
    assertEquals(why(7), "msix-per-queue: its table is in BAR7");
    // Eight entries of 16 bytes.
    assertEquals(why(1 | 0xf88), "msix-per-queue: its table ends past BAR1: 0xf88");
    assertStringIncludes(why(1, [1])!, "Cannot map the BAR");
    assertEquals(
      open({ ...plenty, msixTable: 1 | 0xf80 })[1].routeInterrupts([]).policy,
      "msix-per-queue",
    );
  });

  Deno.test(`pci ${kind} interrupts: after a reset they are decided again, with the messages there are`, async () => {
    const [fn, transport] = open(plenty);
    transport.routeInterrupts(QUEUES);
    await transport.reset();
    assertEquals(transport.route, undefined);
    const less = transport.routeInterrupts(QUEUES.slice(0, 1));
    assertEquals([less.policy, less.sources.length, fn.reserved], ["msix-per-queue", 2, 4]);
    // The vectors that are not used are masked.
    assertEquals([12, 28, 44, 60].map((at) => fn.table[at]), [0, 0, 1, 1]);
    transport[Symbol.dispose]();
    assertEquals([fn.msix, fn.leases], [false, 0]);
  });
}

Deno.test("pci interrupts: INTx is allowed where it is delivered, and left alone where it is polled", () => {
  const command = (script: PciScript): number => {
    const [fn, transport] = modern({ ...script, patch: { 5: 0x4 } });
    transport.routeInterrupts([]);
    return fn.command & 0x400;
  };
  assertEquals([command({}), command({ line: "polled" }), command({ line: "none" })], [
    0,
    0x400,
    0x400,
  ]);
  // With MSI-X the function does not use it.
  assertEquals(command({ vectors: 2, messages: 2 }), 0x400);
});

Deno.test("pci interrupts: a device that is given another vector than it reads back refuses it", () => {
  const [, transport] = modern({ ...plenty, reads: { "common.queue_msix_vector": () => 5 } });
  assertEquals(transport.routeInterrupts(QUEUES).policy, "line");
});

Deno.test("pci interrupts: 2048 vectors are too many for nobody (drv.pci.msix.1)", () => {
  const bars = [
    { index: 1, space: "memory", address: 0xfebf_0000, size: 0x8000 },
    { index: 4, space: "memory", address: 0xfe00_0000, size: 0x4000 },
  ] as const;
  const [, transport] = modern({ vectors: 2048, messages: 2, bars });
  assertEquals([transport.pci.vectors, transport.routeInterrupts([]).policy], [
    2048,
    "msix-per-queue",
  ]);
});

Deno.test("pci interrupts: the reset of one queue takes its vector, and setting it up gives it back", async () => {
  const [fn, transport] = modern(plenty);
  transport.routeInterrupts(QUEUES);
  transport.enableQueue(2, RING);
  transport.startQueues();
  await transport.resetQueue(2);
  assertEquals(fn.queues[2]!.vector, 0xffff);
  transport.enableQueue(2, RING);
  assertEquals(fn.queues[2]!.vector, 2);
});

Deno.test("pci interrupts: vectors that are refused when they are routed again are those of nobody", () => {
  let stubborn = false;
  const [fn, transport] = legacy({ ...plenty, refuses: () => stubborn });
  assertEquals(transport.routeInterrupts(QUEUES).policy, "msix-per-queue");
  stubborn = true;
  const route = transport.routeInterrupts(QUEUES);
  assertEquals([route.policy, transport.route], ["line", route]);
  fn.takeLog();
  transport.disableQueue(0);
  // No vector from before is taken from it, and configuration begins behind the header again.
  transport.readConfig(0, 1);
  assertEquals(fn.takeLog(), [
    "w legacy.queue_select:2 0x0",
    "w legacy.queue_address:4 0x0",
    "r config+0:1 0x0",
  ]);
});

Deno.test("pci interrupts: after a reset of the machine the function decodes, reaches memory, and is without MSI-X", () => {
  for (const lost of [false, true]) {
    const [fn, transport] = legacy(plenty);
    transport.routeInterrupts(QUEUES);
    fn.config.write16(4, 0);
    // The control register is behind the id and the pointer.
    if (lost) fn.config.write16(0xe0 + 2, 0);
    transport.enable();
    assertEquals(fn.command, 7);
    fn.takeLog();
    transport.readConfig(0, 1);
    assertEquals(fn.takeLog(), ["r config+0:1 0x0"], `${lost}`);
  }
});

Deno.test("pci interrupts: a table that the machine fails to map is no reason for another policy", () => {
  const [fn, transport] = modern(plenty);
  const reason = new VireoError("HOST_ERROR", "As the test wants");
  fn.openBar = () => {
    throw reason;
  };
  assertEquals(assertThrows(() => transport.routeInterrupts(QUEUES), VireoError), reason);
});
