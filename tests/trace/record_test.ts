import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { blkDriver, Bus, rngDriver } from "@vireo/drivers";
import { parseRecording, Recorder, recordingLines, Replay } from "@vireo/drivers/record";
import { BlkDevice, type DeviceModel, EmulatedMachine, MemoryDisk, RngDevice } from "@vireo/emu";
import { seededRandom } from "@vireo/emu/backends";
import { replayProgram } from "@vireo/firmware/record";
import { joinBytes, VireoError } from "@vireo/hal";
import { vireo } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

/** What a driver program does with a machine. */
type Program = (bus: Bus) => Promise<unknown>;

async function run(machine: Recorder | Replay, program: Program): Promise<unknown> {
  await using bus = new Bus({ rings: machine });
  if (machine instanceof Replay) machine.onDiverged = (error) => breakAll(bus, error);
  await bus.registerDriver(rngDriver);
  await bus.registerDriver(blkDriver);
  await bus.addPlatform(machine);
  return await program(bus);
}

function breakAll(bus: Bus, error: VireoError): void {
  for (const device of bus.devices) device.break(error);
}

function models(): { readonly model: DeviceModel }[] {
  const bytes = Uint8Array.from({ length: 64 * 512 }, (_, i) => i * 7);
  return [
    { model: new RngDevice({ random: (into) => into.fill(7) }) },
    { model: new BlkDevice({ disk: new MemoryDisk(bytes) }) },
  ];
}

type Options = Omit<Parameters<typeof EmulatedMachine.create>[0], "devices">;

/** Records a program, and what it answered. */
async function record(
  program: Program,
  options: Options = {},
): Promise<{ readonly bytes: Uint8Array; readonly answer: unknown }> {
  const chunks: Uint8Array[] = [];
  const machine = EmulatedMachine.create({ devices: models(), ...options });
  const recorder = new Recorder(machine, (bytes) => chunks.push(bytes));
  const answer = await run(recorder, program);
  recorder.close();
  return { bytes: joinBytes(...chunks), answer };
}

/** Reads of a disk in parallel, a write, and random bytes. */
const busy: Program = async (bus) => {
  const [blk, rng] = [bus.get(blkDriver)!, bus.get(rngDriver)!];
  const reads = await Promise.all([0, 8, 16, 24].map((sector) => blk.read(sector, 4096)));
  await blk.write(3, new Uint8Array(512).fill(9));
  return [...reads, await blk.read(3, 512), await rng.read(40)].map((bytes) => bytes.join());
};

const KINDS: Readonly<Record<string, Options>> = {
  "a split ring on virtio-mmio": {},
  "a packed ring": { ring: { packed: true } },
  "a function on PCI": { bus: "pci" },
};

for (const [kind, options] of Object.entries(KINDS)) {
  Deno.test(`record: ${kind} is replayed without its device`, async () => {
    const { bytes, answer } = await record(busy, options);
    const replay = new Replay(bytes);
    assertEquals(await run(replay, busy), answer);
    assertEquals(replay.end(), undefined);
    assert(replay.steps > 100);
  });
}

Deno.test("replay: the first step at which a driver does something else is named", async () => {
  const { bytes } = await record(busy);
  const replay = new Replay(bytes);
  const other: Program = async (bus) => {
    await bus.get(blkDriver)!.read(1, 4096);
  };
  const error = await assertRejects(() => run(replay, other), VireoError);
  assertEquals(error.code, "REPLAY_DIVERGED");
  const buffer =
    "virtio-mmio@a000200 'req.0' add 0 [r 0x400220a0+16, w 0x40023000+4096, w 0x400220b0+1]";
  const { step, recorded, now, cut } = replay.diverged!;
  assertEquals([recorded, now, cut], [buffer, `${buffer} with other bytes`, false]);
  assert(error.message.startsWith(`The driver does something else at step ${step}: saw '${now}'`));
  assertEquals(replay.end(), replay.diverged);
});

Deno.test("replay: a driver that leaves steps out, or takes more, is named too", async () => {
  const { bytes } = await record(busy);
  const less = new Replay(bytes);
  const first = { read: 0 };
  await run(less, (bus) => Promise.resolve(first.read = bus.devices.length)).catch(() => {});
  assertEquals(first.read, 2);
  assertEquals(less.end()?.now, "write Status of virtio-mmio@a000000 <- 0x0");
  const added = /^virtio-mmio@a000000 'input' add 0 \[w 0x[0-9a-f]{8}\+40\]$/;
  assertMatch(less.end()?.recorded ?? "", added);
  const idle = await record((bus) => Promise.resolve(bus.devices.length));
  const more = new Replay(idle.bytes);
  await assertRejects(() => run(more, busy), VireoError, "The driver does something else");
  assertEquals(more.diverged?.recorded, "write Status of virtio-mmio@a000200 <- 0x0");
});

