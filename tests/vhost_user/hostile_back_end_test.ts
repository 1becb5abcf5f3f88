import { assert, assertEquals, assertThrows } from "@std/assert";
import { FeatureSet, type VhostUserLease, VireoError, type VireoErrorCode } from "@vireo/hal";
import {
  joinBytes,
  Libc,
  MessageSocket,
  Poller,
  u32s,
  u64s,
  VhostUserFrontEnd,
} from "@vireo/hal/vhost-user";
import { requestsIn } from "./front_end_rig.ts";
import { answer, raw, RawPeer } from "./raw_peer.ts";
import { openDescriptors, wait } from "./wait.ts";

/** Requests, typed again from the specification. */
const GET_FEATURES = 1;
const GET_PROTOCOL_FEATURES = 15;
const SET_PROTOCOL_FEATURES = 16;
const SET_OWNER = 3;
const GET_QUEUE_NUM = 17;
const GET_CONFIG = 24;
const GET_VRING_BASE = 11;
const SET_STATUS = 39;
const GET_STATUS = 40;
const GET_MAX_MEM_SLOTS = 36;
const VERSION_1 = 2 ** 32;
const PROTOCOL = 2 ** 30;
const NO_CONFIG = "bytes that the back end has";
const [MQ, REPLY_ACK, BACKEND_REQ] = [1, 8, 0x20];
const [CONFIG, MEM_SLOTS, STATUS] = [0x200, 0x8000, 0x10000];

/** What a back end says before anybody asks: the answers are in the socket when they are waited for. */
type Say = (peer: RawPeer) => void;

/** Answers of an honest back end that offers protocol features. */
const offer = (protocol: number): readonly Uint8Array[] => [
  answer(GET_FEATURES, u64s(VERSION_1 + PROTOCOL)),
  answer(GET_PROTOCOL_FEATURES, u64s(protocol)),
];
/** The same, to the end of the greeting. */
const greeting = (protocol: number): readonly Uint8Array[] => [
  ...offer(protocol),
  ...(protocol & REPLY_ACK) !== 0 ? [answer(SET_OWNER, u64s(0))] : [],
  ...(protocol & MQ) !== 0 ? [answer(GET_QUEUE_NUM, u64s(2))] : [],
];
const says = (...messages: readonly Uint8Array[]): Say => (peer) =>
  void messages.forEach((message) => peer.send(message));
const after = (protocol: number, ...messages: readonly Uint8Array[]): Say =>
  says(...greeting(protocol), ...messages);

interface Case {
  readonly name: string;
  readonly code: VireoErrorCode;
  readonly why: string;
  readonly say: Say;
  /** What is asked after the greeting; nothing if that fails by itself. */
  readonly ask?: (lease: VhostUserLease) => void;
}

const greets = (name: string, code: VireoErrorCode, why: string, say: Say): Case => (
  { name, code, why, say }
);
const asks = (
  name: string,
  code: VireoErrorCode,
  why: string,
  say: Say,
  ask: (lease: VhostUserLease) => void,
): Case => ({ name, code, why, say, ask });
/** A case that reads the configuration; it is refused unless a reason is given. */
const configures = (
  name: string,
  say: Say,
  code: VireoErrorCode = "CONFIG_ACCESS",
  why = NO_CONFIG,
): Case => asks(name, code, why, say, (lease) => lease.readConfig(0, 4));

/** A question, what is answered before it, the bytes of its answer, and how it is asked after a greeting. */
interface Question {
  readonly name: string;
  readonly request: number;
  readonly before: readonly Uint8Array[];
  readonly size: number;
  readonly ask?: (lease: VhostUserLease) => void;
}

