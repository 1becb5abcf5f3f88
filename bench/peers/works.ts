/**
 * The works that are measured, the peers of each, and what either side of a row does.
 *
 * @module
 */

/** The programs beside ours. */
export type PeerName =
  | "loop.c"
  | "loop.ts"
  | "qtest_loop.c"
  | "one device"
  | "deno run"
  | "v86"
  | "virtio-queue"
  | "virtio-drivers"
  | "ringtest ring"
  | "ringtest virtio_ring_0_9"
  | "ringtest virtio_ring_inorder";

/** One row for each peer. */
export interface WorkPlan {
  /** The name on the wire. */
  readonly name: string;
  /** The name in tables. */
  readonly title: string;
  /** Whom ours is compared with. */
  readonly peers: readonly PeerName[];
  /** The ratio that is wanted, our time over the peer's; in the order of the peers. */
  readonly goals: readonly number[];
  /** Meaning of one operation, and where the sides do different work. */
  readonly meaning: string;
  /** Why a goal is missed, as it was measured; printed while it is. */
  readonly reason?: string;
  /** Words of a command line: the work is a whole process of ours. */
  readonly words?: readonly string[];
}

const BUFFER = "A buffer of 64 bytes, ring of 256";
const BOTH =
  `${BUFFER}: the driver adds, the device walks and returns it, the driver takes it back, ` +
  "in one thread. The C loop has a free list, tokens and bounds checks, but no indirect tables, no " +
  "broken state, no work meter, no choice of event index, and no object for a chain; loop.ts is that " +
  "loop in JavaScript";
const SPIN =
  `${BUFFER}, between two threads that spin. ringtest simulates the cost of an exit of the guest ` +
  "only with `--exit`, which is off on both sides";
const DEVICE =
  `${BUFFER}: the device's half alone, behind one store of the driver's; buffers are walked and ` +
  "returned, no data moves";
const RCORE =
  "virtio-drivers' device answers while it is notified and checks nothing; ours is the emulator, " +
  "which validates every chain and wakes the driver by an interrupt";
const FLOOR =
  "loop.ts has the promise, the copies and the wiping of ours, but neither ring nor device";

/** Why a ring in JavaScript does not reach one in C. */
const RING_REASON =
  "V8 does not inline `Atomics.store`, a call of 10 ns (25 on a busy machine) against 8 in C, twice a batch. So " +
  "loop.ts, the same loop in JavaScript, takes 1.7 (split, batch 1) to 2.2 times (split, batch 64) as long as in C. What we " +
  "add to that: a buffer of a batch of 64 in a split ring takes about 530 instructions (160 to add it, 250 in the " +
  "device, 120 to take it back), two fifths of them checks of types, bounds and overflow, and their jumps; the whole device's half of loop.c is 27";
/** The same of a promise. */
const PROMISE_REASON =
  "A promise that a microtask settles and its `await` take 156 ns, and `fill` or `set` of an array 25 ns each, " +
  "which is what loop.ts shows";

