import { assert, assertEquals } from "@std/assert";
import { VireoError } from "@vireo/hal";
import fc from "fast-check";
import { RingDevice, TestDma } from "../testing/mod.ts";
import { RequestQueue } from "./request_queue.ts";
import { SplitVirtqueue } from "./split.ts";
import { SgList } from "./virtqueue.ts";

type Step = readonly [what: number, a: number, b: number];

/** A request of the model. */
interface Sent {
  readonly id: number;
  readonly slots: number;
  /** Bytes that the device may write. */
  readonly writable: number;
  readonly controller: AbortController;
  readonly promise: Promise<void>;
  where: "waiting" | "device" | "used" | "back";
  /** What its promise must have come to; undefined while it is open. */
  expected: string | undefined;
  /** How it settled. */
  outcome: string | undefined;
  /** What onReturned was called with. */
  readonly returned: number[];
}

const SIZE = 4;

class World {
  readonly queue: SplitVirtqueue;
  readonly device: RingDevice;
  readonly requests: RequestQueue;
  readonly sent: Sent[] = [];
  /** Heads that the device took and did not return. */
  readonly #held = new Map<number, Sent>();
  /** Used entries that were not drained. */
  #used: [Sent, number][] = [];
  /** Position in the order in which the device has to see requests. */
  #lastSeen = -1;

  constructor(indirect: boolean, eventIdx: boolean) {
    const dma = new TestDma({ size: 64 * 1024 });
    this.queue = new SplitVirtqueue({
      index: 0,
      name: "requests",
      size: SIZE,
      dma,
      indirect,
      eventIdx,
      notificationData: false,
      notify() {},
    });
    this.device = new RingDevice(dma, this.queue.addresses, { indirect, eventIdx });
    this.requests = new RequestQueue(this.queue);
  }

  step([what, a, b]: Step): void {
    if (what <= 2) this.#submit(1 + a % 3, b % 8 === 0);
    else if (what === 3) this.requests.flush();
    else if (what <= 5) this.#take();
    else if (what === 6 || what === 7) this.#complete(a, b % 200);
    else if (what === 8) this.#drain();
    else this.#abort(a);
    this.#check();
  }

  #submit(elements: number, aborted: boolean): void {
    const id = this.sent.length;
    const chain = new SgList(elements);
    for (let i = 0; i < elements; i++) chain.addWritable(0x1_0000 * (id + 1) + i, 50);
    const controller = new AbortController();
    if (aborted) controller.abort(`aborted ${id}`);
    const returned: number[] = [];
    const promise = this.requests.submit(chain, {
      signal: controller.signal,
      // No assertion in here: the queue keeps what a callback throws from an interrupt path.
      onReturned: (used) => returned.push(used),
    }).then(
      (used) => void (request.outcome = `used ${used}`),
      (reason) => void (request.outcome = reason instanceof VireoError ? reason.code : reason),
    );
    const request: Sent = {
      id,
      slots: this.queue.slotsFor(elements),
      writable: elements * 50,
      controller,
      promise,
      where: aborted ? "back" : "waiting",
      expected: aborted ? `aborted ${id}` : undefined,
      outcome: undefined,
      returned,
    };
    this.sent.push(request);
    this.#issue();
  }

  /** First come, first served: nothing overtakes the first that does not fit. */
  #issue(): void {
    let free = SIZE;
    for (const { where, slots } of this.sent) {
      if (where === "device" || where === "used") free -= slots;
    }
    for (const request of this.sent) {
      if (request.where !== "waiting") continue;
      if (request.slots > free) return;
      request.where = "device";
      free -= request.slots;
    }
  }

  #take(): void {
    for (const chain of this.device.takeAll()) {
      const id = Math.floor(chain.descriptors[0]!.address / 0x1_0000) - 1;
      assert(id > this.#lastSeen, `${id} after ${this.#lastSeen}`);
      this.#lastSeen = id;
      assertEquals(this.sent[id]!.where, "device");
      this.#held.set(chain.head, this.sent[id]!);
    }
  }

  #complete(pick: number, length: number): void {
    const heads = [...this.#held.keys()];
    if (heads.length === 0) return;
    const head = heads[pick % heads.length]!;
    const request = this.#held.get(head)!;
    this.#held.delete(head);
    this.device.complete(head, length);
    this.#used.push([request, length]);
  }

  #drain(): void {
    this.requests.drain();
    for (const [request, length] of this.#used.splice(0)) {
      request.where = "back";
      const used = Math.min(length, request.writable);
      assertEquals(request.returned, [used]);
      request.expected ??= `used ${used}`;
    }
    this.#issue();
  }

  #abort(pick: number): void {
    const request = this.sent[pick % Math.max(1, this.sent.length)];
    if (request === undefined) return;
    const { id, where } = request;
    request.controller.abort(`aborted ${id}`);
    request.expected ??= `aborted ${id}`;
    if (where === "waiting") request.where = "back";
    this.#issue();
  }

  #check(): void {
    const count = (...states: Sent["where"][]) =>
      this.sent.filter(({ where }) => states.includes(where)).length;
    assertEquals(this.requests.waiting, count("waiting"));
    assertEquals(this.requests.inFlight, count("device", "used"));
    for (const { where, returned } of this.sent) {
      // The memory is the device's as long as the device has it, aborted or not.
      assertEquals(returned.length, where === "back" ? 1 : 0);
    }
  }

  async finish(how: number): Promise<void> {
    if (how === 0) {
      while (this.requests.inFlight > 0) {
        this.requests.flush();
        this.#take();
        while (this.#held.size > 0) this.#complete(0, 1);
        this.#drain();
        this.#check();
      }
    } else {
      // The device lies, or is reset.
      const code = how === 1 ? "USED_ID_RANGE" : "DEVICE_NEEDS_RESET";
      this.#drain();
      if (how === 1 && this.queue.inFlight > 0) {
        this.device.complete(SIZE, 0);
        this.requests.drain();
        assertEquals(this.queue.broken?.code, code);
      } else this.requests.failAll(new VireoError(code, "Test"));
      for (const request of this.sent) {
        request.expected ??= code;
        if (request.where === "waiting") request.where = "back";
      }
      this.#check();
      this.requests.detachAll();
      for (const request of this.sent) request.where = "back";
      this.#check();
    }
    await Promise.all(this.sent.map(({ promise }) => promise));
    for (const { id, expected, outcome } of this.sent) assertEquals([id, outcome], [id, expected]);
    assertEquals([this.requests.inFlight, this.requests.waiting], [0, 0]);
    assertEquals(this.queue.freeSlots, SIZE);
    this.queue[Symbol.dispose]();
  }
}

Deno.test("random requests, aborts, answers and resets: each memory comes back once, each promise as it must", async () => {
  const steps = fc.array(fc.tuple(fc.nat(9), fc.nat(999), fc.nat(999)), {
    minLength: 1,
    maxLength: 80,
    size: "max",
  });
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.boolean(),
      steps,
      fc.nat(2),
      async (indirect, eventIdx, all, end) => {
        const world = new World(indirect, eventIdx);
        for (const step of all) world.step(step);
        await world.finish(end);
      },
    ),
    { seed: 42, numRuns: 400 },
  );
});
