import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Feature, InputType, VireoError } from "@vireo/hal";
import { INPUT_PRESETS, InputDevice, type InputDeviceOptions } from "@vireo/emu";
import { bootMachine, type MachineRig } from "../machine/machine_rig.ts";
import { type Input, inputDriver, type InputEvent } from "../../drivers/input/mod.ts";

const SOON = { deadline: 5000 };
const SYN = { type: InputType.SYN, code: 0, value: 0 };
const key = (code: number, value: number): InputEvent => ({ type: InputType.KEY, code, value });

type Rig = MachineRig<"input", InputDevice, Input>;

function boot(
  options: InputDeviceOptions = INPUT_PRESETS.keyboard,
  without: readonly number[] = [],
): Promise<Rig> {
  const model = new InputDevice(options);
  return bootMachine("input", model, inputDriver, { without });
}

async function take(events: AsyncIterator<InputEvent>, count: number): Promise<InputEvent[]> {
  const taken: InputEvent[] = [];
  while (taken.length < count) taken.push((await events.next()).value);
  return taken;
}

Deno.test("input: a device says what it is", async () => {
  await using rig = await boot({
    ...INPUT_PRESETS.tablet,
    serial: "t-1",
    properties: [0, 9],
    axes: { 0: { min: -5, max: 70, fuzz: 1, flat: 2, resolution: 3 }, 1: { min: 0, max: 9 } },
  });
  const { input } = rig;
  assertEquals([input.name, input.serial], ["Vireo tablet", "t-1"]);
  assertEquals(input.ids, { bus: 6, vendor: 0x1af4, product: 3, version: 1 });
  assertEquals([...input.properties], [0, 9]);
  assertEquals([...input.codes.keys()], [InputType.KEY, InputType.REL, InputType.ABS]);
  assertEquals([...input.codes.get(InputType.KEY)!], [0x110, 0x111, 0x112]);
  assertEquals(input.axes.get(0), { min: -5, max: 70, fuzz: 1, flat: 2, resolution: 3 });
  assertEquals(input.axes.get(1), { min: 0, max: 9, fuzz: 0, flat: 0, resolution: 0 });
});

for (const without of [[], [Feature.EVENT_IDX], [Feature.INDIRECT_DESC]]) {
  Deno.test(`input: events reach every listener in order, signed (without [${without}])`, async () => {
    await using rig = await boot(INPUT_PRESETS.mouse, without);
    using first = rig.input.events(SOON);
    using second = rig.input.events(SOON);
    for (let i = 0; i < 200; i++) rig.model.send(InputType.REL, 0, -i).sync();
    for (const events of [first, second]) {
      const got = await take(events, 400);
      assertEquals(got.filter((_, i) => i % 2 === 1), Array(200).fill(SYN));
      const moves = got.filter((_, i) => i % 2 === 0);
      assertEquals(moves.map(({ value }) => value), Array.from({ length: 200 }, (_, i) => -i));
    }
    assertEquals([rig.model.lost, rig.machine.violations()], [0, []]);
  });
}

Deno.test("input: an LED is told to the device, and only one that it has", async () => {
  await using rig = await boot();
  await rig.input.send(InputType.LED, 2, 1);
  await rig.input.send(InputType.LED, 0, -1);
  assertEquals(rig.model.statuses, [
    { type: InputType.LED, code: 2, value: 1 },
    { type: InputType.LED, code: 0, value: -1 },
  ]);
  await assertRejects(() => rig.input.send(InputType.LED, 3, 1), RangeError, "must have it");
  await assertRejects(() => rig.input.send(InputType.SND, 0, 1), RangeError, "must have it");
});

Deno.test("input: a wait ends with its deadline, its signal, and the device", async () => {
  const rig = await boot();
  using events = rig.input.events({ deadline: 5 });
  const late = await assertRejects(() => events.next(), VireoError);
  assertEquals(late.code, "TIMEOUT");
  rig.model.tap(30);
  assertEquals(await take(events, 2), [key(30, 1), SYN]);
  const abort = new AbortController();
  using other = rig.input.events({ signal: abort.signal });
  const waiting = other.next();
  abort.abort(new Error("enough"));
  await assertRejects(() => waiting, Error, "enough");
  using last = rig.input.events();
  const gone = assertRejects(() => last.next(), VireoError);
  await rig[Symbol.asyncDispose]();
  assertEquals((await gone).code, "DEVICE_REMOVED");
});

Deno.test("input: a listener that is far behind is told that events were lost", async () => {
  await using rig = await boot();
  using slow = rig.input.events(SOON);
  using pace = rig.input.events(SOON);
  for (let i = 0; i < 1200; i++) {
    rig.model.tap(30);
    await take(pace, 4);
  }
  const got = await take(slow, 4800 - 4096 + 1);
  assertEquals(got[0], { type: InputType.SYN, code: 3, value: 0 });
  assertEquals(got.at(-1), SYN);
});

Deno.test("input: after a recovery and a suspend events come again", async () => {
  await using rig = await boot();
  const device = rig.bus.devices[0]!;
  const recovered = device.recovered(SOON);
  rig.machine.device(0).fault("as the test wants");
  await recovered;
  using events = rig.input.events(SOON);
  rig.model.tap(1);
  assertEquals((await take(events, 4))[0], key(1, 1));
  await rig.bus.freeze();
  const cut = await assertRejects(() => events.next(), VireoError);
  assertEquals(cut.code, "DEVICE_STATE");
  await rig.bus.restore();
  using again = rig.input.events(SOON);
  rig.model.tap(2);
  assertEquals((await take(again, 4))[0], key(2, 1));
});

Deno.test("input: packets of a device without buffers wait, and are lost past 1024 events", async () => {
  const model = new InputDevice(INPUT_PRESETS.keyboard);
  model.tap(1);
  assertEquals(model.lost, 4, "no driver");
  assertThrows(() => new InputDevice({ name: "x", codes: { 1: [1024] } }), RangeError, "code 1024");
  assertThrows(
    () => new InputDevice({ name: "x".repeat(129), codes: {} }),
    RangeError,
    "128 bytes",
  );
  await using rig = await boot();
  using events = rig.input.events(SOON);
  // 64 buffers, then 1024 that wait: 256 + 16 taps of 4 events.
  for (let i = 0; i < 300; i++) rig.model.tap(i % 100 + 1);
  assert(rig.model.lost > 0);
  const got = await take(events, 1088);
  assertEquals(got.filter(({ type }) => type === InputType.KEY).length, 544);
});
