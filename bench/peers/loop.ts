/**
 * `loop.c` in JavaScript, and the least that a promise takes: what of a ratio is the language's. Answers lines
 * like `ours.ts`.
 *
 * The rings have the loads, stores, checks and fences of `loop.c`, on typed arrays of one buffer, in three
 * functions, without any object. The promises are settled by one microtask, as an emulated device's answer
 * is, with nothing between.
 *
 * @module
 */
import { answerLines, type Work } from "./lines.ts";

const SIZE = 256;
const MASK = SIZE - 1;
const BUFFER = 64;
const MEMORY = 1 << 20;
const NEXT_OR_INDIRECT = 5;
const WRITE = 2;
const AVAIL = 1 << 7;
const USED = 1 << 15;
const AVAIL_USED = AVAIL | USED;

/** Both halves of a ring in three functions. */
interface Loop {
  give(batch: number): void;
  serve(batch: number): void;
  take(batch: number): void;
}

function fail(what: string): never {
  throw new Error(`Cannot go on: ${what}`);
}

function check(address: number, length: number, flags: number): void {
  if (address >= MEMORY || length > MEMORY - address || (flags & WRITE) === 0) {
    fail("a descriptor is wrong");
  }
  if ((flags & NEXT_OR_INDIRECT) !== 0) fail("a chain is longer than one element");
}

/** The driver's records: of each buffer the next free one, its token, and the bytes that the device may write. */
function shadows(): Int32Array {
  return Int32Array.from(
    { length: 4 * SIZE },
    (_, i) => i % 4 === 0 ? (i / 4 + 1) & MASK : i % 4 === 1 ? -1 : 0,
  );
}

function splitLoop(): Loop {
  const descriptors = new Int32Array(4 * SIZE);
  const avail = new Uint16Array(2 + SIZE);
  const used = new Int32Array(1 + 2 * SIZE);
  const used16 = new Uint16Array(used.buffer);
  const shadow = shadows();
  let free = 0;
  let inFlight = 0;
  let put = 0;
  let taken = 0;
  let returned = 0;
  let sink = 0;
  return {
    give(batch) {
      for (let i = 0; i < batch; i++) {
        const head = free;
        if (inFlight === SIZE) fail("the ring is full");
        const at = 4 * head;
        descriptors[at] = i * BUFFER;
        descriptors[at + 1] = 0;
        descriptors[at + 2] = BUFFER;
        descriptors[at + 3] = WRITE;
        free = shadow[at]!;
        shadow[at + 1] = i;
        shadow[at + 2] = BUFFER;
        avail[2 + (put & MASK)] = head;
        put = (put + 1) & 0xffff;
        inFlight++;
      }
      Atomics.store(avail, 1, put);
      if ((used16[0]! & 1) === 0) sink++;
    },
    serve() {
      const end = avail[1]!;
      while (taken !== end) {
        const head = avail[2 + (taken & MASK)]!;
        if (head >= SIZE) fail("an entry is wrong");
        const at = 4 * head;
        if (descriptors[at + 1] !== 0) fail("an address is wrong");
        const length = descriptors[at + 2]!;
        check(descriptors[at]!, length, descriptors[at + 3]!);
        const entry = 1 + 2 * (taken & MASK);
        used[entry] = head;
        used[entry + 1] = length;
        taken = (taken + 1) & 0xffff;
      }
      Atomics.store(used16, 1, taken);
      if ((avail[0]! & 1) === 0) sink++;
    },
    take() {
      const end = used16[1]!;
      while (returned !== end) {
        const entry = 1 + 2 * (returned & MASK);
        const id = used[entry]!;
        const length = used[entry + 1]!;
        const at = 4 * id;
        if (id >>> 0 >= SIZE || shadow[at + 1]! < 0) fail("a used entry is wrong");
        const writable = shadow[at + 2]!;
        sink = (sink + (length < writable ? length : writable)) | 0;
        shadow[at + 1] = -1;
        shadow[at] = free;
        free = id;
        inFlight--;
        returned = (returned + 1) & 0xffff;
      }
    },
  };
}