const QUEUE = { size: 8, desc: 0, driver: 0, device: 0, packed: false };
const QUESTIONS: readonly Question[] = [
  {
    name: "GET_PROTOCOL_FEATURES",
    request: GET_PROTOCOL_FEATURES,
    before: offer(0).slice(0, 1),
    size: 8,
  },
  { name: "GET_QUEUE_NUM", request: GET_QUEUE_NUM, before: offer(MQ), size: 8 },
  {
    name: "GET_CONFIG",
    request: GET_CONFIG,
    before: greeting(CONFIG),
    size: 16,
    ask: (lease) => lease.readConfig(0, 4),
  },
  {
    name: "GET_VRING_BASE",
    request: GET_VRING_BASE,
    before: greeting(0),
    size: 8,
    ask: (lease) => {
      lease.setUpQueue(0, QUEUE);
      lease.stopQueue(0);
    },
  },
  {
    name: "GET_MAX_MEM_SLOTS",
    request: GET_MAX_MEM_SLOTS,
    before: greeting(MEM_SLOTS),
    size: 8,
    ask: (lease) => lease.setUpQueue(0, QUEUE),
  },
  {
    name: "GET_STATUS",
    request: GET_STATUS,
    before: greeting(STATUS),
    size: 8,
    ask: (lease) => lease.readStatus(),
  },
];

/** A lie about any question: its error, part of the error's message, and how it is told. */
type Lie = readonly [
  name: string,
  code: VireoErrorCode,
  why: (question: Question) => string,
  say: (peer: RawPeer, question: Question) => void,
];
const empty = ({ size }: Question): Uint8Array => new Uint8Array(size);
const LIES: readonly Lie[] = [
  ["never answers", "TIMEOUT", ({ name }) => `to answer ${name}`, () => {}],
  [
    "answers half of",
    "TIMEOUT",
    ({ name }) => `to answer ${name}`,
    (p, q) => p.send(answer(q.request, empty(q)).subarray(0, -1)),
  ],
  ["leaves at", "DEVICE_REMOVED", () => "back end", (p) => p[Symbol.dispose]()],
  [
    "answers too much to",
    "BAD_MESSAGE",
    () => "300 bytes",
    (p, { request }) => p.send(answer(request, new Uint8Array(300))),
  ],
  [
    "answers in version 2 to",
    "BAD_MESSAGE",
    () => "version 2",
    (p, q) => p.send(raw(q.request, empty(q), { flags: 6 })),
  ],
  [
    "asks in return to",
    "BAD_MESSAGE",
    ({ request }) => `request ${request}`,
    (p, q) => p.send(raw(q.request, empty(q))),
  ],
  [
    "answers another question than",
    "BAD_MESSAGE",
    () => "request 2",
    (p, q) => p.send(answer(2, empty(q))),
  ],
  [
    "sends two descriptors to",
    "BAD_MESSAGE",
    () => "2 descriptors",
    (p, q) => p.send(answer(q.request, empty(q)), [p.memoryFd, p.memoryFd]),
  ],
];

