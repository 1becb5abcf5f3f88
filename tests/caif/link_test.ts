// Room, link up and down, removal, recovery, and a cable between two machines.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { caifCable, CaifDevice, EmulatedMachine } from "@vireo/emu";
import { MmioRegister, VireoError } from "@vireo/hal";
import { Bus } from "../../drivers/bus/bus.ts";
import { type Caif, caifDriver } from "../../drivers/caif/driver.ts";
import { countedMemory, frame, rig, SOON, until } from "./caif_rig.ts";
import { turn } from "../turn.ts";

/** The code that a promise fails with. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => promise, VireoError)).code;
}

Deno.test("caif: 1000 frames sent at once wait for room in their order, in a machine of 1 MiB", async () => {
  const { memory, dma } = countedMemory(1 << 20);
  const seen: number[] = [];
  let open = false;
  await using it = await rig({
    onFrame: (bytes) => open && void seen.push(bytes[0]! + 256 * bytes[1]!),
  }, { memory, dma });
  const { caif, modem } = it;
  const idle = dma.live;
  const numbered = (i: number): Uint8Array => {
    const bytes = new Uint8Array(4000);
    bytes.set([i & 0xff, i >> 8]);
    return bytes;
  };
  const sent = Array.from({ length: 1000 }, (_, i) => caif.send(numbered(i), SOON));
  // A turn for all to get where they wait: 64 places of the ring have memory, the others none.
  await turn();
  assertEquals(dma.live - idle, 64);
  open = true;
  modem.resume();
  await Promise.all(sent);
  assertEquals(seen, Array.from({ length: 1000 }, (_, i) => i));
  assertEquals([dma.live, it.errors], [idle, []]);
});

Deno.test("caif: an aborted frame keeps its place and memory until the modem returned it", async () => {
  const { memory, dma } = countedMemory(1 << 20);
  let open = false;
  await using it = await rig({ onFrame: () => open }, { memory, dma, ring: {} });
  const { caif, modem } = it;
  const idle = dma.live;
  const abort = new AbortController();
  const sent = Array.from({ length: 65 }, () => caif.send(frame(1), { signal: abort.signal }));
  await turn();
  abort.abort(new Error("enough"));
  for (const each of sent) await assertRejects(() => each, Error, "enough");
  assertEquals(dma.live - idle, 64);
  assertEquals(await codeOf(caif.send(frame(2), { deadline: 1 })), "TIMEOUT");
  await assertRejects(() => caif.send(frame(2), { signal: abort.signal }), Error, "enough");
  open = true;
  modem.resume();
  await caif.send(frame(3), SOON);
  assertEquals(dma.live, idle);
});

Deno.test("caif: a closed link sends nothing and leaves the modem its buffers; open goes on", async () => {
  const frames: Uint8Array[] = [];
  let taking = false;
  await using it = await rig({
    buffers: 4,
    onFrame: (bytes) => taking && void frames.push(bytes),
  });
  const { caif, modem } = it;
  assertEquals(caif.up, true);
  const sent = Array.from({ length: 70 }, (_, i) => caif.send(frame(i), SOON));
  const settled = Promise.allSettled(sent);
  await turn();
  caif.close();
  caif.close();
  assertEquals([caif.up, await codeOf(caif.send(frame(1)))], [false, "PORT_CLOSED"]);
  // Six had no room; the 64 of the ring are the modem's and go on.
  taking = true;
  modem.resume();
  const outcome = await settled;
  assertEquals(outcome.map(({ status }) => status === "fulfilled"), [
    ...new Array(64).fill(true),
    ...new Array(6).fill(false),
  ]);
  for (const each of outcome.slice(64)) {
    assertEquals(((each as PromiseRejectedResult).reason as VireoError).code, "PORT_CLOSED");
  }
  for (let i = 0; i < 4; i++) assert(modem.send(frame(i)));
  assertEquals(await codeOf(caif.receive({ deadline: 1 })), "TIMEOUT");
  assertEquals([caif.waiting, modem.room], [0, 0]);
  caif.open();
  for (let i = 0; i < 4; i++) assertEquals(await caif.receive(SOON), frame(i));
  assertEquals([caif.up, modem.room], [true, 4]);
  // All 64 places are there again.
  await Promise.all(Array.from({ length: 200 }, (_, i) => caif.send(frame(i), SOON)));
  assertEquals([frames.length, it.machine.violations(), it.errors], [264, [], []]);
});

Deno.test("caif: closing and opening a link makes and loses no room", async () => {
  const { memory, dma } = countedMemory(1 << 20);
  let taking = false;
  await using it = await rig({ onFrame: () => taking }, { memory, dma });
  const { caif, modem } = it;
  const idle = dma.live;
  const sent = Array.from({ length: 10 }, () => caif.send(frame(1), SOON));
  await turn();
  // It had room, but the link is closed before its turn comes.
  const late = codeOf(caif.send(frame(1), SOON));
  caif.close();
  assertEquals(await late, "PORT_CLOSED");
  caif.open();
  for (let i = 0; i < 100; i++) sent.push(caif.send(frame(i), SOON));
  await turn();
  assertEquals(dma.live - idle, 64);
  taking = true;
  modem.resume();
  await Promise.all(sent);
  assertEquals(dma.live, idle);
});

Deno.test("caif: a frame that has room when the device is reset takes room on the new queue", async () => {
  const { memory, dma } = countedMemory(1 << 20);
  await using it = await rig({ onFrame: () => false }, { memory, dma }, { recover: "manual" });
  const { bus, caif, machine } = it;
  const idle = dma.live;
  // The room is taken, and used a few microtasks later. No bus is as fast as these steps of a reset.
  const sent = [caif.send(frame(1), SOON)];
  const device = bus.devices[0]!;
  caif.failed(new VireoError("DEVICE_STATE", "Enough"));
  const reset = device.reset(SOON);
  const slot = machine.slots[0]!;
  for (const status of [1, 3]) slot.write32(MmioRegister.Status, status);
  slot.write32(MmioRegister.DriverFeaturesSel, 1);
  slot.write32(MmioRegister.DriverFeatures, 1);
  slot.write32(MmioRegister.Status, 11);
  device.deleteQueues();
  void caif.restore();
  for (let i = 0; i < 100; i++) sent.push(caif.send(frame(2), SOON));
  const settled = Promise.allSettled(sent);
  await reset;
  await turn();
  // 64 of the 101 frames have memory: the ring has no more places.
  assertEquals(dma.live - idle, 64);
  caif.failed(new VireoError("DEVICE_STATE", "Enough"));
  await settled;
});

Deno.test("caif: the wait for room counts to the deadline", async () => {
  let places = 0;
  await using it = await rig({ onFrame: () => places-- > 0 });
  const { caif, modem } = it;
  const full = Promise.allSettled(Array.from({ length: 64 }, () => caif.send(frame(1), SOON)));
  await turn();
  const now = performance.now;
  const start = now.call(performance);
  const waiting = codeOf(caif.send(frame(2), { deadline: 60_000 }));
  try {
    performance.now = () => now.call(performance) + 60_000;
    places = 1;
    modem.resume();
    // With the modem now, which does not take it: nothing is left of the minute.
    assertEquals(await waiting, "TIMEOUT");
  } finally {
    performance.now = now;
  }
  assert(now.call(performance) - start < 4000);
  caif.failed(new VireoError("DEVICE_STATE", "Enough"));
  await full;
});

Deno.test("caif: a failure ends at once what has no room yet, and restoring frees what was stuck", async () => {
  const { memory, dma } = countedMemory(1 << 20);
  await using it = await rig({ onFrame: () => false }, { memory, dma }, { recover: "manual" });
  const { caif, bus, machine } = it;
  const idle = dma.live;
  const sent = Array.from({ length: 80 }, () => codeOf(caif.send(frame(1), SOON)));
  await turn();
  machine.device(0).fault("the modem crashed");
  assertEquals([...new Set(await Promise.all(sent))], ["DEVICE_NEEDS_RESET"]);
  // What the modem has is its own until the reset.
  assertEquals(dma.live - idle, 64);
  await bus.recover(bus.devices[0]!);
  assertEquals([dma.live, caif.up], [idle, true]);
});

Deno.test("caif: a lie that is found outside of an interrupt breaks the link too", async () => {
  await using it = await rig({ onFrame: () => false }, {}, { recover: "manual" });
  const { caif, modem } = it;
  const sending = codeOf(caif.send(frame(1), SOON));
  await turn();
  caif.close();
  assert(modem.offer(64, () => {}));
  await turn();
  assertEquals(caif.waiting, 0);
  caif.open();
  assertEquals([caif.up, await sending], [false, "CHAIN_SHAPE"]);
});

Deno.test("caif: an address that is none of the modem's memory is never read", async () => {
  // Linux says of it `TODO: Add check on valid buffer address`.
  for (const at of ["ram", "before", "behind", "far"] as const) {
    await using it = await rig({ onFrame: () => {} }, {}, { recover: "manual" });
    const { caif, modem, machine, bus } = it;
    const { memory } = machine;
    const region = bus.devices[0]!.sharedMemory(0)!;
    const address = {
      ram: memory.base + 0x1000,
      before: region.address - 1,
      behind: region.address + region.length - 99,
      far: 2 ** 64 - 2 ** 12,
    }[at];
    const waiting = assertRejects(() => caif.receive(SOON), VireoError);
    assert(modem.offer(100, () => {}));
    // Before the driver looks, in a microtask: the descriptor says another thing.
    const { desc } = (bus.devices[0]!.queues[1] as unknown as { addresses: { desc: number } })
      .addresses;
    new DataView(memory.bytes.buffer).setBigUint64(desc - memory.base, BigInt(address), true);
    const error = await waiting;
    assertEquals([error.code, error.seen], ["CHAIN_SHAPE", address]);
  }
});

Deno.test("caif: a frame may end where the modem's memory ends", async () => {
  await using it = await rig({ onFrame: () => {} });
  const { caif, modem, machine, bus } = it;
  const { memory } = machine;
  const region = bus.devices[0]!.sharedMemory(0)!;
  const received = caif.receive(SOON);
  assert(modem.offer(100, () => {}));
  const { desc } = (bus.devices[0]!.queues[1] as unknown as { addresses: { desc: number } })
    .addresses;
  const last = BigInt(region.address + region.length - 100);
  new DataView(memory.bytes.buffer).setBigUint64(desc - memory.base, last, true);
  const { headroom, tailroom } = caif.downlink;
  assertEquals((await received).length, 100 - headroom - tailroom);
});

Deno.test("caif: the modem's memory is let go at removal, and if the queues cannot be had", async () => {
  let open = 0;
  for (const queues of [2, 1]) {
    const modem = new CaifDevice({ onFrame: () => {} });
    Object.assign(modem, { queues: modem.queues.slice(0, queues) });
    await using machine = EmulatedMachine.create({ devices: [modem] });
    await using bus = new Bus();
    await bus.registerDriver(caifDriver);
    const [device] = await bus.addPlatform({
      dma: machine.dma,
      nodes: () => machine.nodes(),
      openMemory: (address, length) => {
        const memory = machine.openMemory(address, length);
        open++;
        return { bytes: memory.bytes, [Symbol.dispose]: () => void open-- };
      },
    });
    const code = (device!.error as VireoError | undefined)?.code;
    assertEquals(code, queues === 2 ? undefined : "QUEUE_UNAVAILABLE");
    assertEquals(open, queues - 1);
    await bus.removeDevice(device!);
    assertEquals(open, 0);
  }
});

Deno.test("caif: frames() gives what comes until it is aborted", async () => {
  await using it = await rig();
  const abort = new AbortController();
  const seen: Uint8Array[] = [];
  const listening = (async () => {
    for await (const bytes of it.caif.frames({ signal: abort.signal })) {
      if (seen.push(bytes) === 50) abort.abort(new Error("enough"));
    }
  })();
  const ended = assertRejects(() => listening, Error, "enough");
  await Promise.all(Array.from({ length: 50 }, (_, i) => it.caif.send(frame(i), SOON)));
  await ended;
  assertEquals(seen, Array.from({ length: 50 }, (_, i) => frame(i)));
  await it.caif.send(frame(50), SOON);
  for await (const bytes of it.caif.frames(SOON)) {
    assertEquals(bytes, frame(50));
    break;
  }
});

Deno.test("caif: removed while frames are with the modem, wait for room, and are waited for", async () => {
  const { memory, dma } = countedMemory(1 << 20);
  const it = await rig({ onFrame: () => false }, { memory, dma });
  const { caif, bus, modem } = it;
  const stuck = Array.from({ length: 80 }, (_, i) => codeOf(caif.send(frame(i), SOON)));
  assert(modem.send(frame(7)));
  assertEquals(await caif.receive(SOON), frame(7));
  const receiving = codeOf(caif.receive(SOON));
  await bus.removeDevice(bus.devices[0]!);
  assertEquals([...new Set(await Promise.all([...stuck, receiving]))], ["DEVICE_REMOVED"]);
  assertEquals([dma.live, caif.up, modem.room], [0, false, 0]);
  assertEquals(await codeOf(caif.send(frame(1))), "DEVICE_REMOVED");
  assertThrows(() => caif.open(), VireoError);
  await it[Symbol.asyncDispose]();
});

Deno.test("caif: a receiver of the last frames of a removed device touches no memory of it", async () => {
  const { memory, dma } = countedMemory(1 << 20);
  const it = await rig({ onFrame: () => {} }, { memory, dma, ring: { eventIdx: false } });
  const { caif, bus, modem } = it;
  for (let i = 0; i < 3; i++) assert(modem.send(frame(i)));
  await until(() => caif.waiting === 3);
  await bus.removeDevice(bus.devices[0]!);
  memory.bytes.fill(0xa5);
  for (let i = 0; i < 3; i++) assertEquals(await caif.receive(SOON), frame(i));
  assertEquals(await codeOf(caif.receive(SOON)), "DEVICE_REMOVED");
  assert(memory.bytes.every((byte) => byte === 0xa5));
  await it[Symbol.asyncDispose]();
});

Deno.test("caif: a modem that needs a reset ends what waits, and is usable again", async () => {
  await using it = await rig({ onFrame: (bytes, modem) => modem.send(bytes) });
  const { caif, bus, machine } = it;
  const waiting = codeOf(caif.receive(SOON));
  const recovered = bus.devices[0]!.recovered(SOON);
  machine.device(0).fault("the modem crashed");
  assertEquals(await waiting, "DEVICE_NEEDS_RESET");
  await recovered;
  assertEquals(caif.up, true);
  for (let i = 0; i < 100; i++) {
    await caif.send(frame(i), SOON);
    assertEquals(await caif.receive(SOON), frame(i));
  }
});

Deno.test("caif: the link that a lie broke stays down until it is recovered", async () => {
  await using it = await rig();
  const { caif, bus, modem } = it;
  const waiting = codeOf(caif.receive(SOON));
  assert(modem.offer(64, () => {}));
  assertEquals([await waiting, caif.up], ["CHAIN_SHAPE", false]);
  assertThrows(() => caif.open(), VireoError);
  await bus.recover(bus.devices[0]!);
  assertEquals(caif.up, true);
  await caif.send(frame(9), SOON);
  assertEquals(await caif.receive(SOON), frame(9));
});

/** A machine with one end of a cable. */
async function machineOf(
  modem: CaifDevice,
  stack: AsyncDisposableStack,
  queueSize = 64,
): Promise<[Caif, Bus]> {
  const machine = stack.use(EmulatedMachine.create({ devices: [modem], memorySize: 4 << 20 }));
  const bus = stack.use(new Bus({ queueSize }));
  await bus.registerDriver(caifDriver);
  await bus.addPlatform(machine);
  return [bus.get(caifDriver)!, bus];
}

