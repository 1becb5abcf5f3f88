// Devices that come, go and are reset while the emulator runs, on both of its buses.
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { balloonDriver, type BindNotice, blkDriver, Bus, rngDriver } from "@vireo/drivers";
import { BalloonDevice } from "@vireo/emu/balloon";
import { BlkDevice, EmulatedMachine, MemoryDisk, RngDevice, seededRandom } from "@vireo/emu";
import { openVireo } from "@vireo/firmware";
import { type Platform, VireoError } from "@vireo/hal";
import fc from "fast-check";

const BUSES = ["mmio", "pci"] as const;
/** Milliseconds; what is answered takes less than one. */
const SOON = { deadline: 5000 };

/** A source of entropy. */
class Rng extends RngDevice {
  constructor() {
    super({ random: seededRandom(1) });
  }
}

/** A disk that keeps what it is asked, so that requests are pending when it goes. */
class SilentBlk extends BlkDevice {
  constructor() {
    super({ disk: new MemoryDisk(1 << 16) });
  }

  /** Resolves at the first request. */
  readonly asked: PromiseWithResolvers<void> = Promise.withResolvers();

  override notify(): void {
    this.asked.resolve();
  }
}

for (const kind of BUSES) {
  Deno.test(`hot plug, ${kind}: a device that is plugged in is found once, one that is unplugged is removed`, async () => {
    await using machine = EmulatedMachine.create({ bus: kind, devices: [new Rng()] });
    const events: string[] = [];
    const errors: Error[] = [];
    await using bus = new Bus({
      onError: (error) => errors.push(error),
      uevent: ({ action, device }) => events.push(`${action} ${device}`),
    });
    await bus.registerDriver(rngDriver);
    await bus.registerDriver(blkDriver);
    assertEquals((await bus.addPlatform(machine)).length, 1);
    assertEquals(await bus.addPlatform(machine), [], "what is there is not registered again");
    assertEquals(await bus.rescan(machine), { added: [], removed: [], recovered: [] });

    const slot = machine.plug(new SilentBlk());
    assertEquals(slot, 1);
    // Two at once, and a third that has no turns: each device is registered by one of them.
    const [first, second, third] = await Promise.all([
      bus.rescan(machine),
      bus.rescan(machine),
      bus.addPlatform(machine),
    ]);
    const added = [...first.added, ...second.added, ...third];
    assertEquals(added.map(({ name, driver }) => [name, driver]), [["virtio1", blkDriver]]);
    const blk = bus.get(blkDriver)!;
    const pending = assertRejects(() => blk.read(0, 512, SOON), VireoError);

    machine.unplug(slot);
    assertThrows(() => machine.unplug(slot), RangeError, `slot ${slot} is empty`);
    const { removed } = await bus.rescan(machine);
    assertEquals(removed, added);
    assertEquals((await pending).code, "DEVICE_REMOVED");
    assertEquals(bus.get(blkDriver), undefined);
    await assertRejects(() => blk.read(0, 512, SOON), VireoError, "removed");
    assertEquals((await bus.get(rngDriver)!.read(8, SOON)).length, 8, "its neighbour stays");

    // The slot, the name and the driver can be had again.
    machine.plug(new BlkDevice({ disk: new MemoryDisk(1 << 16) }), slot);
    assertEquals((await bus.rescan(machine)).added.map(({ name }) => name), ["virtio1"]);
    assertEquals((await bus.get(blkDriver)!.read(0, 512, SOON)).length, 512);
    assertEquals(errors, []);
    assertEquals(events, [
      "add virtio0",
      "bind virtio0",
      "add virtio1",
      "bind virtio1",
      "unbind virtio1",
      "remove virtio1",
      "add virtio1",
      "bind virtio1",
    ]);
  });

  Deno.test(`hot plug, ${kind}: another device in the same slot is another device`, async () => {
    await using machine = EmulatedMachine.create({ bus: kind, devices: [new Rng(), new Rng()] });
    await using bus = new Bus();
    await bus.registerDriver(rngDriver);
    const [, old] = await bus.addPlatform(machine);
    machine.unplug(1);
    machine.plug(new Rng(), 1);
    const { added, removed, recovered } = await bus.rescan(machine);
    assertEquals([removed, added.map(({ name }) => name), recovered], [[old], ["virtio1"], []]);
    assertEquals(added[0] === old, false);
    for (const rng of bus.all(rngDriver)) assertEquals((await rng.read(8, SOON)).length, 8);
  });

  Deno.test(`hot plug, ${kind}: a reset of the machine is recovered, requests fail with the reason`, async () => {
    const silent = new SilentBlk();
    await using machine = EmulatedMachine.create({
      bus: kind,
      devices: [silent, new Rng(), new Rng()],
    });
    await using bus = new Bus();
    await bus.registerDriver(rngDriver);
    await bus.registerDriver(blkDriver);
    const [disk, entropy, free] = await bus.addPlatform(machine);
    await bus.unbind(free!);
    const rng = bus.get(rngDriver)!;
    const pending = assertRejects(() => bus.get(blkDriver)!.read(0, 512, SOON), VireoError);
    await silent.asked.promise;
    machine.reset();
    assertEquals(await bus.rescan(machine), {
      added: [],
      removed: [],
      recovered: [disk!, entropy!],
    });
    const { code, message } = await pending;
    assertEquals([code, message], [
      "DEVICE_NEEDS_RESET",
      "The machine reset the device (virtio0)",
    ]);
    assertEquals(bus.get(rngDriver), rng, "it is the same instance");
    assertEquals((await rng.read(8, SOON)).length, 8);
    assertEquals(bus.attributes(free!).status, "0x00000001\n", "without a driver: acknowledged");
    assertEquals(entropy!.recoveries, 1);
    assertEquals((await bus.rescan(machine)).recovered, []);
    // Suspended devices have no state that could be lost.
    await bus.freeze();
    assertEquals((await bus.rescan(machine)).recovered, []);
    await bus.restore();
    assertEquals((await rng.read(8, SOON)).length, 8);
    assertEquals(machine.violations(), []);
  });

  Deno.test(`hot plug, ${kind}: a driver that cannot be restored leaves the reason`, async () => {
    await using machine = EmulatedMachine.create({ bus: kind, devices: [new Rng()] });
    const errors: Error[] = [];
    await using bus = new Bus({ onError: (error) => errors.push(error) });
    await bus.registerDriver({
      ...rngDriver,
      async probe(device) {
        const made = await rngDriver.probe(device);
        return { remove: () => made.remove() };
      },
    });
    const [device] = await bus.addPlatform(machine);
    machine.reset();
    assertEquals((await bus.rescan(machine)).recovered, []);
    assertEquals(
      device!.error?.message,
      "Cannot restore the device: virtio_rng has no restore() (virtio0)",
    );
    assertEquals(errors, [device!.error!]);
  });

  Deno.test(`hot plug, ${kind}: any order of plugging, unplugging, resets and looks leaves bus and machine alike`, async () => {
    const step = fc.record({
      what: fc.constantFrom("plug", "unplug", "reset", "rescan", "add", "read"),
      slot: fc.nat(4),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
        await using machine = EmulatedMachine.create({ bus: kind, devices: [], slots: 5 });
        const notices: BindNotice[] = [];
        const errors: Error[] = [];
        await using bus = new Bus({
          onError: (error) => errors.push(error),
          onBindNotice: (notice) => notices.push(notice),
        });
        await bus.registerDriver(rngDriver);
        const taken = new Set<number>();
        for (const { what, slot } of steps) {
          if (what === "plug" && !taken.has(slot)) taken.add(machine.plug(new Rng(), slot));
          if (what === "unplug" && taken.delete(slot)) machine.unplug(slot);
          if (what === "reset") machine.reset();
          if (what === "rescan") await bus.rescan(machine);
          if (what === "add") await bus.addPlatform(machine);
          if (what === "read") {
            await Promise.all(
              bus.all(rngDriver).map((rng) =>
                rng.read(8, { deadline: 1 }).catch((error) => {
                  if (!(error instanceof VireoError)) throw error;
                })
              ),
            );
          }
        }
        await bus.rescan(machine);
        const rngs = bus.all(rngDriver);
        const places = bus.devices.map(({ transport }) => transport.name).sort();
        const wanted = machine.nodes().map(({ name }) => name)
          .filter((_, i) => kind === "pci" || machine.slots[i]!.device !== undefined);
        assertEquals([places, rngs.length], [wanted, taken.size]);
        for (const rng of rngs) assertEquals((await rng.read(8, SOON)).length, 8);
        assertEquals([notices, errors], [[], []]);
      }),
      { seed: 42, numRuns: 60 },
    );
  });
}

