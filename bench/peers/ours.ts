/**
 * Our side of every work: answers each line `WORK COUNT` with nanoseconds per operation.
 *
 * One process measures one work, so that no other work shapes what V8 makes of it.
 *
 * @module
 */
import {
  BlkDevice,
  ConsoleDevice,
  EmulatedMachine,
  Hub,
  loopbackBytes,
  MemoryDisk,
  MemoryTree,
  NetDevice,
  P9Device,
  RngDevice,
} from "@vireo/emu";
import type { DeviceModel } from "../../emu/device.ts";
import { type Blk, blkDriver } from "../../drivers/blk/mod.ts";
import { Bus } from "../../drivers/bus/bus.ts";
import { type Console, consoleDriver } from "../../drivers/console/mod.ts";
import type { DriverInstance, VirtioDriver } from "../../drivers/driver.ts";
import { type Net, netDriver } from "../../drivers/net/mod.ts";
import { p9Driver } from "../../drivers/p9/mod.ts";
import { rngDriver } from "../../drivers/rng/mod.ts";
import * as device from "../../emu/ring/split_bench.ts";
import { makeRig, moveApart, type RigOptions } from "../ring_rig.ts";
import { answerLines, type Work } from "./lines.ts";
import { apart } from "./two_threads.ts";

const DISK = 256 << 20;
const BYTES = 4096;
const FRAMES = 128;
const MANY = 256;

/** Makes a work when it is first asked for. */
function lazily(make: () => Work | Promise<Work>): Work {
  let work: Work | Promise<Work> | undefined;
  return async (count) => await (await (work ??= make()))(count);
}

/** A machine with devices, whose drivers are bound. */
async function drive<T extends DriverInstance>(
  driver: VirtioDriver<T>,
  ...models: readonly DeviceModel[]
): Promise<T[]> {
  const machine = EmulatedMachine.create({ devices: [...models] });
  const bus = new Bus();
  await bus.registerDriver(driver);
  await bus.addPlatform(machine);
  return bus.devices.map((found) => found.instance as T);
}

function ring(options: RigOptions, batch: number): Work {
  return lazily(() => {
    const rig = makeRig(options);
    return (count) => moveApart(rig, batch, count);
  });
}

function half(batch: number): Work {
  return lazily(() => {
    const rig = device.makeRig(false);
    return (count) => device.move(rig, batch, count);
  });
}

let seed = 1;
/** The same random sectors as the peers'. */
function sector(): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return ((seed >>> 0) % (DISK / BYTES)) * (BYTES / 512);
}

/** Reads each of some disks in turn. */
async function manyDisks(count: number): Promise<Work> {
  const models = Array.from(
    { length: count },
    () => new BlkDevice({ disk: new MemoryDisk(BYTES) }),
  );
  const disks = await drive(blkDriver, ...models);
  const bytes = new Uint8Array(BYTES);
  return async (reads) => {
    for (let i = 0; i < reads; i++) await disks[i % count]!.read(0, bytes);
  };
}

/** Reads QEMU's own disk, which holds zeroes. */
async function qemuDisk(): Promise<Work> {
  // No other work has its modules.
  const { openVireo } = await import("@vireo/firmware");
  const { blk } = await openVireo({ target: "qtest:riscv64-virt" });
  return async (count) => {
    for (let i = 0; i < count; i++) await blk.read(i * (BYTES / 512) % 1024, BYTES);
  };
}

async function disk(): Promise<Blk> {
  const memory = new MemoryDisk(DISK);
  memory.memory.fill(0x5a);
  return (await drive(blkDriver, new BlkDevice({ disk: memory })))[0]!;
}

function promises(depth: number): Work {
  return lazily(async () => {
    const blk = await disk();
    const lanes = Array.from({ length: depth }, () => new Uint8Array(BYTES));
    return async (count) => {
      let left = count;
      await Promise.all(lanes.map(async (bytes) => {
        while (left-- > 0) await blk.read(sector(), bytes);
      }));
    };
  });
}

function batches(depth: number): Work {
  return lazily(async () => {
    const batch = (await disk()).batch(depth, BYTES);
    return (count) => {
      for (let done = 0; done < count;) {
        for (let slot = 0; slot < depth; slot++) {
          batch.prepareRead(slot, sector());
          batch.submit(slot);
        }
        batch.kick();
        for (let slot = batch.poll(); slot >= 0; slot = batch.poll()) {
          if (!batch.ok(slot)) throw batch.error(slot);
          done++;
        }
      }
    };
  });
}

