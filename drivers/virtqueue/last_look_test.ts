// The last look of a wait, on each kind of ring.
import { assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { TestDma } from "../testing/mod.ts";
import { WaitList } from "../wait/mod.ts";
import { HostRing } from "./host_ring.ts";
import { queueLook } from "./last_look.ts";
import { PackedVirtqueue } from "./packed.ts";
import { SplitVirtqueue } from "./split.ts";
import { SgList, type Virtqueue } from "./virtqueue.ts";

/** A queue whose device a test plays. */
interface Kind {
  readonly name: string;
  readonly queue: Virtqueue;
  /** `data` of each notification. */
  readonly kicks: number[];
  /** Lets the device have a buffer. */
  give(): void;
  /** The device returns the buffer, without an interrupt. */
  answer(): void;
}

const LENGTH = 64;

/** The status that the queues read, and what their machine knows of the device; a test changes them. */
const status: { value: number; why?: VireoError | undefined } = { value: 0 };

function make(name: "split" | "packed" | "reversed", index = 3): Kind {
  const dma = new TestDma({ size: 1 << 16 });
  const view = new DataView(dma.memory.buffer);
  const kicks: number[] = [];
  const options = {
    index,
    name,
    device: "virtio7",
    status: () => status.value,
    diagnose: () => status.why,
    size: 8,
    dma,
    indirect: false,
    eventIdx: false,
    notificationData: name !== "reversed",
    notify: (_: number, data: number) => void kicks.push(data),
  };
  const Ring = { split: SplitVirtqueue, packed: PackedVirtqueue, reversed: HostRing }[name];
  const queue = new Ring(options);
  const at = (part: "desc" | "driver" | "device"): number => queue.addresses[part] - dma.base;
  const give = (): void => {
    queue.add(new SgList(1).addWritable(0x5000, LENGTH), 5);
    queue.kick();
    kicks.length = 0;
  };
  const answers = {
    split() {
      view.setUint32(at("device") + 4, 0, true);
      view.setUint32(at("device") + 8, LENGTH, true);
      view.setUint16(at("device") + 2, 1, true);
    },
    packed() {
      view.setUint16(at("desc") + 12, view.getUint16(at("desc") + 12, true), true);
      view.setUint16(at("desc") + 14, 0x8080, true);
    },
    // Here it is the other side that offers a buffer.
    reversed() {
      view.setUint32(at("desc") + 8, LENGTH, true);
      view.setUint16(at("driver") + 2, 1, true);
    },
  };
  return { name, queue, kicks, give: name === "reversed" ? () => {} : give, answer: answers[name] };
}

/** A row of waiting callers that the queue's answers let go on. */
function waits(queues: readonly Virtqueue[], due: boolean): WaitList<undefined, number> {
  const drain = (queue: Virtqueue): void => {
    for (let token = queue.pop(); token >= 0; token = queue.pop()) list.resolveFirst(token);
  };
  const list: WaitList<undefined, number> = new WaitList(
    "an answer",
    queueLook(() => queues, drain, due),
  );
  return list;
}

const EMPTY = "nothing in the used ring";
const AGAIN = `${EMPTY}, even after another notification`;

async function message(list: WaitList<undefined, number>): Promise<string> {
  const late = () => list.wait(undefined, { deadline: 1 });
  return (await assertRejects(late, VireoError)).message;
}

for (const name of ["split", "packed", "reversed"] as const) {
  Deno.test(`last look: ${name}: takes an answer whose interrupt was lost`, async () => {
    const kind = make(name);
    kind.give();
    const wait = waits([kind.queue], true).wait(undefined, { deadline: 1 });
    kind.answer();
    assertEquals([await wait, kind.kicks], [name === "reversed" ? 0 : 5, []]);
    kind.queue[Symbol.dispose]();
  });

  Deno.test(`last look: ${name}: notifies again, names the place, and says what it saw`, async () => {
    const kind = make(name);
    kind.give();
    assertEquals(
      await message(waits([kind.queue], true)),
      `Timed out after 1 ms waiting for an answer (virtio7, queue 3): saw ${AGAIN}`,
    );
    // Split: the index after the last buffer. Packed: the next place, and the wrap counter above it.
    assertEquals(kind.kicks, [{ split: 1, packed: 1 | 1 << 15, reversed: -1 }[name]]);
    assertEquals(
      await message(waits([kind.queue], false)),
      `Timed out after 1 ms waiting for an answer (virtio7, queue 3): saw ${EMPTY}`,
    );
    kind.queue.break(new VireoError("DEVICE_STATE", "test"));
    kind.kicks.length = 0;
    kind.queue.kickAgain();
    assertEquals(kind.kicks, [], "a broken queue notifies nobody");
    kind.queue[Symbol.dispose]();
  });

  Deno.test(`last look: ${name}: the status says more than the ring`, async () => {
    const kind = make(name);
    kind.give();
    status.value = 0x4f;
    const seen = await message(waits([kind.queue], true));
    status.value = 0;
    const place = "(virtio7, register Status, queue 3)";
    assertEquals(
      [seen, kind.kicks],
      [`Timed out after 1 ms waiting for an answer ${place}: saw 0x4f with NEEDS_RESET`, []],
    );
    kind.queue[Symbol.dispose]();
  });
}

Deno.test("last look: what the machine knows of the device is the cause, whatever was seen", async () => {
  for (
    const [value, due, seen] of [[0x4f, true, "NEEDS_RESET"], [0, false, EMPTY], [
      0,
      true,
      AGAIN,
    ]] as const
  ) {
    const kind = make("split");
    kind.give();
    for (const why of [new VireoError("DEVICE_STATE", "A wrong ring"), undefined]) {
      Object.assign(status, { value, why });
      const late = () => waits([kind.queue], due).wait(undefined, { deadline: 1 });
      const error = await assertRejects(late, VireoError, seen);
      assertEquals(error.cause, why);
    }
    status.value = 0;
    kind.queue[Symbol.dispose]();
  }
});

Deno.test("last look: of many queues all are looked at, and none is named", async () => {
  const kinds = [make("split", 0), make("packed", 1), make("split", 2)];
  for (const kind of kinds) kind.give();
  const queues = kinds.map(({ queue }) => queue);
  assertEquals(
    await message(waits(queues, false)),
    `Timed out after 1 ms waiting for an answer (virtio7): saw ${EMPTY}`,
  );
  const list = waits(queues, false);
  const wait = list.wait(undefined, { deadline: 1 });
  kinds[2]!.answer();
  assertEquals(await wait, 5);
  assertEquals((await message(waits([], true))).includes("("), false, "no queue, no place");
  for (const queue of queues) queue[Symbol.dispose]();
});
