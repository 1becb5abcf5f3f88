import { assertEquals } from "@std/assert";
import { MessageController } from "./messages.ts";

const ready = (): boolean => false;

/** Lets so many microtasks run behind each other. */
async function turn(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

Deno.test("pci messages: as many are given out as there are, all or none, and those that come back again", () => {
  const controller = new MessageController(3);
  const data = (count: number): number[] | undefined =>
    controller.reserve(count)?.map(({ data }) => data);
  assertEquals([data(4), data(0)], [undefined, []]);
  const taken = controller.reserve(2)!;
  assertEquals(taken.map(({ address, data }) => [address, data]), [
    [0xfee0_0000, 0x4000],
    [0xfee0_0000, 0x4001],
  ]);
  assertEquals([data(2), data(1), data(1)], [undefined, [0x4002], undefined]);
  // One that was given back twice is there once.
  for (let i = 0; i < 2; i++) controller.release([taken[1]!]);
  assertEquals([data(2), data(1), data(1)], [undefined, [0x4001], undefined]);
});

Deno.test("pci messages: a write is one if its address and data are those of a message that is in use", () => {
  const controller = new MessageController(2);
  const [message] = controller.reserve(1)!;
  const { address, data } = message!;
  const delivered = (): boolean[] => [
    controller.deliver(address, data),
    controller.deliver(address + 4, data),
    controller.deliver(address, data + 1),
  ];
  assertEquals(delivered(), [true, false, false]);
  controller.release([message!]);
  assertEquals(delivered(), [false, false, false]);
});

Deno.test("pci messages: a message ends the waits that there are, or the next one, and is then over", async () => {
  const controller = new MessageController(1);
  const { address, data, interrupt } = controller.reserve(1)![0]!;
  const stop = new AbortController();
  let ended = 0;
  const wait = (): void =>
    void interrupt.wait({ signal: stop.signal, ready }).then(() => ended++, () => {});
  const after = async (): Promise<number> => {
    await turn(4);
    return ended;
  };
  wait();
  wait();
  assertEquals(await after(), 0, "none came yet");
  controller.deliver(address, data);
  assertEquals(await after(), 2);
  // It was taken: the next wait needs another one.
  wait();
  assertEquals(await after(), 2);
  controller.deliver(address, data);
  assertEquals(await after(), 3);
  // Two that nobody waited for are one edge.
  for (let i = 0; i < 2; i++) controller.deliver(address, data);
  wait();
  assertEquals(await after(), 4);
  wait();
  assertEquals(await after(), 4);
  assertEquals(interrupt.polled, false);
  stop.abort();
  assertEquals(await after(), 4);
});

Deno.test("pci messages: one that comes while another is served is served too, or ends the next wait", async () => {
  const controller = new MessageController(1);
  const { address, data, interrupt } = controller.reserve(1)![0]!;
  for (const progress of [true, false]) {
    const stop = new AbortController();
    let served = 0;
    const serve = (): boolean => {
      if (served++ === 0) controller.deliver(address, data);
      return progress;
    };
    const wait = (): Promise<void> =>
      interrupt.wait({ signal: stop.signal, repeated: true, ready, serve });
    const first = wait();
    controller.deliver(address, data);
    if (progress) await turn(4);
    else await first;
    // A wait that has ended serves no more: whoever waited does, when the next wait ends at once.
    assertEquals(served, progress ? 2 : 1);
    if (!progress) await wait();
    let ended = false;
    const last = progress ? first : wait();
    last.then(() => ended = true, () => {});
    await turn(4);
    assertEquals([ended, served], [false, progress ? 2 : 1]);
    stop.abort();
    await last.catch(() => {});
  }
});
