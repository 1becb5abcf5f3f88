import { assertEquals, assertRejects } from "@std/assert";
import { type Blk, blkDriver, Bus } from "@vireo/drivers";
import { DeviceId, Feature, FeatureSet, VireoError } from "@vireo/hal";
import { VhostUserPlatform } from "@vireo/hal/vhost-user";
import { installedQemus, SECOND_QEMU } from "../qemu/installed.ts";
import { storageDaemon, temporaryFolder } from "./daemon.ts";
import { deadline } from "./device_checks.ts";
import { block, COUNT, HoldingRig } from "./holding_rig.ts";
import { Served } from "./served.ts";
import { openDescriptors, wait } from "./wait.ts";

const RINGS: readonly (readonly [string, readonly number[]])[] = [
  ["split", [Feature.RING_PACKED, Feature.IN_ORDER]],
  ["packed", [Feature.IN_ORDER]],
];

/** A disk whose back end may be replaced. */
async function withDisk(
  path: string,
  options: { readonly reconnect: number; readonly withheld?: readonly number[] },
  use: (blk: Blk) => Promise<void>,
): Promise<void> {
  const before = openDescriptors();
  {
    const devices = [{ deviceId: DeviceId.BLOCK, path }];
    await using platform = new VhostUserPlatform({ devices, reconnect: options.reconnect });
    await using bus = new Bus({ filter: FeatureSet.of(...options.withheld ?? []) });
    await bus.registerDriver(blkDriver);
    await bus.addPlatform(platform);
    await use(bus.get(blkDriver)!);
  }
  assertEquals(openDescriptors(), before);
}

for (const [ring, withheld] of RINGS) {
  Deno.test(`vhost-user: our driver goes on when a back end is killed with requests under way, ${ring}`, async () => {
    await using rig = new HoldingRig(ring);
    const { socket } = rig;
    const stack = new AsyncDisposableStack();
    await using _all = stack;
    const first = stack.use(await rig.start());
    await withDisk(socket, { reconnect: deadline, withheld }, async (blk) => {
      assertEquals(blk.device.has(Feature.RING_PACKED), ring === "packed");
      const { done } = await rig.strand(blk, first);
      await Deno.remove(socket);
      // What is asked meanwhile waits for the next back end.
      const late = blk.write(COUNT, block(COUNT, 0), { deadline });
      stack.use(await rig.start());
      await done;
      await late;
      // It does what the first one held, once and in order, and nothing else.
      const odd = Array.from({ length: COUNT / 2 }, (_, i) => 2 * i + 1);
      assertEquals(rig.written(), [...odd, COUNT]);
      for (let sector = 0; sector <= COUNT; sector++) {
        assertEquals(await blk.read(sector, 512, { deadline }), block(sector, 0));
      }
    });
  });
}

Deno.test("vhost-user: a back end that does not come back in time is gone", async () => {
  const served = await Served.start("blk");
  const devices = [{ deviceId: DeviceId.BLOCK, path: served.path }];
  await using platform = new VhostUserPlatform({ devices, reconnect: 100 });
  await using bus = new Bus();
  await bus.registerDriver(blkDriver);
  await bus.addPlatform(platform);
  const blk = bus.get(blkDriver)!;
  await blk.write(0, block(0, 1), { deadline });
  await served[Symbol.asyncDispose]();
  const error = await assertRejects(() => blk.read(0, 512, { deadline }), VireoError);
  assertEquals(error.code, "DEVICE_REMOVED");
});

/** Kills and restarts of QEMU's storage daemon, and MiB of requests between them. */
const KILLS = 3;
const SIZE = 1 << 20;

Deno.test("vhost-user: our driver goes on when QEMU's storage daemon is killed under load", async () => {
  await using folder = temporaryFolder();
  const image = `${folder.path}/disk.img`;
  const socket = `${folder.path}/s.sock`;
  await Deno.writeFile(image, new Uint8Array(SIZE));
  const stack = new AsyncDisposableStack();
  await using _all = stack;
  const program = installedQemus().length > 1 ? `${SECOND_QEMU}/qemu-storage-daemon` : undefined;
  const start = async () => stack.use(await storageDaemon(image, socket, 1, program));
  let daemon = await start();
  const devices = [{ deviceId: DeviceId.BLOCK, path: socket }];
  await using platform = new VhostUserPlatform({ devices, reconnect: deadline });
  await using bus = new Bus();
  await bus.registerDriver(blkDriver);
  await bus.addPlatform(platform);
  const blk = bus.get(blkDriver)!;
  const lanes = 16;
  const per = SIZE / 4096 / lanes;
  let done = 0;
  let ended = false;
  // Each lane writes its own pages, and reads what it wrote the time before.
  const lane = async (lane: number): Promise<void> => {
    const wrote = new Uint8Array(per);
    for (let round = 0; !ended; round++) {
      const at = round % per;
      const sector = (lane * per + at) * 8;
      const page = await blk.read(sector, 4096, { deadline });
      assertEquals(page, new Uint8Array(4096).fill(wrote[at]!));
      wrote[at] = 1 + (round + lane) % 255;
      await blk.write(sector, new Uint8Array(4096).fill(wrote[at]!), { deadline });
      done++;
    }
  };
  const load = Promise.all(Array.from({ length: lanes }, (_, i) => lane(i)));
  load.catch(() => {});
  const more = async (): Promise<void> => {
    const target = done + 100;
    await wait("requests to be done", () => done >= target);
  };
  for (let i = 0; i < KILLS; i++) {
    await more();
    daemon.process.kill("SIGKILL");
    await daemon.process.status;
    await Deno.remove(socket);
    daemon = await start();
  }
  await more();
  ended = true;
  await load;
  assertEquals(blk.device.queues.map(({ broken }) => broken), [undefined]);
});
