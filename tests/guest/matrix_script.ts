import { type Blk, blkDriver } from "@vireo/drivers/blk";
import { Bus } from "@vireo/drivers/bus";
import { type Console, consoleDriver } from "@vireo/drivers/console";
import type { DriverInstance, VirtioDriver } from "@vireo/drivers/core";
import { netDriver } from "@vireo/drivers/net";
import { rngDriver } from "@vireo/drivers/rng";
import type { Vireo } from "@vireo/firmware";
import { ping } from "@vireo/firmware/ip";
import { type DeviceNode, Feature, FeatureSet, VireoError } from "@vireo/hal";
import { DevmemPlatform } from "@vireo/hal/devmem";
import { openVireo } from "../../firmware/session.ts";
import { guestModules } from "../../firmware/target/own_machine.ts";
import { checkDevices, countValues } from "./devices_script.ts";
import { keepLines, shape, useThree } from "../trace/three.ts";

/**
 * The script that tests/guest/matrix_test.ts gives to `vireo run` in a guest: the four drivers with each ring and each way of
 * waiting, one after the other, as booting is slow. Prints its findings as JSON, a line for each face that it
 * is told to use, then a line of what `devices_script.ts` finds if it is told to run that.
 *
 * Arguments: the faces as JSON; then {@linkcode HOT_PLUG}, {@linkcode TRACED}, or the other script's arguments; then
 * {@linkcode BUSY}.
 */

/** Four of the guest's devices, and how the drivers take them. */
export interface ScriptFace {
  /** Where they are: in slots of virtio-mmio, or on PCI. */
  readonly bus: "mmio" | "pci";
  /** On PCI, the first and the last slot of the devices. */
  readonly slots?: readonly [first: number, last: number];
  /** Name of the console's port that sends back what it gets; `echo` by default. */
  readonly port?: string;
  /** Whether the drivers use packed rings too. */
  readonly packed: boolean;
  /** Whether the drivers take transitional devices as legacy ones. */
  readonly forceLegacy?: boolean;
}

/** Serial of the disk that is written here. */
export const SCRATCH = "SCRATCH";

/** The argument that has it plug devices into the port `port1` first, and print last how that went. */
export const HOT_PLUG = "hot-plug";

/** The argument that has it write to the disk {@linkcode SCRATCH} in the end until its guest ends, and print this. */
export const BUSY = "busy";

/** The argument that has it print last the lines of a trace of what docs/tracing.md shows. */
export const TRACED = "traced";

/** Length of an answer to wait for, in milliseconds: a guest may have a small part of a busy machine. */
const DEADLINE = 20_000;
const SECTOR = 512;

/** Findings of one run of the four drivers. */
export interface MatrixFinding {
  readonly packed: boolean;
  readonly poll: boolean;
  /** Kind of the transport, how interrupts come, and whether the ring is packed; the same of all four. */
  readonly transports: readonly string[];
  readonly policies: readonly string[];
  readonly rings: readonly boolean[];
  /** Whether what was written to the disk came back, and a sector that nobody wrote is zero. */
  readonly blk: readonly boolean[];
  readonly replies: number;
  readonly echo: boolean;
  /** Different values among the bytes of entropy. */
  readonly entropy: number;
}

