import { assert, assertEquals } from "@std/assert";
import { MemoryDisk } from "../../emu/backends/memory_disk.ts";
import { BlkDevice } from "../../emu/devices/blk/mod.ts";
import { GpuDevice } from "../../emu/devices/gpu/mod.ts";
import { joinBytes, Libc, u32s, u64s } from "@vireo/hal/vhost-user";
import { type ServerEvent, VhostUserServer } from "@vireo/emu/vhost-user";
import { temporaryFolder } from "./daemon.ts";
import { answer, PROTOCOL, R, raw, RawPeer, VERSION_1 } from "./raw_peer.ts";
import { openDescriptors, wait } from "./wait.ts";
import { xorshift } from "../noise.ts";

/** Places in the peer's memory, as its own addresses. */
const USER = 0x7000_0000;
const [DESC, AVAIL, USED] = [0, 0x1000, 0x2000];

/** A served disk, and peers of it. */
class Rig implements AsyncDisposable {
  readonly libc = new Libc();
  readonly folder = temporaryFolder();
  readonly events: ServerEvent[] = [];
  readonly server: VhostUserServer;
  readonly path = `${this.folder.path}/s.sock`;
  readonly #disk = new MemoryDisk(1 << 20);
  readonly #model = new BlkDevice({ disk: this.#disk });

  constructor() {
    this.server = new VhostUserServer({
      model: this.#model,
      path: this.path,
      capacity: 1 << 26,
      event: (event) => this.events.push(event),
    });
  }

  connect(): RawPeer {
    return new RawPeer(this.libc, this.libc.connect(this.path));
  }

  /** Whether a new front end is answered. */
  async checkAlive(): Promise<void> {
    using peer = this.connect();
    peer.send(raw(R.GET_FEATURES));
    const got = await peer.receive();
    assertEquals([got?.length, got?.[0], got?.[4]], [20, R.GET_FEATURES, 5]);
  }

  async idle(): Promise<void> {
    await wait("the front end to be left", () => !this.server.connected);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    this.#model[Symbol.dispose]();
    this.#disk[Symbol.dispose]();
    this.libc.dispose();
    await this.folder[Symbol.asyncDispose]();
  }
}

type Send = (peer: RawPeer) => void;

const state = (index: number, num: number): Uint8Array => u32s(index, num);
const addresses = (desc: number, used: number, avail: number, index = 0, flags = 0): Uint8Array =>
  joinBytes(u32s(index, flags), u64s(desc, used, avail, 0));
const table = (count: number, ...regions: readonly Uint8Array[]): Uint8Array =>
  joinBytes(u32s(count, 0), ...regions);
const slot = (region: Uint8Array): Uint8Array => joinBytes(u64s(0), region);
const config = (offset: number, size: number, bytes: number): Uint8Array =>
  joinBytes(u32s(offset, size, 0), new Uint8Array(bytes));

/** A message about memory of inflight requests. */
const inflight = (queues: number, queueSize: number, size = 0, offset = 0): Uint8Array =>
  joinBytes(u64s(size, offset), u32s(queues | queueSize << 16));

/** A handshake with REPLY_ACK and all the rest, as of an honest front end. */
function greet(peer: RawPeer): void {
  peer.send(raw(R.SET_PROTOCOL_FEATURES, u64s(0xffff_ffff)));
  peer.send(raw(R.SET_FEATURES, u64s(VERSION_1 + PROTOCOL)));
}

/** Sends one end of a pair of sockets as the one of a display. */
function sendDisplay(peer: RawPeer): void {
  const pair = peer.libc.socketPair();
  peer.send(raw(R.GPU_SET_SOCKET), [pair[0]]);
  for (const fd of pair) peer.libc.close(fd);
}

function shareMemory(peer: RawPeer): void {
  peer.send(raw(R.SET_MEM_TABLE, table(1, peer.region())), [peer.memoryFd]);
}