const CASES: readonly Case[] = [
  ...QUESTIONS.flatMap((question) =>
    LIES.map(([name, code, why, say]): Case => ({
      name: `${name} ${question.name}`,
      code,
      why: why(question),
      say: (peer) => {
        says(...question.before)(peer);
        say(peer, question);
      },
      ...question.ask === undefined ? {} : { ask: question.ask },
    }))
  ),
  greets("says nothing", "TIMEOUT", "to answer GET_FEATURES", () => {}),
  greets(
    "says half an answer",
    "TIMEOUT",
    "to answer GET_FEATURES",
    (p) => p.send(answer(GET_FEATURES, u64s(1)).subarray(0, 15)),
  ),
  greets(
    "says half a header",
    "TIMEOUT",
    "to answer GET_FEATURES",
    (p) => p.send(answer(GET_FEATURES, u64s(1)).subarray(0, 5)),
  ),
  greets("answers with version 0", "BAD_MESSAGE", "version 0", says(raw(1, u64s(1), { flags: 4 }))),
  greets("answers with version 3", "BAD_MESSAGE", "version 3", says(raw(1, u64s(1), { flags: 7 }))),
  greets("asks instead of answering", "BAD_MESSAGE", "request 1", says(raw(1, u64s(1)))),
  greets("answers another question", "BAD_MESSAGE", "request 2", says(answer(2, u64s(1)))),
  greets(
    "answers a request that there is not",
    "BAD_MESSAGE",
    "request 99",
    says(answer(99, u64s(1))),
  ),
  greets("answers with 4 bytes", "BAD_MESSAGE", "4 bytes", says(answer(1, u32s(1)))),
  greets("answers with nothing", "BAD_MESSAGE", "0 bytes", says(answer(1, new Uint8Array(0)))),
  greets("answers with 16 bytes", "BAD_MESSAGE", "16 bytes", says(answer(1, u64s(1, 2)))),
  greets(
    "answers with 2^32-1 bytes",
    "BAD_MESSAGE",
    "4294967295 bytes",
    says(raw(1, new Uint8Array(0), { flags: 5, size: 0xffffffff })),
  ),
  greets(
    "answers with a descriptor",
    "BAD_MESSAGE",
    "1 descriptors",
    (p) => p.send(answer(GET_FEATURES, u64s(VERSION_1)), [p.memoryFd]),
  ),
  greets(
    "answers with 32 descriptors",
    "BAD_MESSAGE",
    "32 descriptors",
    (p) => p.send(answer(GET_FEATURES, u64s(VERSION_1)), Array(32).fill(p.memoryFd)),
  ),
  greets(
    "has protocol features of 4 bytes",
    "BAD_MESSAGE",
    "4 bytes",
    says(answer(1, u64s(VERSION_1 + PROTOCOL)), answer(GET_PROTOCOL_FEATURES, u32s(1))),
  ),
  greets(
    "refuses its owner",
    "COMMAND_REFUSED",
    "SET_OWNER",
    says(
      ...offer(REPLY_ACK),
      answer(SET_OWNER, u64s(1)),
    ),
  ),
  greets(
    "acknowledges what nobody asked of it",
    "BAD_MESSAGE",
    "request 16",
    says(
      ...offer(REPLY_ACK),
      answer(SET_PROTOCOL_FEATURES, u64s(0)),
    ),
  ),
  greets(
    "has 2^64-1 queues",
    "BAD_MESSAGE",
    "at most 2^53-1",
    says(
      ...offer(MQ),
      answer(GET_QUEUE_NUM, new Uint8Array(8).fill(0xff)),
    ),
  ),
  configures("has no configuration", after(0)),
  configures("refuses its configuration", after(CONFIG, answer(GET_CONFIG, new Uint8Array(0)))),
  configures(
    "has less configuration than was asked for",
    after(CONFIG, answer(GET_CONFIG, joinBytes(u32s(0, 2, 0), new Uint8Array(2)))),
  ),
  configures(
    "has more configuration than was asked for",
    after(CONFIG, answer(GET_CONFIG, joinBytes(u32s(0, 8, 0), new Uint8Array(8)))),
  ),
  configures(
    "has more configuration than there may be",
    after(CONFIG, answer(GET_CONFIG, new Uint8Array(269))),
    "BAD_MESSAGE",
    "269 bytes",
  ),
  asks(
    "is asked for more configuration than there may be",
    "CONFIG_ACCESS",
    "bytes that",
    after(CONFIG),
    (l) => l.readConfig(256, 4),
  ),
  asks(
    "answers the same twice",
    "BAD_MESSAGE",
    "request 1",
    after(CONFIG, answer(1, u64s(1)), answer(1, u64s(1))),
    (l) => {
      l.readFeatures();
      l.readConfig(0, 4);
    },
  ),
  asks(
    "says where a queue stands in 4 bytes",
    "BAD_MESSAGE",
    "4 bytes",
    after(0, answer(GET_VRING_BASE, u32s(0))),
    (l) => {
      l.setUpQueue(0, { size: 8, desc: 0, driver: 0, device: 0, packed: false });
      l.stopQueue(0);
    },
  ),
  asks(
    "refuses the status",
    "COMMAND_REFUSED",
    "SET_STATUS",
    after(REPLY_ACK | STATUS, answer(SET_STATUS, u64s(7))),
    (l) => l.writeStatus(1),
  ),
  asks(
    "says its status in 16 bytes",
    "BAD_MESSAGE",
    "16 bytes",
    after(STATUS, answer(GET_STATUS, u64s(1, 2))),
    (l) => l.readStatus(),
  ),
  asks(
    "never says its status",
    "TIMEOUT",
    "to answer GET_STATUS",
    after(STATUS),
    (l) => l.readStatus(),
  ),
];

