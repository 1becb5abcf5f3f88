// The driver against servers that lie, keep requests, or answer late.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { FeatureSet, VireoError } from "@vireo/hal";
import {
  type Chain,
  type ConfigWidth,
  type DeviceContext,
  type DeviceModel,
  EmulatedMachine,
} from "@vireo/emu";
import { Bus } from "../../drivers/bus/bus.ts";
import { type P9, p9Driver } from "../../drivers/p9/mod.ts";

const SOON = { deadline: 5000 };

/** A request as the server sees it. */
interface Request {
  readonly chain: Chain;
  readonly type: number;
  readonly tag: number;
  readonly body: Uint8Array;
}

/** What to write, and the used length to claim if it is another. */
type Reply = { readonly bytes: Uint8Array; readonly used?: number } | undefined;

const QID = [0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
const u32 = (value: number): number[] => [0, 8, 16, 24].map((bit) => value >>> bit & 255);

function reply(type: number, tag: number, body: readonly number[]): Uint8Array {
  return Uint8Array.from([...u32(body.length + 7), type, tag & 255, tag >> 8, ...body]);
}

/** Answers as a test wants, and else as a server with one empty directory. */
class Server implements DeviceModel {
  readonly name = "9p";
  readonly deviceId = 9;
  readonly features: FeatureSet;
  readonly queues = [{ name: "requests", maxSize: 128 }];
  readonly configSize = 8;
  readonly seen: Request[] = [];
  #context: DeviceContext | undefined;
  readonly #answer: (request: Request) => Reply | "default";
  readonly #tagLength: number;

  constructor(answer: (request: Request) => Reply | "default", tagLength = 2, tagged = true) {
    this.#answer = answer;
    this.#tagLength = tagLength;
    this.features = tagged ? FeatureSet.of(0) : FeatureSet.NONE;
  }

  readConfig(offset: number, width: ConfigWidth): number {
    const config = [this.#tagLength & 255, this.#tagLength >> 8, 0x68, 0x69, 0, 0, 0, 0];
    let value = 0;
    for (let i = 0; i < width; i++) value |= (config[offset + i] ?? 0) << 8 * i;
    return value;
  }

  activate(context: DeviceContext): void {
    this.#context = context;
  }

  notify(): void {
    const queue = this.#context?.queue(0);
    for (let chain = queue?.pop(); chain !== undefined; chain = queue?.pop()) {
      const bytes = new Uint8Array(chain.readableLength);
      chain.read(bytes);
      const tag = bytes[5]! | bytes[6]! << 8;
      const request = { chain, type: bytes[4]!, tag, body: bytes.slice(7) };
      this.seen.push(request);
      const answer = this.#answer(request);
      if (answer !== undefined) {
        this.answer(request, answer === "default" ? usual(request) : answer);
      }
    }
  }

  answer({ chain }: Request, { bytes, used = bytes.length }: Exclude<Reply, undefined>): void {
    const queue = this.#context?.queue(0);
    chain.write(bytes);
    queue?.push(chain, used);
    queue?.signal();
  }

  reset(): void {
    this.#context = undefined;
  }

  [Symbol.dispose](): void {}
}

/** What a server with one empty directory answers. */
function usual({ type, tag, body }: Request): Exclude<Reply, undefined> {
  const version = [8, 0, ...new TextEncoder().encode("9P2000.L")];
  const count = body[8]! | body[9]! << 8;
  const bodies: Readonly<Record<number, number[]>> = {
    100: [...body.subarray(0, 4), ...version],
    104: QID,
    110: [count, 0, ...Array<number[]>(type === 110 ? count : 0).fill(QID).flat()],
    12: [...QID, 0, 0, 0, 0],
    24: [...Array<number>(8).fill(0), ...QID, 0, 0x40, 0, 0, ...Array<number>(128).fill(0)],
    40: [0, 0, 0, 0],
    108: [],
    116: [0, 0, 0, 0],
    118: [...u32(0)],
    120: [],
  };
  return { bytes: reply(type + 1, tag, bodies[type] ?? []) };
}

async function boot(model: DeviceModel): Promise<AsyncDisposable & { p9: P9; bus: Bus }> {
  const machine = EmulatedMachine.create({ devices: [model] });
  const bus = new Bus();
  await bus.registerDriver(p9Driver);
  await bus.addPlatform(machine);
  return {
    p9: bus.get(p9Driver)!,
    bus,
    async [Symbol.asyncDispose]() {
      await bus[Symbol.asyncDispose]();
      await machine[Symbol.asyncDispose]();
    },
  };
}

type Run = (p9: P9) => Promise<unknown>;
const list: Run = async (p9) => await (await p9.attach(SOON)).list("", SOON);
const stat: Run = async (p9) => await (await p9.attach(SOON)).stat("a/b", SOON);
const read: Run = async (p9) => {
  const file = await (await p9.attach(SOON)).open("f", 0, SOON);
  return await file.read(0, 10, SOON);
};
const write: Run = async (p9) => {
  const file = await (await p9.attach(SOON)).open("f", 1, SOON);
  await file.write(0, new Uint8Array(10), SOON);
};
/** One entry of 26 bytes, with a name of two letters. */
const entry = (
  offset: number,
): number[] => [...QID, offset, ...Array<number>(7).fill(0), 8, 2, 0, 97, 98];

const LIES: readonly [
  what: string,
  type: number,
  lie: (r: Request) => Reply,
  code: string,
  run: Run,
][] = [
  [
    "gives nothing back",
    24,
    ({ tag }) => ({ bytes: reply(25, tag, []), used: 0 }),
    "BAD_LENGTH",
    stat,
  ],
  ["says another length", 24, (r) => ({ ...usual(r), used: 20 }), "BAD_LENGTH", stat],
  ["leaves fields out", 24, ({ tag }) => ({ bytes: reply(25, tag, QID) }), "BAD_LENGTH", stat],
  ["answers another tag", 24, (r) => usual({ ...r, tag: r.tag + 1 }), "BAD_STATUS", stat],
  ["answers another type", 24, (r) => usual({ ...r, type: 12 }), "BAD_STATUS", stat],
  [
    "has an error without a number",
    24,
    ({ tag }) => ({ bytes: reply(7, tag, []) }),
    "BAD_LENGTH",
    stat,
  ],
  ["has an error 0", 24, ({ tag }) => ({ bytes: reply(7, tag, u32(0)) }), "IO_ERROR", stat],
  [
    "finds more than was asked",
    110,
    ({ tag }) => ({
      bytes: reply(111, tag, [3, 0, ...QID, ...QID]),
    }),
    "BAD_LENGTH",
    stat,
  ],
  [
    "reads more than was asked",
    116,
    ({ tag }) => ({
      bytes: reply(117, tag, [...u32(11), 1, 2, 3]),
    }),
    "BAD_LENGTH",
    read,
  ],
  [
    "reads less than it says",
    116,
    ({ tag }) => ({ bytes: reply(117, tag, [...u32(10), 1, 2, 3]) }),
    "BAD_LENGTH",
    read,
  ],
  ["writes nothing", 118, usual, "BAD_LENGTH", write],
  [
    "writes more than was sent",
    118,
    ({ tag }) => ({ bytes: reply(119, tag, u32(11)) }),
    "BAD_LENGTH",
    write,
  ],
  [
    "lists more than fits",
    40,
    ({ tag }) => ({ bytes: reply(41, tag, u32(1 << 30)) }),
    "BAD_LENGTH",
    list,
  ],
  [
    "cuts an entry",
    40,
    ({ tag }) => ({
      bytes: reply(41, tag, [...u32(20), ...entry(1).slice(0, 20)]),
    }),
    "BAD_LENGTH",
    list,
  ],
  [
    "lists without end",
    40,
    ({ tag }) => ({
      bytes: reply(41, tag, [...u32(26), ...entry(5)]),
    }),
    "BAD_STATUS",
    list,
  ],
  [
    "speaks another dialect",
    100,
    ({ tag }) => ({
      bytes: reply(101, tag, [0, 32, 0, 0, 7, 0, ...new TextEncoder().encode("unknown")]),
    }),
    "UNSUPPORTED",
    list,
  ],
  [
    "wants small messages",
    100,
    ({ tag, body }) => ({
      bytes: reply(101, tag, [255, 15, 0, 0, ...body.subarray(4)]),
    }),
    "OUT_OF_RANGE",
    list,
  ],
  [
    "wants larger messages",
    100,
    ({ tag, body }) => ({
      bytes: reply(101, tag, [...u32(1 << 30), ...body.subarray(4)]),
    }),
    "OUT_OF_RANGE",
    list,
  ],
];

Deno.test("9p: a server that writes a part of what was sent gets the rest, from there on", async () => {
  const written: number[] = [];
  const counts: number[] = [];
  const server = new Server(({ type, tag, body }) => {
    if (type !== 118) return "default";
    const [at, count] = [body[4]!, body[12]!];
    counts.push(count);
    for (let i = 0; i < 4 && i < count; i++) written[at + i] = body[16 + i]!;
    return { bytes: reply(119, tag, u32(Math.min(4, count))) };
  });
  await using rig = await boot(server);
  const file = await (await rig.p9.attach(SOON)).open("f", 1, SOON);
  await file.write(2, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9), SOON);
  assertEquals([counts, written.slice(2)], [[9, 5, 1], [1, 2, 3, 4, 5, 6, 7, 8, 9]]);
});

Deno.test("9p: a fid is used again once the server let it go, or refused to", async () => {
  for (const refuses of [false, true]) {
    const server = new Server(({ type, tag }) =>
      refuses && type === 120 ? { bytes: reply(7, tag, u32(5)) } : "default"
    );
    await using rig = await boot(server);
    const tree = await rig.p9.attach(SOON);
    for (let i = 0; i < 5; i++) {
      await tree.stat("a/b", SOON);
      await new Promise((resolve) => setTimeout(resolve));
    }
    // Twalk has the fid that it begins at, and the new one.
    const fids = server.seen.filter(({ type }) => type === 110).map(({ body }) => body[4]);
    assertEquals(fids, Array(5).fill(fids[0]));
  }
});

for (const [what, type, lie, code, run] of LIES) {
  Deno.test(`9p: a server that ${what} is caught`, async () => {
    const server = new Server((request) => request.type === type ? lie(request) : "default");
    await using rig = await boot(server);
    const error = await assertRejects(() => run(rig.p9), VireoError);
    assertEquals(error.code, code, error.message);
  });
}

Deno.test("9p: an entry's kind is told by its type or by its id, whichever says one", async () => {
  const [DIRECTORY, LINK, PLAIN] = [0x80, 2, 0];
  const CASES = [
    [0, DIRECTORY, "directory"],
    [4, PLAIN, "directory"],
    [0, LINK, "symlink"],
    [10, PLAIN, "symlink"],
    [8, PLAIN, "file"],
    [0, PLAIN, "file"],
    [6, PLAIN, "other"],
  ] as const;
  const entries = CASES.flatMap(([type, kind], i) => {
    const [, ...rest] = QID;
    return [kind, ...rest, i + 1, ...Array<number>(7).fill(0), type, 1, 0, 97 + i];
  });
  let listed = false;
  const server = new Server(({ type, tag }) => {
    if (type !== 40 || listed) return "default";
    listed = true;
    return { bytes: reply(41, tag, [...u32(entries.length), ...entries]) };
  });
  await using rig = await boot(server);
  const found = await (await rig.p9.attach(SOON)).list("", SOON);
  assertEquals(
    found.map(({ name, kind }) => [name, kind]),
    CASES.map(([, , kind], i) => [
      String.fromCharCode(97 + i),
      kind,
    ]),
  );
});

Deno.test("9p: a file that is larger by far than it is does not take memory", async () => {
  const huge = (request: Request): Reply => {
    const { bytes } = usual(request);
    bytes[7 + 8 + 13] = 0;
    bytes[7 + 8 + 13 + 1] = 0x80;
    bytes.fill(0xff, 7 + 49, 7 + 56);
    return { bytes };
  };
  const server = new Server((request) => request.type === 24 ? huge(request) : "default");
  await using rig = await boot(server);
  const tree = await rig.p9.attach(SOON);
  assertEquals((await tree.stat("f", SOON)).size, 2 ** 56 - 1);
  assertEquals(await tree.readFile("f", SOON), new Uint8Array(0));
});

Deno.test("9p: a device without a tag, or with one without end, is not driven", async () => {
  for (
    const server of [
      new Server(() => "default", 2, false),
      new Server(() => "default", 65535),
    ]
  ) {
    const machine = EmulatedMachine.create({ devices: [server] });
    await using bus = new Bus();
    await bus.registerDriver(p9Driver);
    const [device] = await bus.addPlatform(machine);
    const { code } = device!.error as VireoError;
    assert(["UNSUPPORTED", "CONFIG_INVALID"].includes(code), code);
    await bus[Symbol.asyncDispose]();
    await machine[Symbol.asyncDispose]();
  }
});

Deno.test("9p: a walk that was given up and worked is undone; its tag rests until Rflush", async () => {
  const kept: Request[] = [];
  const server = new Server((request) => {
    if (request.type !== 108 && !(request.type === 110 && kept.length === 0)) return "default";
    kept.push(request);
    return undefined;
  });
  await using rig = await boot(server);
  const tree = await rig.p9.attach(SOON);
  const abort = new AbortController();
  const waiting = assertRejects(() => tree.stat("a", { signal: abort.signal }), Error, "enough");
  while (kept.length < 1) await Promise.resolve();
  abort.abort(new Error("enough"));
  await waiting;
  while (kept.length < 2) await Promise.resolve();
  const [walk, flush] = kept as [Request, Request];
  assertEquals([flush.type, flush.body[0]! | flush.body[1]! << 8], [108, walk.tag]);
  const fid = walk.body.slice(4, 8);
  // It worked all the same: the server has the fid now.
  const before = server.seen.length;
  server.answer(walk, usual(walk));
  while (!server.seen.slice(before).some(({ type }) => type === 120)) await Promise.resolve();
  const clunk = server.seen.slice(before).find(({ type }) => type === 120)!;
  assertEquals(clunk.body, fid);
  for (let i = 0; i < 20; i++) await tree.stat("b", SOON);
  const used = server.seen.slice(before).map(({ tag }) => tag);
  assert(!used.includes(walk.tag) && !used.includes(flush.tag));
  server.answer(flush, usual(flush));
  await tree.stat("b", SOON);
  await Promise.all(Array.from({ length: 20 }, () => tree.stat("b", SOON)));
  const later = server.seen.slice(before + used.length).map(({ tag }) => tag);
  assert(later.includes(walk.tag), "the tag is used again");
});

Deno.test("9p: memory of data that was given up goes nowhere else before it came back", async () => {
  const kept: Request[] = [];
  const server = new Server((request) => {
    if (request.type !== 116) return "default";
    kept.push(request);
    return undefined;
  });
  await using rig = await boot(server);
  const tree = await rig.p9.attach(SOON);
  const file = await tree.open("f", 0, SOON);
  // All eight regions are with the device, and are not given to the ninth, although nobody waits.
  const abort = new AbortController();
  const eight = Array.from({ length: 8 }, () => file.read(0, 10, { signal: abort.signal }));
  while (kept.length < 8) await Promise.resolve();
  abort.abort(new Error("enough"));
  for (const one of eight) await assertRejects(() => one, Error, "enough");
  const ninth = await assertRejects(() => file.read(0, 10, { deadline: 20 }), VireoError);
  assertEquals([ninth.code, kept.length], ["TIMEOUT", 8]);
  const last = file.read(0, 3, SOON);
  const [first] = kept as [Request];
  server.answer(first, { bytes: reply(117, first.tag, [...u32(3), 9, 9, 9]) });
  while (kept.length < 9) await Promise.resolve();
  const answer = { bytes: reply(117, kept[8]!.tag, [...u32(3), 1, 2, 3]) };
  server.answer(kept[8]!, answer);
  assertEquals(await last, Uint8Array.of(1, 2, 3));
});

Deno.test("9p: the caller of a region hears when the device gives it back, not before", async () => {
  const kept: Request[] = [];
  const server = new Server((request) => {
    if (request.type !== 116) return "default";
    kept.push(request);
    return undefined;
  });
  await using rig = await boot(server);
  const file = await (await rig.p9.attach(SOON)).open("f", 0, SOON);
  using region = rig.bus.devices[0]!.dma.alloc(4096);
  const abort = new AbortController();
  let returned = 0;
  const onReturned = (): void => void returned++;
  const place = { offset: 0, length: 4096, onReturned, signal: abort.signal };
  const reading = assertRejects(() => file.readInto(region, place), Error, "enough");
  while (kept.length < 1) await Promise.resolve();
  abort.abort(new Error("enough"));
  await reading;
  assertEquals(returned, 0);
  server.answer(kept[0]!, { bytes: reply(117, kept[0]!.tag, [...u32(2), 1, 2]) });
  while (returned < 1) await Promise.resolve();
  const again = file.readInto(region, { offset: 0, length: 4096, onReturned, ...SOON });
  while (kept.length < 2) await Promise.resolve();
  server.answer(kept[1]!, { bytes: reply(117, kept[1]!.tag, u32(0)) });
  assertEquals([await again, returned], [0, 2]);
});

Deno.test("9p: a server that says nothing is waited for no longer than one likes", async () => {
  let kept: Request | undefined;
  const server = new Server((request) => {
    if (request.type !== 100) return "default";
    kept = request;
    return undefined;
  });
  await using rig = await boot(server);
  const late = await assertRejects(() => rig.p9.attach({ deadline: 10 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
  const abort = new AbortController();
  const given = assertRejects(() => rig.p9.attach({ signal: abort.signal }), Error, "enough");
  abort.abort(new Error("enough"));
  await given;
  const attaching = rig.p9.attach(SOON);
  server.answer(kept!, usual(kept!));
  await using tree = await attaching;
  assertEquals(await tree.list("", SOON), []);
});