/** A queue of eight descriptors that runs. */
function startQueue(peer: RawPeer, kick = peer.eventFd()): number {
  greet(peer);
  shareMemory(peer);
  peer.send(raw(R.SET_VRING_NUM, state(0, 8)));
  peer.send(raw(R.SET_VRING_ADDR, addresses(USER + DESC, USER + USED, USER + AVAIL)));
  peer.send(raw(R.SET_VRING_CALL, u64s(0)), [peer.eventFd()]);
  peer.send(raw(R.SET_VRING_KICK, u64s(0)), [kick]);
  peer.send(raw(R.SET_VRING_ENABLE, state(0, 1)));
  return kick;
}

/** Messages after which the front end is left, and why. */
const LEFT: readonly (readonly [name: string, why: string, send: Send])[] = [
  ["version 0", "version 0", (p) => p.send(raw(R.GET_FEATURES, undefined, { flags: 0 }))],
  ["version 2", "version 2", (p) => p.send(raw(R.GET_FEATURES, undefined, { flags: 2 }))],
  ["request 0", "request 0", (p) => p.send(raw(0))],
  ["request 41", "request 41", (p) => p.send(raw(41))],
  ["request 2^32-1", "request 4294967295", (p) => p.send(raw(0xffffffff))],
  ["an answer", "request 1", (p) => p.send(answer(R.GET_FEATURES, u64s(0)))],
  [
    "a size of 2^32-1",
    "4294967295 bytes",
    (p) => p.send(raw(R.SET_FEATURES, undefined, { size: 0xffffffff })),
  ],
  [
    "a size over all messages",
    "4097 bytes",
    (p) => p.send(raw(R.SET_MEM_TABLE, undefined, { size: 4097 })),
  ],
  ["features of 4 bytes", "4 bytes", (p) => p.send(raw(R.SET_FEATURES, u32s(1)))],
  ["features of 16 bytes", "16 bytes", (p) => p.send(raw(R.SET_FEATURES, u64s(1, 2)))],
  ["GET_FEATURES with a payload", "8 bytes", (p) => p.send(raw(R.GET_FEATURES, u64s(1)))],
  ["an owner with a payload", "8 bytes", (p) => p.send(raw(R.SET_OWNER, u64s(1)))],
  ["a queue state of 4 bytes", "4 bytes", (p) => p.send(raw(R.SET_VRING_NUM, u32s(0)))],
  ["addresses of 8 bytes", "8 bytes", (p) => p.send(raw(R.SET_VRING_ADDR, u64s(0)))],
  ["a table of 4 bytes", "4 bytes", (p) => p.send(raw(R.SET_MEM_TABLE, u32s(1)))],
  [
    "a table of nine regions",
    "296 bytes",
    (p) => p.send(raw(R.SET_MEM_TABLE, new Uint8Array(296))),
  ],
  ["configuration of 4 bytes", "4 bytes", (p) => p.send(raw(R.GET_CONFIG, u32s(0)))],
  [
    "configuration of 257 bytes",
    "269 bytes",
    (p) => p.send(raw(R.GET_CONFIG, config(0, 257, 257))),
  ],
  [
    "a region without its file",
    "0 descriptors",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region()))),
  ],
  [
    "a region with two files",
    "2 descriptors",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region())), [p.memoryFd, p.memoryFd]),
  ],
  [
    "a kick with two descriptors",
    "2 descriptors",
    (p) => p.send(raw(R.SET_VRING_KICK, u64s(0)), [p.eventFd(), p.eventFd()]),
  ],
  [
    "features with a descriptor",
    "1 descriptors",
    (p) => p.send(raw(R.SET_FEATURES, u64s(VERSION_1)), [p.memoryFd]),
  ],
  [
    "nine descriptors",
    "9 descriptors",
    (p) => p.send(raw(R.GET_FEATURES), Array(9).fill(p.memoryFd)),
  ],
  [
    "32 descriptors",
    "32 descriptors",
    (p) => p.send(raw(R.GET_FEATURES), Array(32).fill(p.memoryFd)),
  ],
  ["a back end socket that is missing", "0 descriptors", (p) => p.send(raw(R.SET_BACKEND_REQ_FD))],
  ["GET_VRING_BASE of queue 300", "queue 300", (p) => p.send(raw(R.GET_VRING_BASE, state(300, 0)))],
  [
    "memory of inflight requests that is missing",
    "0 descriptors",
    (p) => p.send(raw(R.SET_INFLIGHT_FD, new Uint8Array(20))),
  ],
  ["a question for inflight memory of no queues", "0 queues of 8", (p) => {
    greet(p);
    p.send(raw(R.GET_INFLIGHT_FD, inflight(0, 8)));
  }],
];