Deno.test("record: a look for other devices is refused, in the replay too", async () => {
  const look = (machine: () => Recorder | Replay): Program => async (bus) => {
    const error = await assertRejects(() => bus.rescan(machine()), VireoError);
    return [error.code, error.message];
  };
  const chunks: Uint8Array[] = [];
  const machine = EmulatedMachine.create({ devices: models() });
  const recorder = new Recorder(machine, (bytes) => chunks.push(bytes));
  const answer = await run(recorder, look(() => recorder));
  recorder.close();
  assertEquals((answer as string[])[0], "UNSUPPORTED");
  const replay = new Replay(joinBytes(...chunks));
  assertEquals(await run(replay, look(() => replay)), answer);
  assertEquals(replay.end(), undefined);
});

Deno.test("replay: a recording that is cut anywhere is played up to the cut", async () => {
  const { bytes } = await record(busy);
  const whole = new Replay(bytes);
  await run(whole, busy);
  const header = new Replay(bytes.subarray(0, -1));
  await run(header, busy);
  // Without the mark of its end alone, all steps are there.
  assertEquals([header.end()?.cut, header.steps], [undefined, whole.steps]);
  let before = 0;
  for (const part of [0.5, 0.7, 0.9, 0.99]) {
    const replay = new Replay(bytes.subarray(0, Math.trunc(bytes.length * part)));
    await assertRejects(() => run(replay, busy), VireoError, "The recording is cut after step");
    assertEquals(replay.end()?.cut, true);
    assert(replay.steps > before, `${part}: ${replay.steps}`);
    before = replay.steps;
  }
});

Deno.test("replay: what is no recording, or one of another version, is refused", async () => {
  const { bytes } = await record(busy);
  const message = (change: (bytes: Uint8Array) => Uint8Array): string => {
    try {
      new Replay(change(bytes.slice()));
      return "";
    } catch (error) {
      assert(error instanceof VireoError && error.code === "BAD_MESSAGE");
      return error.message;
    }
  };
  assertEquals(message(() => new Uint8Array(3)), "Cannot replay the file: it must be a recording");
  assertEquals(
    message((bytes) => bytes.fill(2, 8, 9)),
    "Cannot replay a recording of this version: saw 2, expected 1",
  );
  assertEquals(
    message((bytes) => bytes.subarray(0, 40)),
    "Cannot read the header of the recording",
  );
  const lines = recordingLines(bytes).join("\n");
  assertThrows(
    () => parseRecording(lines.replace('{"version":1,', '{"version":3,')),
    VireoError,
    "Cannot replay a recording of this version: saw 3, expected 1",
  );
  // Lines that do not say their version are of the first.
  assertEquals(parseRecording(lines.replace('"version":1,', "")), bytes);
});

Deno.test("replay: a header that lies is refused, and a program that is none", async () => {
  const { bytes } = await record(busy);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const rest = bytes.subarray(16 + view.getUint32(12, true));
  const node = '{"kind":"mmio","name":"a","size":512}';
  for (
    const header of [
      "null",
      "5",
      "[]",
      "{}",
      '{"platform":"emu","nodes":5,"program":null}',
      '{"platform":"emu","nodes":[{"kind":"other","name":"a"}],"program":null}',
      `{"platform":"emu","nodes":[${node}]}`,
    ]
  ) {
    const json = new TextEncoder().encode(header);
    const fixed = bytes.slice(0, 16);
    new DataView(fixed.buffer).setUint32(12, json.length, true);
    const lying = joinBytes(fixed, json, rest);
    const error = assertThrows(() => new Replay(lying), VireoError, "Cannot read the header");
    assertEquals([header, error.code], [header, "BAD_MESSAGE"]);
    assertThrows(() => recordingLines(lying), VireoError, "Cannot read the header");
  }
  // A recording of one's own is no command's.
  await assertRejects(
    () => replayProgram(bytes, () => {}),
    VireoError,
    "its header must have a program of 'vireo record' or 'openVireo'",
  );
});

