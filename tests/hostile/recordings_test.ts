// Recordings that lie: a file that was cut, or whose bytes were changed, ends in a typed error or in the step that
// differs. VIREO_HOSTILE_SEEDS=500 changes more bytes.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Bus, rngDriver } from "@vireo/drivers";
import { Recorder, Replay } from "@vireo/drivers/record";
import { replayProgram } from "@vireo/firmware/record";
import { EmulatedMachine, RngDevice } from "@vireo/emu";
import { joinBytes, VireoError } from "@vireo/hal";
import { seeded } from "./liar.ts";

const SEEDS = Number(Deno.env.get("VIREO_HOSTILE_SEEDS") ?? 40);

/** Two reads of random bytes, each of which may take so long. */
async function run(machine: Recorder | Replay, deadline = 20): Promise<void> {
  await using bus = new Bus({ rings: machine });
  if (machine instanceof Replay) {
    machine.onDiverged = (error) => bus.devices.forEach((device) => device.break(error));
  }
  await bus.registerDriver(rngDriver);
  await bus.addPlatform(machine);
  const error = bus.devices[0]?.error ?? bus.slotErrors[0]?.error;
  if (error !== undefined) throw error;
  for (let i = 0; i < 2; i++) await bus.get(rngDriver)!.read(40, { deadline });
}

async function record(bus: "mmio" | "pci"): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const model = new RngDevice({ random: (into) => into.fill(7) });
  const machine = EmulatedMachine.create({ devices: [model], bus });
  const recorder = new Recorder(machine, (bytes) => chunks.push(bytes));
  await run(recorder, 5000);
  recorder.close();
  return joinBytes(...chunks);
}

/** Plays a recording; whatever it has, errors are typed. @returns Whether it is seen to be another one. */
async function play(bytes: Uint8Array, where: string): Promise<boolean> {
  let replay: Replay | undefined;
  try {
    replay = new Replay(bytes);
    await run(replay);
  } catch (error) {
    assert(error instanceof VireoError, `${where}: ${Deno.inspect(error)}`);
    return true;
  } finally {
    replay?.end();
  }
  return replay.diverged !== undefined;
}

for (const bus of ["mmio", "pci"] as const) {
  Deno.test(`recordings: one that is cut or changed anywhere is a typed error (${bus})`, async () => {
    const bytes = await record(bus);
    assertEquals(await play(bytes, "whole"), false);
    const random = seeded(7);
    let seen = 0;
    for (let i = 0; i < SEEDS; i++) {
      const at = random() % bytes.length;
      assert(await play(bytes.subarray(0, at), `cut at ${at}`), `cut at ${at}`);
      const changed = bytes.slice();
      const places = Array.from({ length: 1 + random() % 3 }, () => random() % bytes.length);
      for (const place of places) changed[place] = random();
      if (await play(changed, `bytes ${places} changed by seed 7`)) seen++;
    }
    // Of what is left nothing depends on the byte, for example on a text's letters.
    assert(seen > SEEDS / 3, `${seen} of ${SEEDS} are seen`);
  });
}

Deno.test("recordings: a header or a step of any JSON is a typed error", async () => {
  const bytes = await record("mmio");
  const header = new DataView(bytes.buffer).getUint32(12, true);
  const json = JSON.parse(new TextDecoder().decode(bytes.subarray(16, 16 + header)));
  const withHeader = (value: unknown): Uint8Array => {
    const text = new TextEncoder().encode(JSON.stringify(value));
    const head = bytes.slice(0, 16);
    new DataView(head.buffer).setUint32(12, text.length, true);
    return joinBytes(head, text, bytes.subarray(16 + header));
  };
  assertEquals(await play(withHeader(json), "as it is"), false);
  for (
    const value of [null, 1, "text", [], {}, { ...json, nodes: null }, { ...json, nodes: [null] }]
  ) {
    assertThrows(() => new Replay(withHeader(value)), VireoError);
  }
  const board = {};
  const call = { name: "run", flags: {}, args: [] };
  for (
    const program of [null, 1, {}, { board }, { board, seed: 1, call: null }, {
      ...{ board, seed: 1, call: { ...call, args: "x" } },
    }, { board, seed: 1, script: { path: "x" } }]
  ) {
    await assertRejects(
      () => replayProgram(withHeader({ ...json, program }), () => Promise.resolve()),
      VireoError,
      "its header must have a program of 'vireo record' or 'openVireo'",
    );
  }
});