/** Requests that are refused, and why; the front end may go on. */
const REFUSED: readonly (readonly [name: string, why: string, send: Send])[] = [
  [
    "its own end of the connection for requests of the back end",
    "a connection to the back end itself",
    (p) => p.send(raw(R.SET_BACKEND_REQ_FD), [p.fd]),
  ],
  [
    "a file for requests of the back end",
    "no connected socket",
    (p) => p.send(raw(R.SET_BACKEND_REQ_FD), [p.memoryFd]),
  ],
  [
    "a file for a display",
    "no connected socket",
    (p) => p.send(raw(R.GPU_SET_SOCKET), [p.memoryFd]),
  ],
  ["a display for a disk", "device 2", (p) => sendDisplay(p)],
  [
    "a table without its files",
    "with 0 descriptors",
    (p) => p.send(raw(R.SET_MEM_TABLE, table(1, p.region()))),
  ],
  [
    "a table of 2^32-1 regions",
    "4294967295 regions",
    (p) => p.send(raw(R.SET_MEM_TABLE, table(0xffffffff))),
  ],
  [
    "a table with more files than regions",
    "with 2 descriptors",
    (p) => p.send(raw(R.SET_MEM_TABLE, table(1, p.region())), [p.memoryFd, p.memoryFd]),
  ],
  [
    "a table that is cut short",
    "2 regions in 40 bytes",
    (p) => p.send(raw(R.SET_MEM_TABLE, table(2, p.region())), [p.memoryFd, p.memoryFd]),
  ],
  [
    "a region past its file",
    "past the end of its file",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region({ size: 1 << 21 }))), [p.memoryFd]),
  ],
  [
    "a region that starts past its file",
    "past the end of its file",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region({ offset: 1 << 20 }))), [p.memoryFd]),
  ],
  [
    "an empty region",
    "at least a page",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region({ size: 0 }))), [p.memoryFd]),
  ],
  [
    "a region that is not a page",
    "multiples of a page",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region({ size: 100 }))), [p.memoryFd]),
  ],
  [
    "a region at no page",
    "multiples of a page",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region({ guest: 100 }))), [p.memoryFd]),
  ],
  [
    "a region of 2^62 bytes",
    "at most 2^53-1",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region({ size: 2 ** 62 }))), [p.memoryFd]),
  ],
  ["a region at 2^64-4096", "at most 2^53-1", (p) =>
    p.send(
      raw(R.ADD_MEM_REG, slot(new Uint8Array(BigUint64Array.of(-4096n, 4096n, 0n, 0n).buffer))),
      [p.memoryFd],
    )],
  [
    "a region that ends past 2^53",
    "addresses up to 2^53-1",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region({ guest: 2 ** 53 - 4096 }))), [p.memoryFd]),
  ],
  ["a region of a socket", "lseek", (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region())), [p.fd])],
  [
    "a region of a device",
    "past the end of its file",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region())), [p.file("/dev/null")]),
  ],
  [
    "a region of an eventfd",
    "past the end of its file",
    (p) => p.send(raw(R.ADD_MEM_REG, slot(p.region())), [p.eventFd()]),
  ],
  ["a region more than there are slots", "saw 33, expected 32", (p) => {
    greet(p);
    for (let i = 0; i < 33; i++) {
      const at = i * 0x2000;
      const region = { guest: 0x10_0000 + at, user: USER + at, size: 4096, offset: i * 4096 };
      p.send(raw(R.ADD_MEM_REG, slot(p.region(region))), [p.memoryFd]);
    }
  }],
  ["regions that overlap for the guest", "overlap", (p) => {
    shareMemory(p);
    p.send(raw(R.ADD_MEM_REG, slot(p.region({ user: 0x1000, size: 4096 }))), [p.memoryFd]);
  }],
  ["regions that overlap for the front end", "overlap", (p) => {
    shareMemory(p);
    p.send(raw(R.ADD_MEM_REG, slot(p.region({ guest: 0, size: 4096 }))), [p.memoryFd]);
  }],
  [
    "a region that was never added",
    "a region that was added",
    (p) => p.send(raw(R.REM_MEM_REG, slot(p.region()))),
  ],
  ["queue 1 of a disk with one", "queue 1", (p) => p.send(raw(R.SET_VRING_NUM, state(1, 8)))],
  [
    "queue 2^32-1",
    "Cannot find a queue",
    (p) => p.send(raw(R.SET_VRING_ENABLE, state(0xffffffff, 1))),
  ],
  ["a queue of 0", "saw 0,", (p) => p.send(raw(R.SET_VRING_NUM, state(0, 0)))],
  ["a queue of 7", "saw 7", (p) => p.send(raw(R.SET_VRING_NUM, state(0, 7)))],
  ["a queue of 65536", "saw 65536", (p) => p.send(raw(R.SET_VRING_NUM, state(0, 65536)))],
  [
    "a queue that logs",
    "log",
    (p) => p.send(raw(R.SET_VRING_ADDR, addresses(USER, USER, USER, 0, 1))),
  ],
  [
    "addresses of 2^63",
    "at most 2^53-1",
    (p) => p.send(raw(R.SET_VRING_ADDR, addresses(2 ** 63, USER, USER))),
  ],
  ["enabled twice over", "0 or 1", (p) => p.send(raw(R.SET_VRING_ENABLE, state(0, 2)))],
  [
    "a kick without memory",
    "must be in a region",
    (p) => p.send(raw(R.SET_VRING_KICK, u64s(0)), [p.eventFd()]),
  ],
  [
    "a kick that is a file",
    "an eventfd",
    (p) => p.send(raw(R.SET_VRING_KICK, u64s(0)), [p.memoryFd]),
  ],
  [
    "a kick that is always readable",
    "an eventfd",
    (p) => p.send(raw(R.SET_VRING_KICK, u64s(0)), [p.file("/dev/zero")]),
  ],
  ["a call that is a socket", "an eventfd", (p) => p.send(raw(R.SET_VRING_CALL, u64s(0)), [p.fd])],
  [
    "an err that is a directory",
    "an eventfd",
    (p) => p.send(raw(R.SET_VRING_ERR, u64s(0)), [p.file("/tmp")]),
  ],
  ["a kick without its descriptor", "0 descriptors", (p) => p.send(raw(R.SET_VRING_KICK, u64s(0)))],
  [
    "a descriptor with the mark for none",
    "1 descriptors",
    (p) => p.send(raw(R.SET_VRING_CALL, u64s(0x100)), [p.eventFd()]),
  ],
  ["a ring past the memory", "must be in a region", (p) => {
    shareMemory(p);
    p.send(raw(R.SET_VRING_ADDR, addresses(USER + (1 << 20), USER, USER)));
    p.send(raw(R.SET_VRING_KICK, u64s(0)), [p.eventFd()]);
  }],
  ["a ring that ends past the memory", "outside guest memory", (p) => {
    shareMemory(p);
    p.send(raw(R.SET_VRING_NUM, state(0, 8)));
    p.send(raw(R.SET_VRING_ADDR, addresses(USER + (1 << 20) - 16, USER, USER)));
    p.send(raw(R.SET_VRING_KICK, u64s(0)), [p.eventFd()]);
  }],
  ["a ring at an odd address", "not aligned", (p) => {
    shareMemory(p);
    p.send(raw(R.SET_VRING_NUM, state(0, 8)));
    p.send(raw(R.SET_VRING_ADDR, addresses(USER + 1, USER, USER)));
    p.send(raw(R.SET_VRING_KICK, u64s(0)), [p.eventFd()]);
  }],
  ["a base over 16 bits", "saw 65536", (p) => {
    shareMemory(p);
    p.send(raw(R.SET_VRING_NUM, state(0, 8)));
    p.send(raw(R.SET_VRING_ADDR, addresses(USER + DESC, USER + USED, USER + AVAIL)));
    p.send(raw(R.SET_VRING_BASE, state(0, 0x10000)));
    p.send(raw(R.SET_VRING_KICK, u64s(0)), [p.eventFd()]);
  }],
  ["a size while the queue runs", "must be stopped", (p) => {
    startQueue(p);
    p.send(raw(R.SET_VRING_NUM, state(0, 8)));
  }],
  ["other features while the queue runs", "whose queues run", (p) => {
    startQueue(p);
    p.send(raw(R.SET_FEATURES, u64s(VERSION_1 + PROTOCOL + 2 ** 29)));
  }],
  ["a log", "Cannot log", (p) => p.send(raw(R.SET_LOG_BASE, u64s(0)), [p.memoryFd])],
  ["LOG_ALL", "Cannot log", (p) => p.send(raw(R.SET_FEATURES, u64s(2 ** 26)))],
  [
    "configuration past its end",
    "past the end of the configuration",
    (p) => p.send(raw(R.SET_CONFIG, config(200, 8, 8))),
  ],
  [
    "configuration of another length than it says",
    "as many as it says",
    (p) => p.send(raw(R.SET_CONFIG, config(0, 16, 8))),
  ],
  [
    "a question for configuration of another length",
    "as many as it says",
    (p) => p.send(raw(R.GET_CONFIG, config(0, 16, 8))),
  ],
  [
    "inflight memory that was not agreed on",
    "must have been agreed on",
    (p) => p.send(raw(R.SET_INFLIGHT_FD, new Uint8Array(20)), [p.memoryFd]),
  ],
  ["inflight memory of two queues of a disk with one", "2 queues of 8", (p) => {
    greet(p);
    p.send(raw(R.SET_INFLIGHT_FD, inflight(2, 8, 4096)), [p.memoryFd]);
  }],
  ["inflight memory of a file that can be cut short", "in a sealed file", (p) => {
    greet(p);
    p.send(raw(R.SET_INFLIGHT_FD, inflight(1, 8, 4096)), [p.memoryFd]);
  }],
  ["inflight memory past its file", "in a sealed file", (p) => {
    greet(p);
    p.libc.fixSize(p.memoryFd);
    p.send(raw(R.SET_INFLIGHT_FD, inflight(1, 8, 4096, 1 << 20)), [p.memoryFd]);
  }],
  ["inflight memory at a place where no word begins", "4096 bytes at 2", (p) => {
    greet(p);
    p.libc.fixSize(p.memoryFd);
    p.send(raw(R.SET_INFLIGHT_FD, inflight(1, 8, 4096, 2)), [p.memoryFd]);
  }],
  ["inflight memory without room", "4096 bytes at 0", (p) => {
    greet(p);
    p.libc.fixSize(p.memoryFd);
    p.send(raw(R.SET_INFLIGHT_FD, inflight(1, 256, 4096)), [p.memoryFd]);
  }],
  ["inflight memory while a queue runs", "no queue must run", (p) => {
    startQueue(p);
    p.libc.fixSize(p.memoryFd);
    p.send(raw(R.SET_INFLIGHT_FD, inflight(1, 8, 4096)), [p.memoryFd]);
  }],
  ["a queue whose notes contradict its ring", "a used index that is 100 behind", (p) => {
    greet(p);
    p.libc.fixSize(p.memoryFd);
    p.view.setUint16(0x8008, 1, true);
    p.view.setUint16(0x800a, 8, true);
    p.view.setUint16(USED + 2, 100, true);
    p.send(raw(R.SET_INFLIGHT_FD, inflight(1, 8, 4096, 0x8000)), [p.memoryFd]);
    startQueue(p);
  }],
];