Deno.test("hot plug: a slot that could not be used is reported once, and no more when it can", async () => {
  await using machine = EmulatedMachine.create({ devices: [new Rng()] });
  let refuse = true;
  const platform: Pick<Platform, "dma" | "nodes"> = {
    dma: machine.dma,
    nodes: () =>
      machine.slotNodes().slice(0, 1).map((node) => ({
        ...node,
        open: () => {
          if (refuse) throw new VireoError("BAD_ACCESS", "Not yet");
          return node.open();
        },
      })),
  };
  await using bus = new Bus();
  for (let i = 0; i < 2; i++) assertEquals(await bus.addPlatform(platform), []);
  assertEquals(bus.slotErrors.map(({ error }) => error.message), ["Not yet"]);
  refuse = false;
  assertEquals((await bus.addPlatform(platform)).length, 1);
  assertEquals(bus.slotErrors, []);
});

Deno.test("hot plug: machine.plug names the slots that it has", async () => {
  for (const [bus, count] of [["mmio", 8], ["pci", 31]] as const) {
    await using machine = EmulatedMachine.create({ bus, devices: [new Rng()] });
    for (const slot of [0, count, -1, 1.5]) {
      assertThrows(
        () => machine.plug(new Rng(), slot),
        RangeError,
        `Cannot plug a device into slot ${slot}: expected an empty slot below ${count}`,
      );
    }
    for (let i = 1; i < count; i++) assertEquals(machine.plug(new Rng()), i);
    assertThrows(() => machine.plug(new Rng()), RangeError, "Cannot plug a device: expected");
  }
});

