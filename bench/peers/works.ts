/**
 * The works that are measured, the peers of each, and what either side of a row does.
 *
 * @module
 */

/** The programs beside ours. */
export type PeerName =
  | "loop.c"
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
}

const BUFFER = "A buffer of 64 bytes, ring of 256";
const BOTH =
  `${BUFFER}: the driver adds, the device walks and returns it, the driver takes it back, ` +
  "in one thread. The C loop has a free list, tokens and bounds checks, but no indirect tables, no " +
  "broken state, no work meter, and no choice of event index";
const SPIN =
  `${BUFFER}, between two threads that spin. ringtest simulates the cost of an exit of the guest ` +
  "only with `--exit`, which is off on both sides";
const DEVICE =
  `${BUFFER}: the device's half alone, behind one store of the driver's; buffers are walked and ` +
  "returned, no data moves";
const RCORE =
  "virtio-drivers' device answers while it is notified and checks nothing; ours is the emulator, " +
  "which validates every chain and wakes the driver by an interrupt";

/** All of them. */
export const WORKS: readonly WorkPlan[] = [
  {
    name: "split-1",
    title: "ring, split, batch 1",
    peers: ["loop.c"],
    goals: [1.3],
    meaning: BOTH,
  },
  {
    name: "split-64",
    title: "ring, split, batch 64",
    peers: ["loop.c"],
    goals: [1.5],
    meaning: BOTH,
  },
  {
    name: "packed-1",
    title: "ring, packed, batch 1",
    peers: ["loop.c"],
    goals: [1.3],
    meaning: BOTH,
  },
  {
    name: "packed-64",
    title: "ring, packed, batch 64",
    peers: ["loop.c"],
    goals: [1.5],
    meaning: BOTH,
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
    peers: ["virtio-drivers"],
    goals: [1.2],
    meaning: `A random read of a disk of 256 MiB in memory. ${RCORE}`,
  },
  {
    name: "blk-32",
    title: "blk, 4 KiB, depth 32, promise",
    peers: ["virtio-drivers"],
    goals: [1.2],
    meaning: "The same with 32 in flight; the peer's queue of 16 descriptors holds five requests",
  },
  {
    name: "blk-batch-32",
    title: "blk, 4 KiB, depth 32, batch",
    peers: ["virtio-drivers"],
    goals: [1],
    meaning: "The same with our batch interface, which leaves the data in the memory of the slot",
  },
  {
    name: "rng-64",
    title: "rng, 64 bytes",
    peers: ["virtio-drivers"],
    goals: [3],
    meaning: `One request; both devices fill it with a constant. ${RCORE}`,
  },
  {
    name: "rng-4096",
    title: "rng, 4 KiB",
    peers: ["virtio-drivers"],
    goals: [1.2],
    meaning: "The same, 4096 bytes",
  },
  {
    name: "net-1",
    title: "net, 64 bytes, one at a time, promise",
    peers: ["virtio-drivers"],
    goals: [5],
    meaning:
      "A frame sent and received. Ours goes through a hub from one device to another one, with two " +
      "drivers; the peer's comes back to the driver that sent it",
  },
  {
    name: "net-callback-1",
    title: "net, 64 bytes, one at a time, callback",
    peers: ["virtio-drivers"],
    goals: [2],
    meaning: "The same without a promise: `onFrame` and `poll`",
  },
  {
    name: "net-batch-128",
    title: "net, 64 bytes, 128 in a batch",
    peers: ["virtio-drivers"],
    goals: [1.5],
    meaning: "128 frames and one kick; the peer has no batch and notifies for each of the 128",
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