/** Rings that a running queue finds, and what it says of them. */
const RINGS: readonly (readonly [name: string, why: string, write: (view: DataView) => void])[] = [
  ["an available index that jumps", "index jumped by 9", (v) => v.setUint16(AVAIL + 2, 9, true)],
  ["a head past the table", "names descriptor 8", (v) => v.setUint16(AVAIL + 4, 8, true)],
  [
    "a buffer outside the memory",
    "is outside guest memory",
    (v) => v.setBigUint64(DESC, 0x5000n, true),
  ],
  [
    "a buffer at 2^64-1",
    "is outside guest memory",
    (v) => v.setBigUint64(DESC, 2n ** 64n - 1n, true),
  ],
  ["a buffer that ends outside", "is outside guest memory", (v) => {
    v.setBigUint64(DESC, 0x1f_fff0n, true);
    v.setUint32(DESC + 8, 0x20, true);
  }],
  ["a chain without an end", "longer than the queue", (v) => {
    v.setBigUint64(DESC, 0x10_4000n, true);
    v.setUint32(DESC + 8, 16, true);
    v.setUint16(DESC + 12, 1, true);
  }],
  [
    "INDIRECT that was not agreed on",
    "INDIRECT was not negotiated",
    (v) => v.setUint16(DESC + 12, 4, true),
  ],
];

