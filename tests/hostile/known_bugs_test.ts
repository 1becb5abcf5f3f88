// Bugs that other drivers and device models had: each by its name, against ours.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  BlkDevice,
  CryptoDevice,
  type DeviceQueue,
  GpuDevice,
  Hub,
  MemoryDisk,
  MemoryTree,
  NetDevice,
  P9Device,
  type RingOptions,
  RngDevice,
  ScsiDevice,
} from "@vireo/emu";
import { CryptoCipher, Feature, FeatureSet, VireoError } from "@vireo/hal";
import { blkDriver } from "../../drivers/blk/mod.ts";
import { cryptoDriver } from "../../drivers/crypto/mod.ts";
import type { VirtioDevice } from "../../drivers/device.ts";
import type { DriverInstance, VirtioDriver } from "../../drivers/driver.ts";
import { gpuDriver } from "../../drivers/gpu/mod.ts";
import { createNetDriver } from "../../drivers/net/mod.ts";
import { p9Driver } from "../../drivers/p9/mod.ts";
import { scsiDriver } from "../../drivers/scsi/mod.ts";
import { SgList, type Virtqueue } from "../../drivers/virtqueue/virtqueue.ts";
import type { WaitOptions } from "../../drivers/wait/mod.ts";
import { wrapQueues } from "../../firmware/check/driver/wrap_model.ts";
import { lying } from "./liar.ts";
import { Rig as ModelRig } from "./models/rig.ts";
import { SUBJECTS as MODELS } from "./models/subjects.ts";
import { serveOnce } from "./models/program.ts";
import { Rig } from "./rig.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
const INTERRUPT_ACK = 0x64;
const RINGS: readonly [name: string, ring: RingOptions, without: readonly number[]][] = [
  ["split", {}, []],
  ["split, without EVENT_IDX", {}, [Feature.EVENT_IDX]],
  ["packed", { packed: true }, []],
  ["packed, without EVENT_IDX", { packed: true }, [Feature.EVENT_IDX]],
];

for (const [name, ring, without] of RINGS) {
  Deno.test(`known bug: an answer between the read of the cause and the acknowledgement is not lost (${name})`, async () => {
    const model = new BlkDevice({ disk: new MemoryDisk(1 << 20) });
    // Answers wait here until the driver reads the cause of an earlier interrupt.
    const waiting: (() => void)[] = [];
    let holds = false;
    wrapQueues(model, (queue: DeviceQueue) => ({
      index: queue.index,
      size: queue.size,
      pop: () => queue.pop(),
      hasAvailable: () => queue.hasAvailable(),
      push: (chain, written = chain.written) => {
        if (!holds) return queue.push(chain, written);
        waiting.push(() => {
          queue.push(chain, written);
          queue.signal();
        });
      },
      pushAll(chains, written) {
        chains.forEach((chain, i) => this.push(chain, written[i]));
      },
      signal: () => queue.signal(),
      setNotify: (enabled) => queue.setNotify(enabled),
    }));
    let raced = 0;
    const lie = {
      name: "answers before the acknowledgement",
      writing: (offset: number) => {
        if (offset !== INTERRUPT_ACK) return;
        for (const answer of waiting.splice(0)) {
          answer();
          raced++;
        }
      },
    };
    await using rig = await Rig.open(blkDriver, model, { ring, without, lie });
    for (let round = 0; round < 50; round++) {
      // The first answer interrupts; the others come after the cause was read, before it is acknowledged.
      holds = true;
      let ended = 0;
      const reads = [0, 1, 2].map(async (i) => {
        const { length } = await rig.instance.read(i, 512, SOON);
        ended++;
        return length;
      });
      while (waiting.length < 3) await Promise.resolve();
      holds = false;
      waiting.shift()!();
      // No deadline comes to help: the interrupt itself must bring all three.
      for (let i = 0; i < 20 && ended < 3; i++) await turn();
      assertEquals(ended, 3, `round ${round}`);
      assertEquals(await Promise.all(reads), [512, 512, 512]);
    }
    assertEquals(raced, 100);
  });
}

/** A driver of the entropy device whose requests are lists of any number of buffers. */
class Lists implements DriverInstance {
  readonly queue: Virtqueue;
  readonly #device: VirtioDevice;
  done = 0;

  constructor(device: VirtioDevice) {
    this.#device = device;
    const callback = (queue: Virtqueue): void => {
      while (queue.pop() >= 0) this.done++;
      queue.enableCallbacks();
    };
    [this.queue] = device.findQueues([{ name: "input", indirect: false, callback }]) as [Virtqueue];
  }

  async remove(): Promise<void> {
    await this.#device.reset();
    this.#device.deleteQueues();
  }
}

const listsDriver: VirtioDriver<Lists> = {
  name: "lists",
  ids: [{ device: 4, vendor: 0xffffffff }],
  features: FeatureSet.NONE,
  probe: (device) => new Lists(device),
};