/** A hostile back end, and how a front end finds it. */
function meet(libc: Libc, deadline: number): {
  readonly peer: RawPeer;
  readonly options: ConstructorParameters<typeof VhostUserFrontEnd>[2];
} {
  const [fd, theirs] = libc.socketPair();
  const peer = new RawPeer(libc, theirs);
  const memory = { fd: peer.memoryFd, guest: 0, user: 0x1000, size: 1 << 20 };
  return { peer, options: { fd, path: "/hostile", deviceId: 2, deadline, memory } };
}

/** Runs something with a poller of its own, and counts the descriptors that are left. */
async function costsNothing(
  run: (libc: Libc, poller: Poller) => void | Promise<void>,
): Promise<void> {
  const libc = new Libc();
  const before = openDescriptors();
  {
    await using poller = new Poller(libc);
    await run(libc, poller);
  }
  assertEquals(openDescriptors(), before);
  libc.dispose();
}

Deno.test("vhost-user: a hostile back end is a typed error, and costs nothing", async (t) => {
  for (const { name, code, why, say, ask } of CASES) {
    await t.step(name, () =>
      costsNothing((libc, poller) => {
        const { peer, options } = meet(libc, 50);
        using _ = peer;
        say(peer);
        const error = assertThrows(() => {
          using lease = new VhostUserFrontEnd(libc, poller, options);
          assert(ask !== undefined, "the greeting succeeded");
          ask(lease);
        }, VireoError);
        assertEquals([error.code, error.message.includes(why)], [code, true], error.message);
      }));
  }
});

/** What cannot be done without a back end, once a queue was set up. */
const GONE: readonly ((lease: VhostUserLease) => unknown)[] = [
  (lease) => lease.readFeatures(),
  (lease) => lease.readStatus(),
  (lease) => lease.writeStatus(1),
  (lease) => lease.setUpQueue(1, QUEUE),
  (lease) => lease.enableQueue(0),
  (lease) => lease.stopQueue(0),
  (lease) => lease.reset(),
];

Deno.test("vhost-user: a back end that leaves or speaks unasked is seen without a question", async (t) => {
  for (
    const [name, act] of [
      ["leaves", (peer: RawPeer) => peer[Symbol.dispose]()],
      ["leaves in the middle of a message", (peer: RawPeer) => {
        peer.send(answer(GET_FEATURES, u64s(1)).subarray(0, 7), [peer.memoryFd]);
        peer[Symbol.dispose]();
      }],
      ["speaks unasked", (peer: RawPeer) => void peer.send(answer(GET_FEATURES, u64s(1)))],
    ] as const
  ) {
    await t.step(name, () =>
      costsNothing(async (libc, poller) => {
        const { peer, options } = meet(libc, 50);
        using _ = peer;
        after(0)(peer);
        using lease = new VhostUserFrontEnd(libc, poller, options);
        lease.setUpQueue(0, QUEUE);
        const seen = lease.configInterrupt.wait({
          signal: AbortSignal.timeout(10_000),
          ready: () => false,
        });
        act(peer);
        await seen;
        await wait("the end to be known", () => !lease.present);
        for (const ask of GONE) {
          const error = assertThrows(() => ask(lease), VireoError, undefined, String(ask));
          assertEquals(error.code, "DEVICE_REMOVED", String(ask));
        }
        // That queue is not there any more.
        lease.stopQueue(0);
      }));
  }
});

/** The socket on which a back end may ask: the last descriptor of the greeting that it was sent. */
function askerOf(libc: Libc, peer: RawPeer): RawPeer {
  const fds: number[] = [];
  assert(new MessageSocket(libc, peer.fd, 1 << 16).receive(new Uint8Array(4096), fds) > 0);
  const asks = new RawPeer(libc, fds.pop()!);
  for (const fd of fds) libc.close(fd);
  return asks;
}