Deno.test("vhost-user: a hostile front end is left, and costs nothing", async (t) => {
  await using rig = new Rig();
  await rig.checkAlive();
  await rig.idle();
  const before = openDescriptors();
  for (const [name, why, send] of LEFT) {
    await t.step(name, async () => {
      {
        using peer = rig.connect();
        send(peer);
        await peer.closed();
        await rig.idle();
        const last = rig.events.at(-1)!;
        assert(last.kind === "disconnected" && last.reason?.includes(why), JSON.stringify(last));
        assertEquals(rig.server.device.regions, 0);
      }
      assertEquals(openDescriptors(), before);
      await rig.checkAlive();
      await rig.idle();
    });
  }
});

Deno.test("vhost-user: what a hostile front end asks for is refused, and costs nothing", async (t) => {
  await using rig = new Rig();
  await rig.checkAlive();
  await rig.idle();
  const before = openDescriptors();
  for (const [name, why, send] of REFUSED) {
    await t.step(name, async () => {
      {
        using peer = rig.connect();
        rig.events.length = 0;
        send(peer);
        await wait("the refusal", () => rig.events.some(({ kind }) => kind === "refused"));
        const [refused] = rig.events.filter((event) => event.kind === "refused");
        assert(refused?.reason.includes(why), JSON.stringify(refused));
        // It goes on: the next question is answered.
        peer.send(raw(R.GET_FEATURES));
        for (;;) {
          const got = await peer.receive();
          assert(got !== undefined, "the front end was left");
          if (got.length >= 20 && got.at(-20) === R.GET_FEATURES) break;
        }
      }
      await rig.idle();
      assertEquals(rig.server.device.regions, 0);
      assertEquals(openDescriptors(), before);
    });
  }
});