for (const size of [2, 3, 8, 255]) {
  Deno.test(`known bug: a list that takes a whole packed ring of ${size} is served at each place of the ring`, async () => {
    let fills = 0;
    const model = new RngDevice(
      {
        queueSize: size,
        random: (into) => void into.fill(1 + fills++ % 255),
      } as ConstructorParameters<typeof RngDevice>[0],
    );
    await using rig = await Rig.open(listsDriver, model, { ring: { packed: true } });
    const { queue } = rig.instance;
    assertEquals(queue.size, size);
    using region = rig.device.dma.alloc(16 * size);
    let sent = 0;
    // A list of one moves the place on, so that the whole ring is taken from every place, over the wrap.
    for (const count of Array.from({ length: 2 * size + 4 }, (_, i) => i % 2 === 0 ? size : 1)) {
      const list = new SgList(count);
      region.bytes.fill(0);
      for (let i = 0; i < count; i++) list.addWritable(region.share(16 * i, 16, "from-device"), 16);
      queue.add(list, sent);
      queue.kick();
      sent++;
      for (let i = 0; i < 100 && rig.instance.done < sent; i++) await turn();
      assertEquals([rig.instance.done, queue.usedLength, queue.inFlight], [sent, 16 * count, 0]);
      for (let i = 0; i < count; i++) region.unshare(16 * i, 16, "from-device");
      assert(region.bytes.subarray(0, 16 * count).every((byte) => byte !== 0), `list ${sent}`);
    }
  });
}

for (const buffers of [0, 1000]) {
  Deno.test(`known bug: a frame with num_buffers ${buffers} is dropped, and the next one arrives`, async () => {
    const hub = new Hub();
    let says: number | undefined = buffers;
    const model = lying(new NetDevice({ backend: hub.port() }), {
      name: "num_buffers",
      push: (chain, written) => {
        if (says !== undefined && written >= 12) {
          chain.seekWrite(10);
          chain.write(Uint8Array.of(says & 0xff, says >> 8));
        }
        return undefined;
      },
    }, 1);
    await using rig = await Rig.open(createNetDriver(), model, { lies: true });
    const peer = hub.port();
    const frame = new Uint8Array(60);
    frame.set(rig.instance.mac);
    const send = (mark: number): void => {
      frame[59] = mark;
      peer.send(frame, 0, 60, { gsoType: 0, needsCsum: false } as never);
      peer.flush();
    };
    send(1);
    await turn();
    assertEquals(rig.instance.stats.rxNumBuffers, 1);
    says = undefined;
    const got = rig.instance.receive(SOON);
    send(2);
    assertEquals((await got).bytes.at(-1), 2);
  });
}

Deno.test("known bug: a disk with blk_size 0 fails the probe by a typed error", async () => {
  const model = new BlkDevice({ disk: new MemoryDisk(1 << 20) });
  const read = model.readConfig.bind(model);
  model.readConfig = (offset, width) => offset === 20 ? 0 : read(offset, width);
  await using rig = await Rig.open(blkDriver, model);
  const { code, message } = rig.device.error as VireoError;
  assertEquals(code, "CONFIG_INVALID", message);
});

/** Devices whose answers have headers, and a request of their drivers. */
const ANSWERS = [
  {
    name: "scsi",
    model: () => new ScsiDevice({ units: [{ target: 0, disk: new MemoryDisk(1 << 20) }] }),
    driver: scsiDriver,
    header: 12,
    ask: (it: { unit(target: number): { read: Ask } }) => it.unit(0).read(0, 1, SOON),
  },
  {
    name: "gpu",
    model: () => new GpuDevice(),
    driver: gpuDriver,
    header: 24,
    ask: (it: { create: Ask }) => it.create(8, 8, SOON),
  },
  {
    name: "crypto",
    model: () => new CryptoDevice(),
    driver: cryptoDriver,
    header: 16,
    ask: (it: { cipher(algo: number, key: Uint8Array, limits: WaitOptions): Promise<unknown> }) =>
      it.cipher(CryptoCipher.AES_CBC, new Uint8Array(16), SOON),
  },
  {
    name: "9p",
    model: () => new P9Device({ tree: new MemoryTree() }),
    driver: p9Driver,
    header: 7,
    ask: (it: { attach(limits: WaitOptions): Promise<unknown> }) => it.attach(SOON),
  },
];
type Ask = (a: number, b: number, limits: WaitOptions) => Promise<unknown>;

for (const { name, model, driver, header, ask } of ANSWERS) {
  Deno.test(`known bug: ${name}: an answer shorter than its header is no answer`, async () => {
    for (const length of [0, 1, header - 1]) {
      const lie = { name: "short", push: () => length };
      await using rig = await Rig.open(driver as VirtioDriver, lying(model(), lie, 1), {
        lies: true,
      });
      const error = await assertRejects(() => ask(rig.instance as never), VireoError);
      assertEquals(error.code, "BAD_LENGTH", `${length} bytes: ${error.message}`);
    }
  });
}

for (const subject of MODELS) {
  Deno.test(`known bug: ${subject.name}: notifications of empty rings do nothing, however many`, async () => {
    await using it = new ModelRig(subject.make());
    const before = it.driver.queues.map(({ usedIndex }) => usedIndex);
    const { steps } = it.device.work.counters;
    for (let i = 0; i < 2000; i++) {
      it.driver.slot.write32(0x50, i % it.driver.queues.length);
    }
    await it.turn();
    assertEquals([it.log, it.driver.needsReset], [[], false]);
    assertEquals(it.driver.queues.map(({ usedIndex }) => usedIndex), before);
    assert(it.device.work.counters.steps <= steps + 2000);
    it.check();
    await serveOnce(it, subject);
  });
}