export default async function main(vireo: Vireo): Promise<void> {
  const busy = vireo.args.at(-1) === BUSY;
  const [faces, ...devices] = busy ? vireo.args.slice(0, -1) : vireo.args;
  const plugged = devices[0] === HOT_PLUG ? await plug(vireo) : undefined;
  // The machine is opened again for each way of waiting.
  await vireo[Symbol.asyncDispose]();
  const rows = new Map(
    (JSON.parse(faces!) as ScriptFace[]).map((face) => [face, [] as MatrixFinding[]]),
  );
  for (const poll of [false, true]) {
    // In slots it has polled already: Linux gives programs no interrupt of them.
    const left = [...rows].filter(([{ bus }]) => !poll || bus === "pci");
    if (left.length === 0) break;
    await using platform = DevmemPlatform.open({
      unbind: true,
      modules: guestModules(),
      ...(poll ? { poll: {} } : {}),
    });
    for (const [face, findings] of left) {
      await using bus = new Bus({ forceLegacy: face.forceLegacy === true });
      const nodes = platform.nodes().filter((node) => isOf(face, node));
      await bus.addPlatform({ dma: platform.dma, nodes: () => nodes });
      for (const packed of face.packed ? [true, false] : [false]) {
        await bind(bus, packed);
        findings.push({
          packed,
          poll,
          ...await check(bus, face.port ?? "echo", findings.length + 1),
        });
      }
    }
  }
  for (const findings of rows.values()) console.log(JSON.stringify(findings));
  if (plugged !== undefined) console.log(JSON.stringify(plugged));
  if (devices[0] === TRACED) console.log(JSON.stringify(await traced()));
  else if (devices.length > 0 && plugged === undefined) {
    await using own = await openVireo({ target: "devmem" });
    await bind(own.bus, false);
    console.log(JSON.stringify(await checkDevices(own, devices.map(Number))));
  }
  if (busy) await writeForEver();
}

/** Writes to the disk of this serial, and says so when it does. */
async function writeForEver(): Promise<void> {
  await using own = await openVireo({ target: "devmem" });
  const blk = await scratchDisk(own.bus);
  for (let i = 0;; i++) {
    await blk.write(i % 1000, new Uint8Array(SECTOR));
    if (i === 100) console.log(BUSY);
  }
}

async function scratchDisk(bus: Bus): Promise<Blk> {
  const disks = bus.all(blkDriver);
  const serials = await Promise.all(disks.map((disk) => disk.getId()));
  return disks[serials.indexOf(SCRATCH)]!;
}

/** The shapes of the lines of a trace. */
async function traced(): Promise<string[]> {
  const lines: string[] = [];
  const board = { target: "devmem", trace: ["ring", "request"] } as const;
  await using vireo = await openVireo(board, { trace: keepLines(lines) });
  await useThree(vireo);
  return lines.map(shape);
}

/** The life of a device in a guest that QEMU's monitor plugged and unplugged while a driver was at work. */
export interface PlugFinding {
  /** Drivers of the devices that came. */
  readonly added: readonly (string | undefined)[];
  /** How a driver's requests ended when their device went. */
  readonly ended: string;
  /** How many devices went. */
  readonly removed: number;
  /** Bytes of entropy from the device that was there all the time. */
  readonly stays: number;
  /** The driver of what was plugged into the same port then. */
  readonly again: readonly (string | undefined)[];
}

async function plug(vireo: Vireo): Promise<PlugFinding> {
  const { bus } = vireo;
  const qmp = vireo.qmp!;
  const rngs = bus.all(rngDriver).length;
  const added = async (driver: string, properties = {}): Promise<(string | undefined)[]> => {
    await qmp.execute("device_add", { driver, bus: "port1", id: driver, ...properties });
    return (await vireo.rescan({ deadline: DEADLINE })).added.map(({ driver }) => driver?.name);
  };
  // Linux takes five seconds to let go of a function: the device is as slow as to have a request for most of them.
  const first = await added("virtio-rng-pci", { "max-bytes": 16, period: 500 });
  const rng = bus.all(rngDriver)[rngs]!;
  const device = bus.devices.find(({ instance }) => instance === rng);
  const deleted = qmp.events("DEVICE_DELETED");
  let ended: VireoError | undefined;
  const work = (async () => {
    while (ended === undefined) {
      await rng.read(16, { deadline: DEADLINE }).catch((error) => ended = error);
    }
  })();
  await qmp.execute("device_del", { id: "virtio-rng-pci" });
  const { removed } = await vireo.rescan({ deadline: DEADLINE });
  await work;
  for await (const { data } of deleted) if (data.device === "virtio-rng-pci") break;
  return {
    added: first,
    ended: ended!.code,
    removed: removed.filter((gone) => gone === device).length,
    stays: (await vireo.rng.read(8, { deadline: DEADLINE })).length,
    // Its driver was not imported yet.
    again: await added("virtio-balloon-pci"),
  };
}