Deno.test("vhost-user: the socket of a gpu's display is kept until the next one, or the front end leaves", async () => {
  await using folder = temporaryFolder();
  const path = `${folder.path}/s`;
  const events: ServerEvent[] = [];
  using model = new GpuDevice();
  await using _server = new VhostUserServer({
    model,
    path,
    event: (event) => void events.push(event),
  });
  const libc = new Libc();
  const kinds = (): string[] => events.map(({ kind }) => kind);
  const before = openDescriptors();
  {
    using peer = new RawPeer(libc, libc.connect(path));
    await wait("the connection", () => events.length === 1);
    const connected = openDescriptors();
    for (let i = 0; i < 2; i++) {
      sendDisplay(peer);
      peer.send(raw(R.GET_FEATURES));
      assert(await peer.receive() !== undefined);
      assertEquals(openDescriptors(), connected + 1);
    }
  }
  await wait("the end of the connection", () => events.length === 2);
  assertEquals(kinds(), ["connected", "disconnected"]);
  assertEquals(openDescriptors(), before);
  libc.dispose();
});

Deno.test("vhost-user: a refusal is said to a front end that waits for an answer", async () => {
  await using rig = new Rig();
  using peer = rig.connect();
  greet(peer);
  peer.send(raw(R.SET_VRING_NUM, state(0, 7), { flags: 9 }));
  assertEquals(await peer.receive(), answer(R.SET_VRING_NUM, u64s(1)));
  peer.send(raw(R.SET_VRING_NUM, state(0, 8), { flags: 9 }));
  assertEquals(await peer.receive(), answer(R.SET_VRING_NUM, u64s(0)));
});

