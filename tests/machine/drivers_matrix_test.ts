import { assert, assertEquals } from "@std/assert";
import { blkDriver, Bus, consoleDriver, createNetDriver, rngDriver } from "@vireo/drivers";
import { ping } from "@vireo/firmware/ip";
import { Feature, FeatureSet, type Platform, Poller } from "@vireo/hal";
import { Hub } from "../../emu/backends/hub.ts";
import { MemoryDisk } from "../../emu/backends/memory_disk.ts";
import { seededRandom } from "../../emu/backends/random.ts";
import { loopbackPort } from "../../emu/backends/stream_port.ts";
import { HostPeer } from "../../emu/backends/wire.ts";
import { BlkDevice } from "../../emu/devices/blk/mod.ts";
import { ConsoleDevice } from "../../emu/devices/console/mod.ts";
import { NetDevice } from "../../emu/devices/net/mod.ts";
import { RngDevice } from "../../emu/devices/rng/mod.ts";
import { EmulatedMachine, type MachineOptions } from "../../emu/machine.ts";
import type { RingOptions } from "../../emu/offer.ts";
import { bytesBy } from "../noise.ts";

const SOON = { deadline: 20_000 };
const netDriver = createNetDriver();

const NAMES: Readonly<Record<string, number>> = {
  packed: Feature.RING_PACKED,
  indirect: Feature.INDIRECT_DESC,
  eventIdx: Feature.EVENT_IDX,
  inOrder: Feature.IN_ORDER,
  notificationData: Feature.NOTIFICATION_DATA,
};

/** Everything that is on or off, with every combination of it. */
const COMBINATIONS = Object.keys(NAMES).reduce<RingOptions[]>(
  (all, name) => [...all, ...all.map((options) => ({ ...options, [name]: true }))],
  [{ indirect: false, eventIdx: false }],
);

/** Where devices are, and by which interface they are driven. */
interface Place {
  readonly name: string;
  readonly kind: string;
  readonly bus: "mmio" | "pci";
  readonly version: 1 | 2;
  readonly transitional?: boolean;
  readonly forceLegacy?: boolean;
  /** BARs that only the configuration access capability reaches. */
  readonly unmapped?: readonly number[];
}

const MMIO: Place = { name: "mmio v2", kind: "mmio-2", bus: "mmio", version: 2 };
const MODERN: Place = { name: "pci modern", kind: "pci-modern", bus: "pci", version: 2 };
const PLACES: readonly Place[] = [
  { name: "mmio v1", kind: "mmio-1", bus: "mmio", version: 1 },
  MMIO,
  { name: "pci legacy", kind: "pci-legacy", bus: "pci", version: 1 },
  { ...MODERN, name: "pci transitional", transitional: true },
  {
    ...MODERN,
    name: "pci transitional, force_legacy",
    kind: "pci-legacy",
    transitional: true,
    forceLegacy: true,
  },
  MODERN,
  { ...MODERN, name: "pci modern, by configuration accesses", unmapped: [4] },
];

/** How interrupts come, and the policy of a PCI device of few queues then. */
const WAYS = {
  "MSI-X": { policy: "msix-per-queue", machine: {} },
  "MSI-X shared": { policy: "msix-shared", machine: { vectors: 2 } },
  INTx: { policy: "line", machine: { messages: 0 } },
  poll: { policy: "poll", machine: { messages: 0, lines: false } },
} as const;
type Way = keyof typeof WAYS;

/** The machine of virtio-mmio without interrupts. */
function polled(machine: EmulatedMachine, poller: Poller): Platform {
  const nodes = machine.slotNodes().map((node) => ({
    ...node,
    open: () => {
      const lease = node.open();
      return {
        ...lease,
        interrupt: poller.line(),
        [Symbol.dispose]: () => lease[Symbol.dispose](),
      };
    },
  }));
  return {
    name: machine.name,
    dma: machine.dma,
    nodes: () => nodes,
    openMemory: (address, length) => machine.openMemory(address, length),
    [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose](),
  };
}