function isOf({ bus, slots = [0, 0x1f] }: ScriptFace, { name }: DeviceNode): boolean {
  if (bus === "mmio") return name.startsWith("virtio-mmio@");
  const slot = parseInt(/^\w+:00:(\w+)\.0$/.exec(name)?.[1] ?? "", 16);
  return slot >= slots[0] && slot <= slots[1];
}

/** Has the drivers agree on packed rings, or on split ones. */
async function bind(bus: Bus, packed: boolean): Promise<void> {
  bus.filter = packed ? FeatureSet.NONE : FeatureSet.of(Feature.RING_PACKED);
  for (const driver of [...bus.drivers]) await bus.unregisterDriver(driver);
  for (const driver of [netDriver, blkDriver, consoleDriver, rngDriver]) {
    await bus.registerDriver(driver);
  }
}

async function check(
  bus: Bus,
  port: string,
  seed: number,
): Promise<Omit<MatrixFinding, "packed" | "poll">> {
  const net = driven(bus, netDriver);
  const rng = driven(bus, rngDriver);
  const blk = await scratchDisk(bus);
  const devices = bus.devices;
  const data = fill(200_000 - 200_000 % SECTOR, (i) => i * seed >> 3);
  const at = 64 * seed;
  await blk.write(at, data, { deadline: DEADLINE });
  await blk.flush({ deadline: DEADLINE });
  const back = await blk.read(at, data.length, { deadline: DEADLINE });
  const blank = await blk.read(blk.capacity / SECTOR - 1, SECTOR, { deadline: DEADLINE });
  const path = { source: "10.0.2.15", target: "10.0.2.2", deadline: DEADLINE };
  const { replies } = await ping(net, { ...path, count: 3, size: 1000 });
  return {
    transports: [...new Set(devices.map(({ transport }) => transport.kind))],
    policies: [
      ...new Set(devices.map(({ transport }) => {
        return transport.route?.policy ?? (transport.interrupt.polled ? "poll" : "line");
      })),
    ],
    rings: [...new Set(devices.map((device) => device.has(Feature.RING_PACKED)))],
    blk: [isEqual(back, data), isEqual(blank, new Uint8Array(SECTOR))],
    replies: replies.length,
    echo: await echo(driven(bus, consoleDriver), port),
    entropy: countValues(await rng.read(10_000, { deadline: DEADLINE })),
  };
}

/** Makes bytes by a loop: `Uint8Array.from` takes half a second for 200,000 under TCG. */
function fill(length: number, value: (i: number) => number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = value(i);
  return bytes;
}

/** Compares by a loop: `every` takes as long as `Uint8Array.from`. */
function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return false;
  return a.length === b.length;
}

/** @throws The error of the first device or slot that has one, if no device has the driver. */
function driven<T extends DriverInstance>(bus: Bus, driver: VirtioDriver<T>): T {
  const found = bus.get(driver);
  if (found !== undefined) return found;
  throw bus.devices.find(({ error }) => error)?.error ?? bus.slotErrors[0]?.error ??
    new VireoError("NO_DEVICE", `No device for ${driver.name}`);
}

async function echo(console: Console, name: string): Promise<boolean> {
  using port = (await console.port(name, { deadline: DEADLINE })).open();
  await port.hostOpened({ deadline: DEADLINE });
  const data = fill(10_000, (i) => i * 31 ^ i >> 8);
  const sending = port.write(data, { deadline: DEADLINE });
  for (let at = 0; at < data.length;) {
    const bytes = await port.read({ deadline: DEADLINE });
    if (bytes === null) return false;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== data[at++]) return false;
  }
  await sending;
  return true;
}