Deno.test("vhost-user: a queue that is larger than its notes runs, and the server says so", async () => {
  await using rig = new Rig();
  using peer = rig.connect();
  greet(peer);
  peer.libc.fixSize(peer.memoryFd);
  peer.send(raw(R.SET_INFLIGHT_FD, inflight(1, 4, 4096, 0x8000)), [peer.memoryFd]);
  startQueue(peer);
  await wait("the queue to run", () => rig.server.device.hosted.running(0));
  const told = rig.events.filter(({ kind }) => kind !== "connected");
  assertEquals(told, [{ kind: "unnoted", queue: 0, size: 8, room: 4 }]);
});

Deno.test("vhost-user: a queue is enabled by a message, or from the start without protocol features", async (t) => {
  for (const protocol of [true, false]) {
    await t.step(protocol ? "protocol features" : "none", async () => {
      await using rig = new Rig();
      using peer = rig.connect();
      if (protocol) greet(peer);
      else peer.send(raw(R.SET_FEATURES, u64s(VERSION_1)));
      shareMemory(peer);
      // A read of sector 0: header, data and status.
      for (const [i, length, flags] of [[0, 16, 1], [1, 512, 3], [2, 1, 2]] as const) {
        peer.view.setBigUint64(DESC + 16 * i, BigInt(0x10_4000 + 0x1000 * i), true);
        peer.view.setUint32(DESC + 16 * i + 8, length, true);
        peer.view.setUint16(DESC + 16 * i + 12, flags, true);
        peer.view.setUint16(DESC + 16 * i + 14, i + 1, true);
      }
      peer.view.setUint16(AVAIL + 2, 1, true);
      peer.send(raw(R.SET_VRING_NUM, state(0, 8)));
      peer.send(raw(R.SET_VRING_ADDR, addresses(USER + DESC, USER + USED, USER + AVAIL)));
      peer.send(raw(R.SET_VRING_KICK, u64s(0)), [peer.eventFd()]);
      const used = (): boolean => peer.view.getUint16(USED + 2, true) === 1;
      if (protocol) {
        await wait("the queue to run", () => rig.server.device.hosted.running(0));
        await new Promise((resolve) => setTimeout(resolve, 20));
        assert(!used(), "a queue that is not enabled is left alone");
        peer.send(raw(R.SET_VRING_ENABLE, state(0, 1)));
      }
      await wait("the used buffer", used);
    });
  }
});

Deno.test("vhost-user: a packed queue whose base has no used half starts where it is available", async () => {
  await using rig = new Rig();
  using peer = rig.connect();
  peer.send(raw(R.SET_PROTOCOL_FEATURES, u64s(0xffff_ffff)));
  peer.send(raw(R.SET_FEATURES, u64s(VERSION_1 + PROTOCOL + 2 ** 34)));
  shareMemory(peer);
  // A read of sector 0: header, data and status at 0x10_4000, all under the buffer id 5.
  const [NEXT, WRITE, MADE_AVAILABLE] = [1, 2, 0x80];
  for (
    const [i, length, flags] of [[0, 16, NEXT], [1, 512, NEXT | WRITE], [2, 1, WRITE]] as const
  ) {
    peer.view.setBigUint64(DESC + 16 * i, BigInt(0x10_4000 + 0x1000 * i), true);
    peer.view.setUint32(DESC + 16 * i + 8, length, true);
    peer.view.setUint16(DESC + 16 * i + 12, 5, true);
    peer.view.setUint16(DESC + 16 * i + 14, flags | MADE_AVAILABLE, true);
  }
  peer.send(raw(R.SET_VRING_NUM, state(0, 8)));
  peer.send(raw(R.SET_VRING_BASE, state(0, 0x8000)));
  peer.send(raw(R.SET_VRING_ADDR, addresses(USER + DESC, USER + USED, USER + AVAIL)));
  peer.send(raw(R.SET_VRING_KICK, u64s(0)), [peer.eventFd()]);
  peer.send(raw(R.SET_VRING_ENABLE, state(0, 1)));
  await wait("the used descriptor", () => peer.view.getUint16(DESC + 14, true) === 0x8082);
  assertEquals([peer.view.getUint32(DESC + 8, true), peer.view.getUint16(DESC + 12, true)], [
    513,
    5,
  ]);
});