function rng(length: number): Work {
  return lazily(async () => {
    const model = new RngDevice({ random: (into) => void into.fill(0xa5) });
    const [driver] = await drive(rngDriver, model);
    const bytes = new Uint8Array(length);
    return async (count) => {
      for (let i = 0; i < count; i++) await driver!.read(bytes);
    };
  });
}

/** Two drivers on one hub, and a frame from the first to the second. */
async function pair(): Promise<{ a: Net; b: Net; frame: Uint8Array }> {
  const hub = new Hub();
  const [a, b] = await drive(
    netDriver,
    new NetDevice({ backend: hub.port(), mac: "02:00:00:00:00:0a" }),
    new NetDevice({ backend: hub.port(), mac: "02:00:00:00:00:0b" }),
  );
  const frame = new Uint8Array(64).fill(0x11);
  frame.set(b!.mac, 0);
  frame.set(a!.mac, 6);
  frame.set([0x88, 0xb5], 12);
  return { a: a!, b: b!, frame };
}

async function frames(): Promise<Work> {
  const { a, b, frame } = await pair();
  return async (count) => {
    for (let i = 0; i < count; i++) {
      const received = b.receive();
      await a.send(frame);
      if ((await received).bytes.length !== 64) throw new Error("Cannot use a frame cut short");
    }
  };
}

async function callbacks(batch: number): Promise<Work> {
  const { a, b, frame } = await pair();
  const tx = a.tx();
  for (const bytes of tx.frames) bytes.set(frame);
  let received = 0;
  b.onFrame = () => void received++;
  return (count) => {
    for (let done = 0; done < count; done += batch) {
      const wanted = received + batch;
      for (let i = 0; i < batch; i++) tx.submit(tx.reserve(), frame.length);
      tx.kick();
      b.poll();
      tx.reclaim();
      if (received < wanted) throw new Error(`Cannot go on: ${wanted - received} frames are lost`);
    }
  };
}

async function echo(): Promise<Work> {
  const [console] = await drive<Console>(
    consoleDriver,
    new ConsoleDevice({ ports: [{ backend: loopbackBytes() }] }),
  );
  const port = await console!.port();
  port.open();
  const line = new Uint8Array(64).fill(0x41);
  return async (count) => {
    for (let i = 0; i < count; i++) {
      await port.write(line);
      for (let got = 0; got < line.length;) got += (await port.read())?.length ?? 0;
    }
  };
}

async function tree() {
  const files = new MemoryTree({ "dir/file": new Uint8Array(BYTES) });
  const [p9] = await drive(p9Driver, new P9Device({ tree: files, tag: "tree" }));
  return await p9!.attach();
}

async function readFile(): Promise<Work> {
  const file = await (await tree()).open("dir/file");
  return async (count) => {
    for (let i = 0; i < count; i++) await file.read(0, BYTES);
  };
}

async function statFile(): Promise<Work> {
  const root = await tree();
  return async (count) => {
    for (let i = 0; i < count; i++) await root.stat("dir/file");
  };
}

/** Every work by its name. */
const WORKS: Readonly<Record<string, Work>> = {
  "split-1": ring({}, 1),
  "split-64": ring({}, 64),
  "packed-1": ring({ packed: true }, 1),
  "packed-64": ring({ packed: true }, 64),
  "two-split": lazily(() => apart({})),
  "two-inorder": lazily(() => apart({ inOrder: true })),
  "two-packed": lazily(() => apart({ packed: true })),
  "device-1": half(1),
  "device-64": half(64),
  "blk-1": promises(1),
  "blk-32": promises(32),
  "blk-batch-32": batches(32),
  "qtest-blk-1": lazily(qemuDisk),
  "many-256": lazily(() => manyDisks(MANY)),
  "many-256-one": lazily(() => manyDisks(1)),
  "rng-64": rng(64),
  "rng-4096": rng(4096),
  "net-1": lazily(frames),
  "net-callback-1": lazily(() => callbacks(1)),
  "net-batch-128": lazily(() => callbacks(FRAMES)),
  "console-echo": lazily(echo),
  "p9-read": lazily(readFile),
  "p9-stat": lazily(statFile),
};

if (import.meta.main) {
  await answerLines(WORKS);
  Deno.exit(0);
}
