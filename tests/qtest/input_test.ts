// Needs QEMU: its monitor presses keys and moves pointers, which the driver must report.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { inputDriver, type InputEvent } from "@vireo/drivers";
import { InputType } from "@vireo/hal";
import { BOARDS } from "../../firmware/boards/mod.ts";
import type { Vireo } from "../../firmware/vireo.ts";
import { openVireo } from "../../firmware/session.ts";
import { isNewer } from "../qemu/mod.ts";

const SYN = { type: InputType.SYN, code: 0, value: 0 };

async function take(events: AsyncIterator<InputEvent>, count: number): Promise<InputEvent[]> {
  const taken: InputEvent[] = [];
  while (taken.length < count) taken.push((await events.next()).value);
  return taken;
}

function open(kind: string, target: string): Promise<Vireo> {
  return openVireo({
    target,
    blk: [],
    net: { kind: "none" },
    with: [{ name: "input", value: kind }],
  });
}

for (const { name: board } of BOARDS) {
  Deno.test(`input on ${board}: QEMU's keys, movements and positions arrive`, async () => {
    const press = { type: "key", data: { down: true, key: { type: "qcode", data: "a" } } };
    const release = { type: "key", data: { down: false, key: { type: "qcode", data: "a" } } };
    {
      await using vireo = await open("keyboard", `qtest:${board}`);
      const input = vireo.get(inputDriver);
      assertEquals(input.name, "QEMU Virtio Keyboard");
      assertEquals(input.ids, { bus: 6, vendor: 0x0627, product: 1, version: 1 });
      assert(input.codes.get(InputType.KEY)!.has(30));
      using events = input.events({ deadline: 5000 });
      await vireo.qmp!.execute("input-send-event", { events: [press, release] });
      const key = (value: number): InputEvent => ({ type: InputType.KEY, code: 30, value });
      assertEquals((await take(events, 3)).filter(({ type }) => type === InputType.KEY), [
        key(1),
        key(0),
      ]);
      await input.send(InputType.LED, 0, 1);
    }
    {
      await using vireo = await open("mouse", `qtest:${board}`);
      using events = vireo.get(inputDriver).events({ deadline: 5000 });
      const rel = { type: "rel", data: { axis: "x", value: -7 } };
      await vireo.qmp!.execute("input-send-event", { events: [rel] });
      assertEquals(await take(events, 2), [{ type: InputType.REL, code: 0, value: -7 }, SYN]);
    }
    {
      await using vireo = await open("tablet", `qtest:${board}`);
      const input = vireo.get(inputDriver);
      assertEquals(input.axes.get(0)?.max, 0x7fff);
      using events = input.events({ deadline: 5000 });
      const abs = { type: "abs", data: { axis: "y", value: 1234 } };
      await vireo.qmp!.execute("input-send-event", { events: [abs] });
      assertEquals(await take(events, 2), [{ type: InputType.ABS, code: 1, value: 1234 }, SYN]);
    }
  });
}

Deno.test("input on x86_64-q35: fingers arrive by slot, where QEMU has a touch screen", async () => {
  const board = {
    target: "qtest:x86_64-q35",
    blk: [],
    net: { kind: "none" },
    devices: ["virtio-multitouch-pci"],
  } as const;
  if (!isNewer("MULTITOUCH")) {
    await assertRejects(() => openVireo(board), Error, "virtio-multitouch-pci");
    return;
  }
  await using vireo = await openVireo(board);
  const input = vireo.get(inputDriver);
  assertEquals(input.name, "QEMU Virtio MultiTouch");
  assertEquals([...input.properties], [1], "INPUT_PROP_DIRECT");
  // ABS_MT_SLOT, POSITION_X, POSITION_Y and TRACKING_ID.
  assertEquals([...input.codes.get(InputType.ABS)!], [0x2f, 0x35, 0x36, 0x39]);
  assertEquals([0x2f, 0x35, 0x36].map((code) => input.axes.get(code)?.max), [10, 32767, 32767]);
  using events = input.events({ deadline: 5000 });
  const touch = (type: string, slot: number, axis: string, value: number) => ({
    type: "mtt",
    data: { type, slot, "tracking-id": 5 + slot, axis, value },
  });
  const abs = (code: number, value: number): InputEvent => ({ type: InputType.ABS, code, value });
  for (const slot of [1, 2]) {
    await vireo.qmp!.execute("input-send-event", {
      events: [
        touch("begin", slot, "x", 0),
        touch("data", slot, "x", 100 * slot),
        touch("data", slot, "y", 200 * slot),
      ],
    });
    assertEquals(await take(events, 5), [
      abs(0x2f, slot),
      abs(0x39, 5 + slot),
      abs(0x35, 100 * slot),
      abs(0x36, 200 * slot),
      SYN,
    ]);
  }
});