Deno.test("caif: a cable carries 1000 frames both ways between two machines", async () => {
  await using stack = new AsyncDisposableStack();
  const [left, right] = caifCable({ buffers: 3 });
  const [a] = await machineOf(left, stack);
  // Whoever is there first may send at once.
  const early = a.send(frame(0), SOON);
  const [b] = await machineOf(right, stack);
  await early;
  assertEquals(await b.receive(SOON), frame(0));
  const through = async (from: Caif, to: Caif, first: number): Promise<void> => {
    const sent = Promise.all(
      Array.from({ length: 1000 }, (_, i) => from.send(frame(first + i), SOON)),
    );
    for (let i = 0; i < 1000; i++) assertEquals(await to.receive(SOON), frame(first + i));
    await sent;
  };
  await Promise.all([through(a, b, 1), through(b, a, 5000)]);
});

Deno.test("caif: a far end that does not listen holds the near end up, across a reset too", async () => {
  await using stack = new AsyncDisposableStack();
  const [left, right] = caifCable({ buffers: 4 });
  const [a] = await machineOf(left, stack);
  const [b, bus] = await machineOf(right, stack);
  const sent: number[] = [];
  const all = Promise.all(
    Array.from({ length: 200 }, (_, i) => a.send(frame(i), SOON).then(() => void sent.push(i))),
  );
  await until(() => b.waiting === 64 && sent.length === 68);
  // 64 wait at the far driver, 4 in the modem's buffers; no more was taken.
  await turn();
  assertEquals([b.waiting, sent.length], [64, 68]);
  for (let i = 0; i < 64; i++) assertEquals(await b.receive(SOON), frame(i));
  await bus.recover(bus.devices[0]!);
  // What the reset took with it is gone; what the near end holds arrives.
  let last = -1;
  while (last < 199) {
    const bytes = await b.receive(SOON);
    const i = Array.from({ length: 200 }, (_, i) => i).find((i) =>
      frame(i).length === bytes.length && frame(i)[0] === bytes[0]
    )!;
    assert(i > last, `frame ${i} after ${last}`);
    assertEquals(bytes, frame(i));
    last = i;
  }
  await all;
});

Deno.test("caif: a cable's rings may be shorter than the modems have buffers", async () => {
  await using stack = new AsyncDisposableStack();
  const [left, right] = caifCable();
  const [a] = await machineOf(left, stack, 4);
  const [b] = await machineOf(right, stack, 4);
  const sent = Promise.all(Array.from({ length: 300 }, (_, i) => a.send(frame(i), SOON)));
  for (let i = 0; i < 300; i++) assertEquals(await b.receive(SOON), frame(i));
  await sent;
});
