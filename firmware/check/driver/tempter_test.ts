// A tempter on a model, a queue and numbers that are made by hand: what each temper changes, and when.
import { assertEquals } from "@std/assert";
import type { Chain, DeviceContext, DeviceModel, DeviceQueue, HostedDevice } from "@vireo/emu";
import type { Random } from "../random.ts";
import type { RingWitness } from "./ring_witness.ts";
import type { Temper } from "./schedules.ts";
import { INJECTED, Tempter } from "./tempter.ts";

/** A chain of bytes to read, and what was written to it. */
function chain(id: number, readableLength = 1, written = 0): Chain & { readonly noise: number[] } {
  const made = {
    ...{ id, readableLength, written, noise: [] as number[] },
    seekWrite: (at: number) => void made.noise.push(at),
    write: (bytes: Uint8Array) => void made.noise.push(...bytes),
  };
  return made as unknown as Chain & { readonly noise: number[] };
}

interface Rig {
  readonly tempter: Tempter;
  readonly model: DeviceModel;
  /** What the model has instead of its queue. */
  readonly queue: DeviceQueue;
  /** What came to the device's own parts, in order. */
  readonly told: string[];
  /** Chains that are available. */
  readonly available: Chain[];
  /** Whether the device runs. */
  active: boolean;
}

/** A tempted model with queue 1, which runs; the random numbers are these in turn, and then 0. */
function rig(
  temper: Temper,
  { numbers = [], type = 4, features = [], reversed = false }: {
    readonly numbers?: number[];
    readonly type?: number;
    readonly features?: readonly number[];
    readonly reversed?: boolean;
  } = {},
): Rig {
  const told: string[] = [];
  const available: Chain[] = [];
  const idOf = (chain: Chain): number => (chain as unknown as { id: number }).id;
  const own: DeviceQueue = {
    ...{ index: 1, size: 8 },
    pop: () => available.shift(),
    hasAvailable: () => available.length > 0,
    push: (chain: Chain, written: number) => told.push(`push ${idOf(chain)} ${written}`),
    pushAll: (chains: readonly Chain[], written: readonly number[]) =>
      told.push(`push all ${chains.map(idOf)} ${written}`),
    signal: () => told.push("signal"),
    setNotify: (on: boolean) => told.push(`notify ${on}`),
  } as unknown as DeviceQueue;
  let queue: DeviceQueue | undefined;
  const model = {
    deviceId: type,
    queues: [{}, { reversed }],
    activate: (context: DeviceContext) => {
      queue = context.queue(1);
      told.push("activate");
    },
    acceptFeatures: () => true,
  } as unknown as DeviceModel;
  const made: { active: boolean } = { active: true };
  const hosted = {
    model,
    get active(): boolean {
      return made.active;
    },
    queue: (index: number) => index === 1 ? own : undefined,
    notify: (index: number) => told.push(`notified ${index}`),
    configChanged: () => told.push("config"),
    raise: (cause: number, index: number) => told.push(`raise ${cause} ${index}`),
    fault: (reason: string) => told.push(`fault ${reason}`),
  } as unknown as HostedDevice;
  const rings = {
    beforePop: () => undefined,
    taken: (index: number, chain: Chain) => told.push(`taken ${index} ${idOf(chain)}`),
    returned: (index: number, chain: Chain) => told.push(`returned ${index} ${idOf(chain)}`),
  } as unknown as RingWitness;
  const asked: number[] = [];
  const random = {
    below: (below: number) => {
      asked.push(below);
      return Math.min(numbers.shift() ?? 0, below - 1);
    },
  } as unknown as Random;
  const tempter = new Tempter(model, { hosted: () => hosted, rings, random, temper });
  const context = {
    features: { has: (bit: number) => features.includes(bit) },
    queue: (index: number) => index === 1 ? own : undefined,
  } as unknown as DeviceContext;
  model.activate(context);
  return Object.assign(made, { tempter, model, queue: queue!, told, available });
}

/** Takes what was told so far. */
const take = ({ told }: Rig): string[] => told.splice(0);