Deno.test("replay: of a recording that lies all is played up to the lie, and nothing else is thrown", async () => {
  const { bytes } = await record(busy);
  const start = 16 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, true);
  const random = seededRandom(7);
  const word = new Uint32Array(1);
  const below = (most: number): number => {
    random(new Uint8Array(word.buffer));
    return word[0]! % most;
  };
  const seen = { damaged: 0, cut: 0, other: 0 };
  for (let i = 0; i < 60; i++) {
    const lying = bytes.slice();
    for (let k = 0; k < 10; k++) lying[start + below(bytes.length - start)] = below(256);
    recordingLines(lying);
    const replay = new Replay(lying);
    await run(replay, async (bus) => {
      const errors = [
        ...bus.slotErrors.map(({ error }) => error),
        ...bus.devices.map(({ error }) => error),
      ];
      const found = errors.filter((error) => error !== undefined);
      for (const error of found) assert(error instanceof VireoError, `${i}: ${error.stack}`);
      return bus.get(blkDriver) && bus.get(rngDriver) ? await busy(bus) : undefined;
    }).catch((error) => {
      // A driver that reads a lie in a register or in memory says so itself.
      assert(error instanceof VireoError, `${i}: ${error.stack}`);
    });
    const end = replay.end();
    seen[end?.damaged ? "damaged" : end?.cut ? "cut" : "other"]++;
  }
  assert(seen.damaged > 0 && seen.other > 0, JSON.stringify(seen));
});

Deno.test("record: a recording is lines of text too, which make the same recording", async () => {
  const { bytes } = await record(busy, { ring: { packed: true } });
  const lines = recordingLines(bytes);
  assertEquals(parseRecording(lines.join("\n")), bytes);
  for (
    const line of [
      "read32 0x0 0x0 0x74726976 # read MagicValue of virtio-mmio@a000000 -> 0x74726976",
      "write32 0x1 0x70 0x1 # write Status of virtio-mmio@a000200 <- 0x1",
      "kick 0x0 0x0 # virtio-mmio@a000000 'input' kick",
      "end",
    ]
  ) assert(lines.includes(line), line);
  for (const wrong of ["read32 0x0", lines[0] + "\nread32 x", lines[0] + "\nhello"]) {
    assertThrows(() => parseRecording(wrong), VireoError, "Cannot read the line");
  }
});

Deno.test("replay: a hang on QEMU is replayed without QEMU, and as a test of its own", async () => {
  const folder = await Deno.makeTempDir({ prefix: "vireo-replay-" });
  const { Command } = Deno;
  try {
    const [file, test] = [`${folder}/bug.vireo`, `${folder}/bug_test.ts`];
    const script = new URL("never_kicks.ts", import.meta.url).pathname;
    const target = "--target qtest:aarch64-virt";
    const recorded = await vireo(`record run ${target} ${script} -o ${file}`);
    assertEquals([recorded.code, recorded.out], [1, ""]);
    assertStringIncludes(recorded.err, "The device was silent for 50 ms [TIMEOUT]");
    const traced = await vireo(`replay ${file} --trace=request`);
    assertEquals(traced.code, 1);
    assertStringIncludes(traced.err, "'requests' add 0 [w ");
    assertStringIncludes(traced.err, "The device was silent for 50 ms [TIMEOUT]");
    assertMatch(traced.err, /\nvireo: replay: the driver took all \d+ steps as in the recording\n/);
    assert(!traced.err.includes("'requests' kick"));
    assertEquals((await vireo(`replay ${file} --to-test ${test}`)).code, 0);

    const bytes = await Deno.readFile(file);
    const { default: hangs } = await import("./never_kicks.ts");
    // QEMU cannot be started from here on.
    Deno.Command = class extends Command {
      constructor(program: string | URL) {
        super(program);
        throw new Error(`A replay must not start ${program}`);
      }
    };
    const same = await replayProgram(bytes, hangs);
    assert(same.error instanceof VireoError && same.error.code === "TIMEOUT");
    assertEquals(same.diverged, undefined);
    Deno.Command = Command;

    // The driver, mended: the recording has no kick.
    const mended = `${folder}/mended.ts`;
    const source = (await Deno.readTextFile(script)).replace("// this.#queue", "this.#queue")
      .replace(" is missing.", "");
    await Deno.writeTextFile(mended, source);
    const other = await vireo(`replay ${file} --script ${mended}`);
    assertEquals(other.code, 1);
    assertMatch(
      other.err,
      /\nvireo: replay: step \d+ differs\n {2}recorded: write Status of (virtio-mmio@\w+) <- 0x0\n {2}now: {6}\1 'requests' kick\n/,
    );
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const args = ["test", "-A", "--no-check", "--config", config];
    for (const [name, code] of [[script, 0], [mended, 1]] as const) {
      const text = (await Deno.readTextFile(test)).replace(script, name);
      await Deno.writeTextFile(test, text);
      const result = await new Command(Deno.execPath(), { args: [...args, test] }).output();
      assertEquals([name, result.code], [name, code], new TextDecoder().decode(result.stdout));
      await Deno.writeTextFile(test, text.replace(name, script));
    }
  } finally {
    Deno.Command = Command;
    await Deno.remove(folder, { recursive: true });
  }
});