/** All of them. */
export const WORKS: readonly WorkPlan[] = [
  {
    name: "split-1",
    title: "ring, split, batch 1",
    peers: ["loop.c", "loop.ts"],
    goals: [1.3],
    meaning: BOTH,
    reason: RING_REASON,
  },
  {
    name: "split-64",
    title: "ring, split, batch 64",
    peers: ["loop.c", "loop.ts"],
    goals: [1.5],
    meaning: BOTH,
    reason: RING_REASON,
  },
  {
    name: "packed-1",
    title: "ring, packed, batch 1",
    peers: ["loop.c", "loop.ts"],
    goals: [1.3],
    meaning: BOTH,
    reason: RING_REASON,
  },
  {
    name: "packed-64",
    title: "ring, packed, batch 64",
    peers: ["loop.c", "loop.ts"],
    goals: [1.5],
    meaning: BOTH,
    reason: RING_REASON,
  },
  {
    name: "two-split",
    title: "ring, split, two threads",
    peers: ["ringtest virtio_ring_0_9"],
    goals: [1],
    meaning: `${SPIN}. One full fence a kick on both sides`,
  },
  {
    name: "two-inorder",
    title: "ring, split in order, two threads",
    peers: ["ringtest virtio_ring_inorder"],
    goals: [1],
    meaning:
      `${SPIN}. One full fence a kick on both sides; ringtest's device writes no used entries`,
  },
  {
    name: "two-packed",
    title: "ring, packed, two threads",
    peers: ["ringtest ring"],
    goals: [1.4],
    meaning:
      `${SPIN}. ringtest's ring orders by release and acquire, ours by sequentially consistent ` +
      "stores, since JavaScript has no other; its layout is a forerunner of the packed ring",
    reason:
      "`Atomics.store`, with which either side publishes, is a call of 10 to 25 ns; ringtest's release store is a " +
      "plain one on x86-64",
  },
  {
    name: "device-1",
    title: "device's half, batch 1",
    peers: ["virtio-queue", "v86", "loop.c"],
    goals: [1, 1],
    meaning: DEVICE,
  },
  {
    name: "device-64",
    title: "device's half, batch 64",
    peers: ["virtio-queue", "v86", "loop.c"],
    goals: [1, 1],
    meaning: DEVICE,
  },
  {
    name: "blk-1",
    title: "blk, 4 KiB, depth 1, promise",
    peers: ["virtio-drivers", "loop.ts"],
    goals: [1.2],
    meaning: `A random read of a disk of 256 MiB in memory. ${RCORE}. ${FLOOR}`,
    reason:
      "36% of ours is memmove: 4 KiB out of a disk that no cache holds, as on the other side, and again out of the " +
      `slot, as \`read\` takes any array. ${PROMISE_REASON}`,
  },
  {
    name: "blk-32",
    title: "blk, 4 KiB, depth 32, promise",
    peers: ["virtio-drivers"],
    goals: [1.2],
    meaning: "The same with 32 in flight; the peer's queue of 16 descriptors holds five requests",
    reason:
      "As at depth 1; 36% of ours is memmove here too, 14% V8's own functions, 6% each the ring, the queue and the device",
  },
  {
    name: "blk-batch-32",
    title: "blk, 4 KiB, depth 32, batch",
    peers: ["virtio-drivers"],
    goals: [1],
    meaning: "The same with our batch interface, which leaves the data in the memory of the slot",
    reason:
      "47% of ours is memmove of the disk, which the other side has too; 12% are V8's own functions, 8% the device's " +
      "ring (an indirect table of three elements), 7% the device",
  },
  {
    name: "qtest-blk-1",
    title: "blk, 4 KiB, depth 1, QEMU's disk",
    peers: ["qtest_loop.c"],
    goals: [1.11],
    meaning:
      "A read of QEMU's disk of zeroes on `qtest:riscv64-virt`, by promise. The C loop sends the same messages " +
      "(notify, read the cause, acknowledge it), blocks for each answer and for the interrupt, and copies the data",
    reason:
      "Of our process's time 47% is the kernel's, for the same calls as in C and one of `ppoll`; 25% is Deno's own, mostly a " +
      "turn of its event loop, which a promise needs (2 to 4 us); 12% is the C library's memory, 3% compiled JavaScript",
  },
  {
    name: "many-256",
    title: "blk, 4 KiB, 256 disks in turn",
    peers: ["one device"],
    goals: [1.2],
    meaning:
      "A read of each of 256 disks of 4 KiB in turn, depth 1, beside as many reads of one of them",
    reason: "Memory, as said below",
  },
  {
    name: "rng-64",
    title: "rng, 64 bytes",
    peers: ["virtio-drivers", "loop.ts"],
    goals: [3],
    meaning: `One request; both devices fill it with a constant. ${RCORE}. ${FLOOR}`,
    reason:
      `${PROMISE_REASON}. Of ours 46% are V8's own functions (promises, atomic stores, \`fill\`, \`set\`), 17% the ` +
      "queue of requests, 11% the device's ring, 6% the device",
  },
  {
    name: "rng-4096",
    title: "rng, 4 KiB",
    peers: ["virtio-drivers", "loop.ts"],
    goals: [1.2],
    meaning: "The same, 4096 bytes",
    reason:
      "As of 64 bytes; 4 KiB take loop.ts 126 ns more than 64 bytes, as it fills, copies and wipes them, and the peer " +
      "34 ns, as its device writes to the caller's array",
  },
  {
    name: "net-1",
    title: "net, 64 bytes, one at a time, promise",
    peers: ["virtio-drivers", "loop.ts"],
    goals: [5],
    meaning:
      "A frame sent and received. Ours goes through a hub from one device to another one, with two " +
      "drivers; the peer's comes back to the driver that sent it. " +
      FLOOR,
    reason:
      "The receiver owns its frame, and a new array of 16 bytes or more takes 180 to 470 ns in this V8, two to three " +
      "times all that the peer does, which lends its buffer. A view of an array of 8 KiB for many frames would take 33, " +
      `but who transfers or keeps one frame would do so with the others. ${PROMISE_REASON}`,
  },
  {
    name: "net-callback-1",
    title: "net, 64 bytes, one at a time, callback",
    peers: ["virtio-drivers"],
    goals: [2],
    meaning: "The same without a promise: `onFrame` and `poll`",
    reason:
      "Ours has a second driver and device, a hub with a filter, and a header with a checksum's state between: of ours " +
      "20% are the rings, 11% their atomic stores, 11% the copies out of and into guest memory, 14% the device's " +
      "transmit side, 12% its receive side with the filter, 13% the driver's queues, 6% the hub",
  },
  {
    name: "net-batch-128",
    title: "net, 64 bytes, 128 in a batch",
    peers: ["virtio-drivers"],
    goals: [1.5],
    meaning: "128 frames and one kick; the peer has no batch and notifies for each of the 128",
    reason:
      "As one at a time: of 230 ns, the peer's 67, no function is over 9%; 15% are the copies out of and into guest " +
      "memory, 22% the device's receive ring, 13% its transmit side, 9% each the driver's two queues and the rings, 7% the hub, 6% the filter",
  },
  {
    name: "start-help",
    title: "`vireo --help`",
    peers: ["deno run"],
    goals: [2.5],
    meaning: "From start to end of the process, beside a bare `deno run` of an empty module",
    words: ["--help"],
  },
  {
    name: "start-probe",
    title: "`vireo probe`",
    peers: ["deno run"],
    goals: [4],
    meaning: "The same with the emulated board, whose four devices are found and driven",
    words: ["probe"],
    reason:
      "Of 220 ms of processor time the bare run is 22. Deno's own node: modules take 30, which commander, `node:fs` " +
      "and `node:timers` need; 210 modules of ours take 75, 0.35 ms each, and other threads, which compile and " +
      "collect, the rest. Without the parser it would be 7 ms less, as others need the same node: modules",
  },
  {
    name: "console-echo",
    title: "console, echo of 64 bytes",
    peers: [],
    goals: [],
    meaning: "Written, echoed by the host's end without Web Streams, and read; no peer",
  },
  {
    name: "p9-read",
    title: "9p, read 4 KiB",
    peers: [],
    goals: [],
    meaning: "Of an open file in memory; no peer",
  },
  { name: "p9-stat", title: "9p, stat", peers: [], goals: [], meaning: "By path; no peer" },
];