function packedLoop(): Loop {
  const ring = new Int32Array(4 * SIZE);
  const events = new Uint16Array(2);
  events[0] = 1;
  const shadow = shadows();
  let free = 0;
  let inFlight = 0;
  let sink = 0;
  let put = 0;
  let putFlags = AVAIL;
  let taken = 0;
  let takenFlags = AVAIL;
  let pushed = 0;
  let pushedFlags = AVAIL_USED;
  let back = 0;
  let backFlags = AVAIL_USED;
  return {
    give(batch) {
      const first = 4 * put + 3;
      let firstWord = 0;
      for (let i = 0; i < batch; i++) {
        const id = free;
        if (inFlight === SIZE) fail("the ring is full");
        const at = 4 * put;
        const word = id | (WRITE | putFlags) << 16;
        ring[at] = i * BUFFER;
        ring[at + 1] = 0;
        ring[at + 2] = BUFFER;
        if (i === 0) firstWord = word;
        else ring[at + 3] = word;
        free = shadow[4 * id]!;
        shadow[4 * id + 1] = i;
        shadow[4 * id + 2] = BUFFER;
        inFlight++;
        if (++put === SIZE) {
          put = 0;
          putFlags ^= AVAIL_USED;
        }
      }
      Atomics.store(ring, first, firstWord);
      if (events[1] === 0) sink++;
    },
    serve(batch) {
      const first = 4 * pushed + 3;
      let firstWord = 0;
      for (let i = 0; i < batch; i++) {
        const at = 4 * taken;
        const word = ring[at + 3]!;
        const flags = word >>> 16;
        if ((flags & AVAIL_USED) !== takenFlags) fail("nothing is available");
        if (ring[at + 1] !== 0) fail("an address is wrong");
        const length = ring[at + 2]!;
        check(ring[at]!, length, flags);
        const id = word & 0xffff;
        if (id >= SIZE) fail("an id is wrong");
        if (++taken === SIZE) {
          taken = 0;
          takenFlags ^= AVAIL_USED;
        }
        const to = 4 * pushed;
        const answer = id | (WRITE | pushedFlags) << 16;
        ring[to + 2] = length;
        if (i === 0) firstWord = answer;
        else ring[to + 3] = answer;
        if (++pushed === SIZE) {
          pushed = 0;
          pushedFlags ^= AVAIL_USED;
        }
      }
      Atomics.store(ring, first, firstWord);
      if (events[0] === 0) sink++;
    },
    take(batch) {
      for (let i = 0; i < batch; i++) {
        const at = 4 * back;
        const word = ring[at + 3]!;
        if ((word >>> 16 & AVAIL_USED) !== backFlags) fail("nothing came back");
        const id = word & 0xffff;
        const length = ring[at + 2]!;
        if (id >= SIZE || shadow[4 * id + 1]! < 0) fail("a used descriptor is wrong");
        const writable = shadow[4 * id + 2]!;
        sink = (sink + (length < writable ? length : writable)) | 0;
        shadow[4 * id + 1] = -1;
        shadow[4 * id] = free;
        free = id;
        inFlight--;
        if (++back === SIZE) {
          back = 0;
          backFlags ^= AVAIL_USED;
        }
      }
    },
  };
}

function ring({ give, serve, take }: Loop, batch: number): Work {
  // As in ours: calls that V8 does not inline, so that each half is optimized by itself.
  const places = [give, serve, take];
  return (count) => {
    for (let done = 0; done < count; done += batch) {
      for (let i = 0; i < places.length; i++) places[i]!(batch);
    }
  };
}

const TURN = Promise.resolve();

/** A promise for each request, which a microtask settles after a device's memory was filled and copied. */
function filled(length: number): Work {
  const device = new Uint8Array(length);
  const into = new Uint8Array(length);
  let settle!: (bytes: Uint8Array) => void;
  const answer = (): void => {
    device.fill(0xa5);
    into.set(device);
    device.fill(0);
    settle(into);
  };
  const read = (): Promise<Uint8Array> => {
    void TURN.then(answer);
    return new Promise((resolve) => settle = resolve);
  };
  return async (count) => {
    for (let i = 0; i < count; i++) await read();
  };
}

/** The same with an array that its receiver keeps, and a promise of the sender's that is settled already. */
function received(length: number): Work {
  const frame = new Uint8Array(length);
  const memory = new Uint8Array(4096);
  let settle!: (bytes: Uint8Array) => void;
  const answer = (): void => {
    memory.set(frame);
    settle(memory.slice(0, length));
  };
  return async (count) => {
    for (let i = 0; i < count; i++) {
      const receiving = new Promise<Uint8Array>((resolve) => settle = resolve);
      void TURN.then(answer);
      await TURN;
      if ((await receiving).length !== length) fail("a frame is cut short");
    }
  };
}

/** 4 KiB at random places of 256 MiB into a device's buffer, and from there into the caller's. */
function disk(): Work {
  const memory = new Uint8Array(256 << 20).fill(0x5a);
  const buffer = new Uint8Array(4096);
  const into = new Uint8Array(4096);
  let seed = 1;
  let settle!: (bytes: Uint8Array) => void;
  const answer = (): void => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    const at = ((seed >>> 0) % (memory.length / 4096)) * 4096;
    buffer.set(memory.subarray(at, at + 4096));
    into.set(buffer);
    settle(into);
  };
  return async (count) => {
    for (let i = 0; i < count; i++) {
      const reading = new Promise((resolve) => settle = resolve);
      void TURN.then(answer);
      await reading;
    }
  };
}

const MAKE: Readonly<Record<string, () => Work>> = {
  "split-1": () => ring(splitLoop(), 1),
  "split-64": () => ring(splitLoop(), 64),
  "packed-1": () => ring(packedLoop(), 1),
  "packed-64": () => ring(packedLoop(), 64),
  "rng-64": () => filled(64),
  "rng-4096": () => filled(4096),
  "net-1": () => received(64),
  "blk-1": disk,
};

/** Made when it is first asked for. */
const works = Object.fromEntries(
  Object.entries(MAKE).map(([name, make]): [string, Work] => {
    let work: Work | undefined;
    return [name, (count) => (work ??= make())(count)];
  }),
);

await answerLines(works);
Deno.exit(0);
