// What blk's own queue gains over RequestQueue: the same 4 KiB reads at depth 32, with as little around
// RequestQueue as a disk needs. `deno run -A tests/blk/queue_bench.ts own` or `shared`, each in a process of its own;
// `own limited` gives every read a signal and a deadline.
import { ANY_ID, DeviceId, type DmaRegion, FeatureSet } from "@vireo/hal";
import { BlkDevice, EmulatedMachine, MemoryDisk } from "@vireo/emu";
import { Bus } from "../../drivers/bus/bus.ts";
import type { VirtioDevice } from "../../drivers/device.ts";
import type { VirtioDriver } from "../../drivers/driver.ts";
import { QueueDriver } from "../../drivers/queue_driver.ts";
import type { RequestOptions, RequestQueue } from "../../drivers/virtqueue/request_queue.ts";
import { SgList } from "../../drivers/virtqueue/virtqueue.ts";
import type { WaitOptions } from "../../drivers/wait/options.ts";
import { blkDriver } from "../../drivers/blk/driver.ts";

const DEPTH = 32;
const BYTES = 4096;
const DISK = 256 * 1024 * 1024;
const REQUESTS = 32768;
const HEADER = 16;
const SLOT = HEADER + BYTES + 16;

interface Slot {
  readonly at: number;
  readonly header: DataView;
  readonly data: Uint8Array;
  readonly chain: SgList;
  readonly options: RequestOptions;
}

/** Reads through a RequestQueue, in slots that are made once, as blk's are. */
class SharedQueueDisk extends QueueDriver {
  #requests!: RequestQueue;
  readonly #region: DmaRegion;
  readonly #free: Slot[];

  constructor(device: VirtioDevice) {
    super(device, "Disk");
    this.setUp();
    const region = this.#region = device.dma.alloc(SLOT * DEPTH);
    this.#free = Array.from({ length: DEPTH }, (_, i) => {
      const at = i * SLOT;
      const data = at + HEADER;
      return {
        at,
        header: new DataView(region.bytes.buffer, region.bytes.byteOffset + at, HEADER),
        data: region.bytes.subarray(data, data + BYTES),
        chain: new SgList(3).addReadable(region.address + at, HEADER)
          .addWritable(region.address + data, BYTES)
          .addWritable(region.address + data + BYTES, 1),
        options: {
          onReturned: () => {
            region.unshare(at, HEADER, "to-device");
            region.unshare(data, BYTES + 1, "from-device");
          },
        },
      };
    });
  }

  protected override setUp(): void {
    [this.#requests] = this.openQueues({ name: "requests" });
  }

  async read(sector: number, bytes: Uint8Array, limits?: WaitOptions): Promise<void> {
    const slot = this.#free.pop()!;
    const { at, header, chain } = slot;
    const options = limits === undefined ? slot.options : { ...slot.options, ...limits };
    header.setUint32(8, sector, true);
    this.#region.share(at, HEADER, "to-device");
    this.#region.share(at + HEADER, BYTES + 1, "from-device");
    const used = await this.#requests.submit(chain, options);
    if (used !== BYTES + 1 || this.#region.bytes[at + HEADER + BYTES] !== 0) {
      throw new Error(`Cannot read sector ${sector}`);
    }
    bytes.set(slot.data);
    this.#free.push(slot);
  }
}

interface Disk {
  read(sector: number, bytes: Uint8Array, options?: WaitOptions): Promise<unknown>;
}

const sharedDriver: VirtioDriver<SharedQueueDisk> = {
  name: "shared_queue_disk",
  ids: [{ device: DeviceId.BLOCK, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe: (device) => new SharedQueueDisk(device),
};

async function setUp(own: boolean): Promise<Disk> {
  const machine = EmulatedMachine.create({
    devices: [new BlkDevice({ disk: new MemoryDisk(DISK) })],
  });
  const bus = new Bus();
  await (own ? bus.registerDriver(blkDriver) : bus.registerDriver(sharedDriver));
  await bus.addPlatform(machine);
  return own ? bus.get(blkDriver)! : bus.get(sharedDriver)!;
}

async function run(disk: Disk, limits: WaitOptions | undefined): Promise<void> {
  let left = REQUESTS;
  let sector = 0;
  const loop = async (): Promise<void> => {
    const bytes = new Uint8Array(BYTES);
    while (left-- > 0) {
      sector = (sector + 8 * 40503) % (DISK / 512);
      await disk.read(sector, bytes, limits);
    }
  };
  await Promise.all(Array.from({ length: DEPTH }, loop));
}

if (import.meta.main) {
  const name = Deno.args[0] === "own" ? "own" : "shared";
  const disk = await setUp(name === "own");
  const limits = Deno.args[1] === "limited"
    ? { signal: new AbortController().signal, deadline: 60_000 }
    : undefined;
  const rates: number[] = [];
  let growth = 0;
  for (let i = 0; i < 15; i++) {
    const heap = Deno.memoryUsage().heapUsed;
    const start = performance.now();
    await run(disk, limits);
    const rate = REQUESTS / (performance.now() - start) * 1000;
    if (i < 4) continue;
    rates.push(rate);
    growth = Math.max(growth, (Deno.memoryUsage().heapUsed - heap) / REQUESTS);
  }
  rates.sort((a, b) => a - b);
  // deno-lint-ignore no-console
  console.log(
    `${name}: ${Math.round(rates[5]!)} requests/s (median of 11), ${
      growth.toFixed(0)
    } bytes of heap each`,
  );
  Deno.exit(0);
}
