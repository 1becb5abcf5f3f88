// Tracing options of commands that have no drivers of ours, and files that cannot be written to their end.
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { openVireo } from "@vireo/firmware";
import { openSink } from "@vireo/firmware/trace";
import { type TraceEvent, VireoError } from "@vireo/hal";
import { call, vireo } from "../cli_helper.ts";

Deno.test("trace: 'check' tells the registers of its checks, of the slots that are asked for", async () => {
  const { code, out, err } = await vireo(
    "check --only rng --trace=regs --trace-device virtio-mmio@a000600 --trace-device none",
  );
  assertEquals(code, 0, out);
  const lines = err.trimEnd().split("\n");
  assertEquals(
    lines.pop(),
    "vireo: --trace-device: there was no 'none', but virtio-mmio@a000600",
  );
  assert(lines.length > 50);
  for (const line of lines) assertMatch(line, /^\d+\.\d{6} virtio-mmio@a000600 \w.* (<-|->) /);
  assert(lines.some((line) => line.endsWith(" Status <- 0x1 ACKNOWLEDGE")), err);
});

Deno.test("trace: commands that cannot trace, or record, say so", async () => {
  for (
    const [args, message] of [
      ["check --trace=ring", "check: only registers are traced, with --trace=regs"],
      ["check --trace-file x --trace-data 4", "check: only registers are traced"],
      ["check --record x", "check: --record is for commands that have drivers"],
      [
        "serve rng --socket /none/x --record y",
        "serve: --record is for commands that have drivers",
      ],
    ] as const
  ) {
    const { code, out, err } = await call(args);
    assertEquals([args, code, out], [args, 2, ""]);
    assertStringIncludes(err, `vireo: ${message}`);
  }
});

Deno.test("trace: an option about a trace needs one, on the command line and in programs", async () => {
  for (
    const [args, option] of [
      ["probe --trace-device virtio1", "--trace-device"],
      ["rng 8 --trace-data 4", "--trace-data"],
      ["rng 8 --stats --trace-device virtio3", "--trace-device"],
      ["check --only rng --trace-device virtio-mmio@a000600", "--trace-device"],
      ["serve rng --socket /none/x --trace-device rng", "--trace-device"],
      ["replay none.vireo --trace-device virtio1", "--trace-device"],
      ["record rng 8 -o /none/x --trace-data 4", "--trace-data"],
      ["rng 8 --target qemu:x86_64-microvm --trace-device virtio3", "--trace-device"],
    ] as const
  ) {
    const { code, out, err } = await call(args);
    assertEquals([args, code, out, err], [
      args,
      2,
      "",
      `vireo: ${option}: expected --trace or --trace-file as well\n`,
    ]);
  }
  await assertRejects(
    () => openVireo({ traceDevices: ["virtio1"] }),
    TypeError,
    'Cannot open emu with traceDevices ["virtio1"]: there must be a trace or a traceFile too',
  );
  await using vireo = await openVireo({ traceDevices: ["virtio3"], traceData: 1 }, {
    trace: () => {},
  });
  assertEquals((await vireo.rng.read(4)).length, 4);
});

Deno.test("trace: a full disk is said at the end, and the command does its work", async () => {
  const { code, out, err } = await vireo("rng 8 --trace-file /dev/full");
  assertEquals([code, out.length > 0], [1, true]);
  assertMatch(err, /^vireo: Cannot write the trace to \/dev\/full: .*No space left on device/m);
});

const EVENTS: readonly TraceEvent[] = Array.from({ length: 5000 }, (_, i) => (
  { time: i, device: "virtio0", deviceId: 4, kind: "status", status: 3 }
));

/** How many events a reader finds in a file that was cut, as far as it is whole. */
const READERS: Readonly<Record<string, (bytes: Uint8Array) => number>> = {
  txt: (bytes) => textOf(bytes).split("\n").slice(1, -1).length,
  // Perfetto and chrome://tracing do without the end of the list, and pass over half a line.
  json: (bytes) => {
    const lines = textOf(bytes).split(",\n").slice(0, -1);
    const events: { ph: string }[] = JSON.parse(`${lines.join(",\n")}]`);
    return events.filter(({ ph }) => ph === "i").length;
  },
  html: (bytes) => {
    const [, lines] = /<script id="events" type="text\/plain">\n([^<]*)$/.exec(textOf(bytes))!;
    return lines!.split("\n").slice(0, -1).map((line) => JSON.parse(line)).length;
  },
};

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

Deno.test("trace: what was written of a trace that nothing ended is read", async () => {
  for (const [form, read] of Object.entries(READERS)) {
    const file = await Deno.makeTempFile({ prefix: "vireo-", suffix: `.${form}` });
    const { sink, [Symbol.dispose]: close } = openSink({ file });
    for (const event of EVENTS) sink(event);
    // As of a program that is killed here: its last chunk is nowhere.
    const found = read(Deno.readFileSync(file));
    assert(found > EVENTS.length / 3 && found < EVENTS.length, `${form}: ${found}`);
    close();
    await Deno.remove(file);
  }
});

Deno.test("trace: a disk that becomes full keeps what was written before, and is one error", () => {
  const { sink, [Symbol.dispose]: close } = openSink({ file: "/dev/full" });
  for (const event of EVENTS) sink(event);
  try {
    close();
    throw new Error("it was not said");
  } catch (error) {
    assert(error instanceof VireoError && error.code === "HOST_ERROR", String(error));
  }
});

Deno.test("record: the demo is recorded with the host's end of a port, and replayed", async () => {
  const file = await Deno.makeTempFile({ prefix: "vireo-", suffix: ".vireo" });
  try {
    for (const args of [`record demo -o ${file}`, `replay ${file}`]) {
      const { code, out, err } = await vireo(args);
      assertEquals([args, code], [args, 0], out + err);
      assertStringIncludes(out, "port 'host', both ends");
    }
  } finally {
    await Deno.remove(file);
  }
});
