import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { CaifDevice } from "@vireo/emu";
import { VireoError } from "@vireo/hal";
import { caifDriver } from "../../drivers/caif/driver.ts";
import { frame, rig, SOON } from "./caif_rig.ts";
import { turn } from "../turn.ts";

for (const bus of ["mmio", "pci"] as const) {
  for (const eventIdx of [true, false]) {
    const ring = { eventIdx, packed: true, inOrder: true, notificationData: true };
    Deno.test(`caif: 1000 frames come back over ${bus}, event_idx ${eventIdx}`, async () => {
      await using it = await rig({ buffers: 5 }, { bus, ring });
      const { caif } = it;
      const sent = (async () => {
        for (let i = 0; i < 1000; i += 20) {
          const batch = Array.from({ length: 20 }, (_, k) => caif.send(frame(i + k), SOON));
          await Promise.all(batch);
        }
      })();
      for (let i = 0; i < 1000; i++) assertEquals(await caif.receive(SOON), frame(i));
      await sent;
      assertEquals([it.machine.violations(), it.errors, caif.waiting], [[], [], 0]);
    });
  }
}

Deno.test("caif: headroom and tailroom of the configuration are around each frame", async () => {
  const seen: number[] = [];
  await using it = await rig({
    headroom: 7,
    tailroom: 3,
    mtu: 110,
    onFrame: (bytes) => void seen.push(...bytes),
  });
  const { caif, modem } = it;
  assertEquals(caif.uplink, { headroom: 7, tailroom: 3, mtu: 110, maxFrame: 100 });
  assertEquals(caif.downlink, caif.uplink);
  await caif.send(Uint8Array.of(1, 2, 3), SOON);
  assertEquals(seen, [1, 2, 3]);
  assert(modem.offer(14, (bytes) => bytes.set([9, 9, 9, 9, 9, 9, 9, 4, 5, 6, 7, 8, 8, 8])));
  assertEquals(await caif.receive(SOON), Uint8Array.of(4, 5, 6, 7));
  await assertRejects(() => caif.send(new Uint8Array(101)), RangeError, "1 to 100");
  await assertRejects(() => caif.send(new Uint8Array(0)), RangeError);
});

Deno.test("caif: a driver that receives nothing holds the modem up, and nothing is lost", async () => {
  await using it = await rig({ buffers: 4, onFrame: () => {} });
  const { caif, modem } = it;
  let sent = 0;
  // The driver takes 64 frames; then the modem's buffers stay where they are.
  while (sent < 1000 && modem.send(frame(sent))) {
    sent++;
    // The driver looks in a microtask.
    if (modem.room === 0) await turn();
  }
  assertEquals([sent, caif.waiting, modem.room], [68, 64, 0]);
  for (let i = 0; i < sent; i++) assertEquals(await caif.receive(SOON), frame(i));
  assertEquals(modem.room, 4);
  const timedOut = await assertRejects(() => caif.receive({ deadline: 1 }), VireoError);
  assertEquals(timedOut.code, "TIMEOUT");
});

Deno.test("caif: a modem that takes nothing holds the driver up until a deadline or an abort", async () => {
  await using it = await rig({ onFrame: () => false });
  const late = await assertRejects(() => it.caif.send(frame(1), { deadline: 1 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
  const abort = new AbortController();
  const waiting = it.caif.send(frame(2), { signal: abort.signal });
  abort.abort(new Error("enough"));
  await assertRejects(() => waiting, Error, "enough");
});

Deno.test("caif: buffers without a frame, or nowhere, break the link and say what was seen", async () => {
  for (const length of [0, 64, 4097, 1 << 30, 2 ** 32 - 1]) {
    await using it = await rig({ onFrame: () => {} });
    const waiting = assertRejects(() => it.caif.receive(SOON), VireoError);
    assert(it.modem.offer(length, () => {}));
    const error = await waiting;
    assertEquals([error.code, error.queue], ["CHAIN_SHAPE", 1]);
    assertEquals(error.seen, length < 1 << 20 ? length : 0x4040_0000);
    const refused = await assertRejects(() => it.caif.send(frame(1)), VireoError);
    assertEquals(refused.code, "CHAIN_SHAPE");
  }
});

Deno.test("caif: a driver that returns what it does not have, is a fault", async () => {
  await using it = await rig({ onFrame: () => {} });
  const { memory } = it.machine;
  const { queues } = it.bus.devices[0]!;
  const used = (queues[1] as unknown as { addresses: { device: number } }).addresses.device -
    memory.base;
  memory.words32[(used + 4) / 4] = 77;
  memory.words16[(used + 2) / 2] = 1;
  it.machine.slots[0]!.write32(0x50, 1);
  assertEquals(it.machine.violations().map(({ reason }) => reason), [
    "queue 1: the driver returned buffer 77, not its own",
  ]);
});

Deno.test("caif: suspend, resume and a reset in between lose no frame that comes after", async () => {
  await using it = await rig();
  const { bus, caif } = it;
  const waiting = assertRejects(() => caif.receive(SOON), VireoError);
  await bus.freeze(bus.devices[0]!);
  assertEquals((await waiting).code, "DEVICE_STATE");
  await bus.restore(bus.devices[0]!);
  await caif.send(frame(3), SOON);
  assertEquals(await caif.receive(SOON), frame(3));
  await bus.unbind(bus.devices[0]!);
  await assertRejects(() => caif.send(frame(1)), VireoError);
  assertEquals(await bus.bind(bus.devices[0]!), true);
  const again = bus.get(caifDriver)!;
  await again.send(frame(5), SOON);
  assertEquals(await again.receive(SOON), frame(5));
  assertEquals(it.machine.violations(), []);
});

Deno.test("caif: a legacy device shares no memory, so it is refused, and the reason is told", async () => {
  const failed = await assertRejects(
    () => rig({}, { devices: [{ model: new CaifDevice({ onFrame: () => {} }), version: 1 }] }),
    VireoError,
  );
  assertEquals(failed.code, "VERSION_1_REQUIRED");
  assertStringIncludes(failed.message, "CAIF devices have no legacy interface");
  const model = new CaifDevice({ onFrame: () => {} });
  Object.defineProperty(model, "sharedMemory", { value: [] });
  const nowhere = await assertRejects(() => rig({}, { devices: [{ model }] }), VireoError);
  assertEquals(nowhere.code, "UNSUPPORTED");
});