Deno.test("vhost-user: what a back end asks is answered if it wants an answer", () =>
  costsNothing(async (libc, poller) => {
    const { peer, options } = meet(libc, 50);
    using _ = peer;
    after(BACKEND_REQ)(peer);
    using lease = new VhostUserFrontEnd(libc, poller, options);
    using asks = askerOf(libc, peer);
    const told = (): Promise<void> =>
      lease.configInterrupt.wait({ signal: AbortSignal.timeout(10_000), ready: () => false });
    const first = told();
    const [CONFIG_CHANGE, NEED_REPLY] = [2, 8];
    asks.send(raw(CONFIG_CHANGE));
    await first;
    const second = told();
    asks.send(raw(CONFIG_CHANGE, undefined, { flags: 1 | NEED_REPLY }));
    await second;
    // The only answer is the second one's.
    assertEquals(await asks.receive(), answer(CONFIG_CHANGE, u64s(0)));
    // It may end that socket alone; the last question on it arrives.
    const third = told();
    asks.send(raw(CONFIG_CHANGE));
    asks[Symbol.dispose]();
    await third;
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert(lease.present);
  }));

Deno.test("vhost-user: a back end that asks what there is not is gone", async (t) => {
  for (
    const [name, ask] of [
      ["another question", (asks: RawPeer) => asks.send(raw(99))],
      ["a descriptor with it", (asks: RawPeer) => asks.send(raw(2), [asks.memoryFd])],
    ] as const
  ) {
    await t.step(name, () =>
      costsNothing(async (libc, poller) => {
        const { peer, options } = meet(libc, 50);
        using _ = peer;
        after(BACKEND_REQ)(peer);
        using lease = new VhostUserFrontEnd(libc, poller, options);
        using asks = askerOf(libc, peer);
        ask(asks);
        await wait("the end to be known", () => !lease.present);
      }));
  }
});

Deno.test("vhost-user: an honest back end gets the memory once, and each queue whole", () =>
  costsNothing(async (libc, poller) => {
    const { peer, options } = meet(libc, 50);
    using _ = peer;
    after(0)(peer);
    const lease = new VhostUserFrontEnd(libc, poller, options);
    const queue = { size: 8, desc: 0x1000, driver: 0x2000, device: 0x3000, packed: false };
    lease.writeFeatures(FeatureSet.of(32));
    lease.setUpQueue(0, queue);
    lease.enableQueue(0);
    lease.setUpQueue(1, { ...queue, size: 4, packed: true });
    const [SET_FEATURES, MEM_TABLE, NUM, ADDR, BASE, KICK, CALL, ENABLE] = [
      2,
      5,
      8,
      9,
      10,
      12,
      13,
      18,
    ];
    // The front end's own address of a guest's 0 is 0x1000.
    const addresses = [0, 0x2000, 0, 0x4000, 0, 0x3000, 0, 0, 0];
    const memory = [MEM_TABLE, 1, 0, 0, 0, 1 << 20, 0, 0x1000, 0, 0, 0];
    const all = [
      // VERSION_1, and that there are protocol features.
      [SET_FEATURES, PROTOCOL, 1],
      memory,
      [NUM, 0, 8],
      [BASE, 0, 0],
      [ADDR, 0, ...addresses],
      [CALL, 0, 0],
      [KICK, 0, 0],
      [ENABLE, 0, 1],
      [NUM, 1, 4],
      // A packed ring begins with both wrap counters at 1.
      [BASE, 1, 0x8000_8000],
      [ADDR, 1, ...addresses],
      [CALL, 1, 0],
      [KICK, 1, 0],
    ];
    lease[Symbol.dispose]();
    const told: number[][] = [];
    // What has a descriptor comes by itself.
    for (let bytes; (bytes = await peer.receive()) !== undefined;) told.push(...requestsIn(bytes));
    assertEquals(told.slice(told.findIndex(([request]) => request === SET_FEATURES)), all);
  }));
