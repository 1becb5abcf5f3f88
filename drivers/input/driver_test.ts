import { assertEquals, assertRejects } from "@std/assert";
import { InputSelect, InputType } from "@vireo/hal";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Input } from "./driver.ts";

/** What a device answers to each selection: `select subsel`. */
type Answers = Readonly<Record<string, readonly number[]>>;
const NAME = `${InputSelect.NAME} 0`;
const IDS = `${InputSelect.DEVICE_IDS} 0`;
const LEDS = `${InputSelect.EVENTS} ${InputType.LED}`;
const AXES = `${InputSelect.EVENTS} ${InputType.ABS}`;
const axis = (code: number) => `${InputSelect.ABS_INFO} ${code}`;

function rig(answers: Answers, size?: number) {
  const fake = new FakeDevice();
  const answer = () => answers[`${fake.config.getUint8(0)} ${fake.config.getUint8(1)}`] ?? [];
  Object.assign(fake, { config: new DataView(new ArrayBuffer(256)) });
  const { getUint8 } = DataView.prototype;
  // The answer is there as soon as it is selected: size of 8 bits, five reserved, and the data.
  fake.config.getUint8 = (at) =>
    at < 2
      ? getUint8.call(fake.config, at)
      : at === 2
      ? size ?? answer().length
      : answer()[at - 8] ?? 0;
  const device = Object.assign(fake.device, { queues: fake.queues, ready() {} });
  const input = new Input(device);
  input.scan();
  return { fake, input };
}

const text = (word: string): number[] => [...new TextEncoder().encode(word)];

Deno.test("input: a name ends at its first zero byte, or with its size, at most 128 bytes", () => {
  for (
    const [bytes, name] of [
      [[], ""],
      [text("key"), "key"],
      [[...text("key"), 0, 65], "key"],
      [[0, 65], ""],
      [Array(128).fill(65), "A".repeat(128)],
    ] as const
  ) {
    assertEquals(rig({ [NAME]: bytes }).input.name, name);
  }
  assertEquals(rig({ [NAME]: Array(200).fill(65) }, 255).input.name.length, 128);
});

Deno.test("input: ids and axes are read whole, or not at all", () => {
  const ids = [6, 0, 1, 2, 3, 4, 5, 0x80];
  assertEquals(rig({ [IDS]: ids }).input.ids, {
    bus: 6,
    vendor: 0x201,
    product: 0x403,
    version: 0x8005,
  });
  assertEquals(rig({ [IDS]: ids.slice(1) }).input.ids, undefined);
  const range = [[0xff, 0xff, 0xff, 0xff], [0, 1, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0], [4, 0, 0, 0]]
    .flat();
  // Axes 0, 8 and 9, of which the last one has too short an answer.
  const { axes, codes } = rig({
    [AXES]: [1, 3],
    [axis(0)]: range,
    [axis(8)]: range,
    [axis(9)]: range.slice(1),
  }).input;
  const seen = { min: -1, max: 256, fuzz: 2, flat: 3, resolution: 4 };
  assertEquals([...axes], [[0, seen], [8, seen]]);
  assertEquals([...codes], [[InputType.ABS, new Set([0, 8, 9])]]);
});

Deno.test("input: events are whole, signed, and for all who listen; LEDs are those that it has", async () => {
  const { fake, input } = rig({ [LEDS]: [0b101] });
  using left = input.events() as ReturnType<Input["events"]>;
  using right = input.events();
  const fill = (bytes: readonly number[]) => {
    const buffer = fake.pending.find(({ queue }) => queue.index === 0)!;
    buffer.fill(Uint8Array.from(bytes));
    buffer.complete(undefined, bytes.length);
    buffer.queue.interrupt();
  };
  assertEquals(fake.pending.length, 64);
  fill([1, 0, 2, 1, 3, 0, 0]);
  fill([1, 0, 2, 1, 0xfe, 0xff, 0xff, 0xff]);
  for (const listener of [left, right]) {
    assertEquals((await listener.next()).value, { type: 1, code: 0x102, value: -2 });
  }
  let sent: number[] = [];
  fake.script = (request) => {
    if (request.queue.index === 0) return;
    sent = [...request.readable];
    request.complete(undefined, 0);
    request.queue.interrupt();
  };
  await input.send(InputType.LED, 2, -1);
  assertEquals(sent, [InputType.LED, 0, 2, 0, 0xff, 0xff, 0xff, 0xff]);
  for (const [type, code] of [[InputType.LED, 1], [InputType.SND, 0]] as const) {
    await assertRejects(() => input.send(type, code, 1), RangeError, "must have it");
  }
});