Deno.test("vireo.rescan() with a deadline looks until something changes", async () => {
  await using vireo = await openVireo();
  const { machine } = vireo.emulated!;
  const first = vireo.rescan({ deadline: 60_000 });
  const { removed } = await vireo.rescan();
  assertEquals(removed, []);
  machine.plug(new Rng());
  assertEquals((await first).added.length, 1);
  const late = await assertRejects(() => vireo.rescan({ deadline: 1 }), VireoError);
  assertEquals(
    [late.code, late.message],
    ["TIMEOUT", "Timed out after 1 ms waiting for a device to come, go or be reset (emu)"],
  );
  const stop = new AbortController();
  const looking = assertRejects(() => vireo.rescan({ signal: stop.signal }), Error, "enough");
  stop.abort(new Error("enough"));
  await looking;
  await assertRejects(() => vireo.rescan({ deadline: -1 }), RangeError, "-1 ms");
});

Deno.test("vireo.rescan() imports the driver of a new device, once", async () => {
  await using vireo = await openVireo({ transport: "pci" });
  const { machine } = vireo.emulated!;
  for (let count = 1; count <= 2; count++) {
    machine.plug(new BalloonDevice());
    const { added } = await vireo.rescan();
    assertEquals(added.map(({ driver }) => driver), [balloonDriver]);
    assertEquals(vireo.bus.all(balloonDriver).length, count);
  }
  await vireo[Symbol.asyncDispose]();
  await assertRejects(() => vireo.rescan(), TypeError, "it was closed");
});

for (const bus of ["mmio", "pci"] as const) {
  Deno.test(`hot plug, ${bus}: a device that goes while a rescan revives another is not revived`, async () => {
    await using machine = EmulatedMachine.create({ devices: [new Rng(), new Rng()], bus });
    await using drivers = new Bus();
    await drivers.registerDriver(rngDriver);
    const [first, second] = await drivers.addPlatform(machine);
    machine.reset();
    const rescan = drivers.rescan(machine);
    await drivers.removeDevice(second!);
    const { removed, recovered, added } = await rescan;
    assertEquals([removed, recovered, added.length], [[], [first!], 1]);
    for (const rng of drivers.all(rngDriver)) assertEquals((await rng.read(8, SOON)).length, 8);
  });
}