Deno.test("vhost-user: rings of a hostile driver stop the queue, not the server", async (t) => {
  await using rig = new Rig();
  for (const [name, why, write] of RINGS) {
    await t.step(name, async () => {
      using peer = rig.connect();
      rig.events.length = 0;
      peer.view.setUint16(AVAIL + 2, 1, true);
      write(peer.view);
      startQueue(peer);
      await wait("the fault", () => rig.events.some(({ kind }) => kind === "violation"));
      const [wrong] = rig.events.filter((event) => event.kind === "violation");
      assert(wrong?.violation.reason.includes(why), JSON.stringify(wrong));
      peer[Symbol.dispose]();
      await rig.idle();
      await rig.checkAlive();
      await rig.idle();
    });
  }
});

Deno.test("vhost-user: a front end that dies in the middle of a message costs nothing", async () => {
  await using rig = new Rig();
  await rig.checkAlive();
  await rig.idle();
  const before = openDescriptors();
  const whole = raw(R.SET_MEM_TABLE, table(1, new Uint8Array(32)));
  for (let length = 1; length < whole.length; length++) {
    {
      using peer = rig.connect();
      peer.send(whole.subarray(0, length), [peer.memoryFd]);
      await wait("the front end to be seen", () => rig.server.connected);
    }
    await rig.idle();
    assertEquals(openDescriptors(), before);
  }
  await rig.checkAlive();
});

/** Messages of the fuzzer, for a longer run: `VIREO_VHOST_FUZZ=1000000`. */
const MESSAGES = Number(Deno.env.get("VIREO_VHOST_FUZZ") ?? 20_000);

Deno.test("vhost-user: random messages never end or stop the server, nor cost a descriptor", async () => {
  await using rig = new Rig();
  await rig.checkAlive();
  await rig.idle();
  const before = openDescriptors();
  const random = xorshift(Number(Deno.env.get("VIREO_VHOST_SEED") ?? 17));
  const below = (bound: number): number => random() % bound;
  const numbers = [0, 1, 7, 8, 255, 256, 4096, 0x10_0000, USER, USER + AVAIL, 2 ** 31, 2 ** 32 - 1];
  const number = (): number => numbers[below(numbers.length)]!;
  let sent = 0;
  let connections = 0;
  while (sent < MESSAGES) {
    {
      using peer = rig.connect();
      connections++;
      // Connections that wait for a server in this very thread would block it.
      await wait("the front end to be seen", () => rig.server.connected);
      if (below(2) === 0) startQueue(peer);
      for (let i = below(200); i >= 0; i--) {
        const request = below(50) === 0 ? below(64) : 1 + below(40);
        const sizes = [0, 8, 8, 8, 20, 40, 12 + below(60), 8 + 32 * below(9), below(300)];
        const payload = new Uint8Array(sizes[below(sizes.length)]!);
        for (let at = 0; at + 4 <= payload.length; at += 4) payload.set(u32s(number()), at);
        const fds = [peer.memoryFd, peer.fd, peer.memoryFd].slice(0, below(8) > 2 ? 0 : below(3));
        if (request >= 12 && request <= 14 && fds.length > 0 && below(2) === 0) {
          fds[0] = peer.eventFd();
        }
        const flags = below(40) === 0 ? below(16) : 1 | below(2) << 3;
        if (!peer.send(raw(request, payload, { flags }), fds)) break;
        sent++;
        for (let k = below(8); k > 0; k--) {
          peer.view.setUint32(4 * below(0x3000 / 4), number(), true);
        }
        if (i % 32 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      }
    }
    await rig.idle();
    rig.events.length = 0;
  }
  assert(connections > 0);
  assertEquals(rig.server.device.regions, 0);
  assertEquals(openDescriptors(), before);
  await rig.checkAlive();
});