/** Waits until something more was told, a second at most. */
async function until(rig: Rig, done: (told: readonly string[]) => boolean): Promise<string[]> {
  for (let i = 0; i < 1000 && !done(rig.told); i++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return take(rig);
}

Deno.test("tempter: a plain one hands on what the model does, and tells the rings' witness", () => {
  const plain = rig({});
  const { queue, available, model } = plain;
  assertEquals([queue.index, queue.size, queue.hasAvailable(), queue.pop()], [
    1,
    8,
    false,
    undefined,
  ]);
  assertEquals([take(plain), model.acceptFeatures!(undefined as never)], [["activate"], true]);
  available.push(chain(1), chain(2));
  assertEquals(queue.hasAvailable(), true);
  queue.pop();
  queue.push(chain(1, 1, 9));
  queue.push(chain(2), 5);
  queue.pushAll([chain(3), chain(4)], [6, 7]);
  queue.signal();
  queue.setNotify(true);
  queue.setNotify(false);
  assertEquals(take(plain), [
    ...["taken 1 1", "returned 1 1", "push 1 9", "returned 1 2", "push 2 5"],
    ...[
      "returned 1 3",
      "returned 1 4",
      "push all 3,4 6,7",
      "signal",
      "notify true",
      "notify false",
    ],
  ]);
  // Queues of which the driver plays the device are left alone.
  const reversed = rig({ changes: true, spurious: true }, { reversed: true });
  take(reversed);
  reversed.available.push(chain(1));
  reversed.queue.pop();
  assertEquals(take(reversed), []);
  assertEquals(rig({ refuse: true }).model.acceptFeatures!(undefined as never), false);
});

Deno.test("tempter: the configuration changes at each step, 24 times until the driver begins again", () => {
  const changing = rig({ changes: true });
  take(changing);
  changing.queue.pop();
  changing.queue.push(chain(1), 0);
  assertEquals(take(changing), ["config", "config", "returned 1 1", "push 1 0"]);
  for (let i = 0; i < 30; i++) changing.tempter.step();
  assertEquals(take(changing).length, 22);
  changing.tempter.restart();
  changing.tempter.step();
  assertEquals(take(changing), ["config"]);
});

Deno.test("tempter: buffers come late, some at a time, in their order or another", async () => {
  const late = async (
    temper: Temper,
    chains: readonly Chain[],
    numbers: number[],
    features: number[] = [],
  ): Promise<string[]> => {
    const made = rig(temper, { numbers, features });
    take(made);
    for (const one of chains) made.queue.push(one, 0);
    made.queue.signal();
    assertEquals(take(made), []);
    const pushes = (told: readonly string[]): number =>
      told.filter((line) => line.startsWith("push")).length;
    const told = await until(
      made,
      (told) => pushes(told) === chains.length && told.at(-1) === "signal",
    );
    return told.filter((line) => !line.startsWith("returned"));
  };
  const three = (): Chain[] => [chain(1), chain(2), chain(3)];
  // The time of the first, and then two of the three at once.
  assertEquals(await late({ late: true }, three(), [1, 1, 0, 0]), [
    ...["push 1 0", "push 2 0", "signal", "push 3 0", "signal"],
  ]);
  assertEquals(await late({ late: true, reorder: true }, three(), [0, 2, 2, 1, 0]), [
    ...["push 3 0", "push 2 0", "push 1 0", "signal"],
  ]);
  // Not with IN_ORDER, nor where a buffer has data of the device.
  for (
    const [chains, features] of [[three(), [35]], [[chain(1), chain(2, 0), chain(3)], []]] as const
  ) {
    assertEquals(
      await late({ late: true, reorder: true }, chains, [0, 2, 2, 1, 0], [...features]),
      [
        ...["push 1 0", "push 2 0", "push 3 0", "signal"],
      ],
    );
  }
  // Chains that are pushed at once stay together, and nothing comes once it is over.
  const ended = rig({ late: true });
  take(ended);
  ended.queue.pushAll([chain(1), chain(2)], [3, 4]);
  assertEquals((await until(ended, (told) => told.includes("signal"))).slice(2), [
    "push all 1,2 3,4",
    "signal",
  ]);
  ended.queue.push(chain(3), 0);
  ended.tempter.end();
  await new Promise((resolve) => setTimeout(resolve, 8));
  assertEquals(take(ended), []);
});

Deno.test("tempter: entropy ends early, and noise is behind it", () => {
  const partial = (written: number, numbers: number[], type = 4): unknown[] => {
    const made = rig({ partial: true }, { numbers, type });
    const one = chain(1);
    take(made);
    made.queue.push(one, written);
    return [take(made).at(-1), one.noise];
  };
  assertEquals(partial(4, [0]), ["push 1 1", [1, 0xa5, 0xa5, 0xa5]]);
  assertEquals(partial(4, [9]), ["push 1 3", [3, 0xa5]]);
  assertEquals(partial(2, [9]), ["push 1 1", [1, 0xa5]]);
  assertEquals(partial(1, [9]), ["push 1 1", []]);
  assertEquals(partial(4, [0], 2), ["push 1 4", []]);
});

Deno.test("tempter: interrupts with nothing to tell, and a reset that is needed after so many buffers", async () => {
  const spurious = rig({ spurious: true });
  take(spurious);
  spurious.available.push(chain(1));
  spurious.queue.pop();
  spurious.queue.pop();
  assertEquals(take(spurious), ["taken 1 1", "raise 1 1"]);
  for (const [needsReset, first] of [[0, 1], [2, 0], [1, 9]] as const) {
    const made = rig({ needsReset }, { numbers: [first] });
    take(made);
    // A random one of three, and so many more.
    const count = needsReset + Math.min(first, 2) + 1;
    for (let i = 1; i <= count; i++) {
      made.available.push(chain(i));
      made.queue.pop();
      await Promise.resolve();
      const fault = i === count ? [`fault ${INJECTED}`] : [];
      assertEquals([needsReset, i, take(made)], [needsReset, i, [`taken 1 ${i}`, ...fault]]);
    }
    made.available.push(chain(9));
    made.queue.pop();
    await Promise.resolve();
    made.tempter.end();
  }
  const ended = rig({ needsReset: 0 });
  ended.available.push(chain(1));
  ended.queue.pop();
  ended.tempter.end();
  await Promise.resolve();
  assertEquals(take(ended), ["activate", "taken 1 1"]);
});

Deno.test("tempter: a device that polls wants no notifications, and looks by itself while it runs", async () => {
  const polling = rig({ poll: true });
  // Before the driver has a buffer to notify of.
  assertEquals(take(polling), ["activate", "notify false"]);
  polling.queue.setNotify(true);
  assertEquals(take(polling), ["notify false"]);
  polling.available.push(chain(1));
  assertEquals((await until(polling, (told) => told.includes("notified 1"))).slice(-2), [
    ...["notify false", "notified 1"],
  ]);
  polling.active = false;
  await new Promise((resolve) => setTimeout(resolve, 5));
  take(polling);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(take(polling), []);
  const ended = rig({ poll: true });
  ended.tempter.end();
  take(ended);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(take(ended), []);
});