/** Runs four drivers against their devices, and gives the ring features that were agreed on. */
async function drive(ring: RingOptions, place = MMIO, way: Way = "MSI-X"): Promise<number[]> {
  const { bus: busKind, version, transitional = false, unmapped, forceLegacy } = place;
  const { vectors, ...more }: MachineOptions & { vectors?: number } = {
    devices: [],
    ...WAYS[way].machine,
  };
  const disk = new MemoryDisk(new Uint8Array(512 * 1024));
  const hub = new Hub();
  using _peer = new HostPeer(hub.port(), { ip: "10.0.2.2" });
  const models = [
    new RngDevice({ random: seededRandom(9), maxBytes: 100 }),
    new BlkDevice({ disk, order: "reverse" }),
    new NetDevice({ backend: hub.port() }),
    new ConsoleDevice({ ports: [{ backend: loopbackPort() }] }),
  ];
  await using machine = EmulatedMachine.create({
    ...more,
    bus: busKind,
    devices: models.map((model) => ({
      model,
      version,
      transitional,
      ...vectors === undefined ? {} : { vectors },
      ...unmapped === undefined ? {} : { unmapped },
    })),
    ring,
    memorySize: 8 << 20,
  });
  using poller = new Poller();
  const platform = way === "poll" && busKind === "mmio" ? polled(machine, poller) : machine;
  const reports: Error[] = [];
  const agreed: number[] = [];
  {
    await using bus = new Bus({ onError: (error) => reports.push(error), forceLegacy });
    for (const driver of [rngDriver, blkDriver, netDriver, consoleDriver]) {
      await bus.registerDriver(driver);
    }
    const devices = await bus.addPlatform(platform);
    assertEquals(devices.length, models.length);
    for (const device of devices) {
      assertEquals([device.error, device.transport.kind], [undefined, place.kind]);
      assertEquals(device.transport.interrupt.polled, way === "poll");
      // Entropy and disk have one queue: two vectors are enough for one each.
      const policy = vectors === 2 && [2, 4].includes(device.deviceId)
        ? "msix-per-queue"
        : WAYS[way].policy;
      if (busKind === "pci") assertEquals(device.transport.route?.policy, policy);
      agreed.push(...Object.values(NAMES).filter((bit) => device.has(bit)));
    }
    const expected = new Uint8Array(3000);
    seededRandom(9)(expected);
    assertEquals(await bus.get(rngDriver)!.read(3000, SOON), expected);

    const blk = bus.get(blkDriver)!;
    const data = bytesBy(65536, (i) => i * 31 >> 3);
    const pieces = Array.from({ length: 16 }, (_, i) => data.subarray(i * 4096, (i + 1) * 4096));
    await Promise.all(pieces.map((piece, i) => blk.write(8 * i, piece)));
    assertEquals(await blk.read(0, data.length), data);
    assertEquals(disk.memory.subarray(0, data.length), data);

    const net = bus.get(netDriver)!;
    const options = { source: "10.0.2.15", target: "10.0.2.2", count: 10, size: 1000, ...SOON };
    assertEquals((await ping(net, options)).replies.length, 10);

    using port = (await bus.get(consoleDriver)!.port(undefined, SOON)).open();
    const text = data.subarray(0, 20_000);
    const sent = port.write(text, SOON);
    for (let at = 0; at < text.length;) {
      const part = await port.read(SOON);
      assert(part !== null);
      assertEquals(part, text.subarray(at, at + part.length));
      at += part.length;
    }
    await sent;
  }
  assertEquals([machine.violations(), reports], [[], []]);
  return [...FeatureSet.of(...agreed)];
}

const everything = COMBINATIONS.at(-1)!;
/** What the drivers know at least. */
const KNOWN = Object.values(NAMES);
let known: number[] | undefined;

const batches = COMBINATIONS.filter(({ inOrder }) => inOrder)
  .map((ring) => ({ ...ring, batchUsed: true }));

for (const place of [MMIO, MODERN]) {
  for (const ring of [...COMBINATIONS, ...batches]) {
    const on = Object.keys(NAMES).filter((name) => ring[name as keyof RingOptions]);
    Deno.test(
      `four drivers on ${place.name} where rings offer [${on.join(", ")}]${
        ring.batchUsed ? " in batches" : ""
      }: they agree on all that they know, and work`,
      async () => {
        const bits = on.map((name) => NAMES[name]!);
        // What the drivers do not know they leave; what they agree to when all is offered, they know.
        known ??= await drive(everything);
        for (const bit of KNOWN) assert(known.includes(bit));
        assertEquals(await drive(ring, place), known.filter((bit) => bits.includes(bit)));
      },
    );
  }
}

for (const place of PLACES) {
  for (
    const packed of place.kind.endsWith("legacy") || place.version === 1 ? [false] : [false, true]
  ) {
    const ways = Object.keys(WAYS) as Way[];
    for (const way of place.bus === "mmio" ? (["INTx", "poll"] as const) : ways) {
      Deno.test(
        `matrix: emu | ${place.name} | ${packed ? "packed" : "split"} | ${
          place.bus === "mmio" && way === "INTx" ? "interrupt" : way
        }`,
        async () => {
          const agreed = await drive({ packed }, place, way);
          assertEquals(agreed.includes(Feature.RING_PACKED), packed);
        },
      );
    }
  }
}

for (const place of PLACES.filter(({ version }) => version === 1)) {
  Deno.test(`matrix none: emu | ${place.name} | packed`, async () => {
    const agreed = await drive({ packed: true }, place, place.bus === "mmio" ? "INTx" : "MSI-X");
    assertEquals(agreed.includes(Feature.RING_PACKED), false);
  });
}