/** Talks at both ends of a console port. */
const BOTH_ENDS = `export default async (vireo) => {
  using port = (await vireo.console.port("host")).open();
  const writer = vireo.hostPort.writable.getWriter();
  const reader = vireo.hostPort.readable.getReader();
  for (let i = 0; i < 3; i++) {
    await port.writeText("same" + i);
    const { value } = await reader.read();
    console.log(new TextDecoder().decode(value));
    await Promise.all([writer.write(value.fill(65 + i)), vireo.rng.read(4)]);
    const got = await port.read();
    console.log(new TextDecoder().decode(got));
  }
};
`;

Deno.test("record: a program that uses the host's end of a port reads there in a replay what it read then", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  const [script, file] = [`${folder}/script.ts`, `${folder}/x.vireo`];
  await Deno.writeTextFile(script, BOTH_ENDS);
  const recorded = await vireo(`record run ${script} -o ${file}`);
  assertEquals([recorded.code, recorded.err], [0, ""]);
  assertEquals(recorded.out, "same0\nAAAAA\nsame1\nBBBBB\nsame2\nCCCCC\n");
  const replayed = await vireo(`replay ${file}`);
  assertEquals([replayed.code, replayed.out], [0, recorded.out], replayed.err);
  const listed = (await vireo(`replay ${file} --list`)).out;
  const host = listed.split("\n").filter((line) => line.startsWith("host "));
  const taken = "host 0x1 # what the program wrote at the host's end is taken";
  const read = (text: string): string =>
    `host 0x0 ${new TextEncoder().encode(text).toHex()} # the program reads at the host's end`;
  assertEquals(host, [read("same0"), taken, read("same1"), taken, read("same2"), taken]);
  // Lines are a recording too, which is what a test of --to-test has.
  await Deno.writeFile(file, parseRecording(listed));
  assertEquals((await vireo(`replay ${file}`)).out, recorded.out);

  // What the program sends depends on what it reads there: another program is found at its first other byte.
  const other = `${folder}/other.ts`;
  await Deno.writeTextFile(other, BOTH_ENDS.replace("same", "else"));
  const { code, err } = await vireo(`replay ${file} --script ${other}`);
  assertEquals(code, 1);
  assertStringIncludes(err, "differs\n  recorded: virtio-mmio@a000400 'output.2' add 0 [r ");

  // A program that waits at the host's end of a recording that is cut there ends.
  const bytes = await Deno.readFile(file);
  const at = bytes.toHex().lastIndexOf(new TextEncoder().encode("same1").toHex()) / 2;
  await Deno.writeFile(file, bytes.subarray(0, at - 3));
  const cut = await vireo(`replay ${file}`);
  assertMatch(
    cut.err,
    /^vireo: replay: the recording is cut after step \d+; all up to there is the same\n$/m,
  );
  assertEquals([cut.code, cut.out], [0, "same0\nAAAAA\n"]);
});

Deno.test("record: what it cannot do is said", async () => {
  for (
    const [args, code, message] of [
      ["record rng 8", 2, "vireo: record: expected -o FILE, the recording"],
      ["record nothing -o x", 2, "vireo: record: expected a command, got 'nothing'"],
      ["record rng 8 -o /none/x", 1, "vireo: Cannot write the recording to /none/x"],
      ["replay /none/x", 1, "vireo: Cannot read the recording /none/x"],
      ["replay x --target devmem", 2, "vireo: unknown option '--target'"],
    ] as const
  ) {
    const result = await vireo(args);
    assertEquals([args, result.code, result.out], [args, code, ""]);
    assertStringIncludes(result.err, message);
  }
});
