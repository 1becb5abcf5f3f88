import { assert, assertEquals, assertThrows } from "@std/assert";
import { FeatureSet, type TraceDetail, VireoError } from "@vireo/hal";
import {
  joinBytes,
  Libc,
  u64s,
  VhostUserRequest as R,
  VhostUserSocket,
} from "@vireo/hal/vhost-user";
import { EchoModel } from "../../testing/echo_model.ts";
import { RngDevice } from "../../devices/rng/mod.ts";
import type { DeviceAnswer } from "./device.ts";
import { type ServerEvent, VhostUserServer, type VhostUserServerOptions } from "./server.ts";

function openFiles(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** A folder, and servers and front ends at a socket in it. */
class Rig implements AsyncDisposable {
  readonly folder: string = Deno.makeTempDirSync({ prefix: "vireo-" });
  readonly path = `${this.folder}/s.sock`;
  readonly libc = new Libc();
  readonly events: ServerEvent[] = [];
  readonly #changed = new Set<() => void>();

  serve(more: Partial<VhostUserServerOptions> = {}): VhostUserServer {
    return new VhostUserServer({
      model: new RngDevice({ random: (into) => void into.fill(1) }),
      path: this.path,
      capacity: 1 << 24,
      event: (event) => {
        this.events.push(event);
        for (const changed of this.#changed) changed();
      },
      ...more,
    });
  }

  connect(): VhostUserSocket {
    return new VhostUserSocket(
      this.libc,
      this.libc.connect(this.path),
      "back end",
      () => ({ name: "an answer", min: 0, max: 4096 }),
    );
  }

  kinds(): string[] {
    return this.events.map(({ kind }) => kind);
  }

  /** Resolves once there were so many events. */
  until(count: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => reject(new Error(`Timed out after 5000 ms: ${this.kinds()}`)),
      5000,
    );
    const changed = (): void => {
      if (this.events.length >= count) resolve();
    };
    this.#changed.add(changed);
    changed();
    return promise.finally(() => clearTimeout(timer));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.libc.dispose();
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test("VhostUserServer lets go of its files and its socket at the end", async () => {
  await using rig = new Rig();
  const serve = async (): Promise<void> => {
    await using server = rig.serve();
    assertEquals(server.connected, false);
    assertEquals([...Deno.readDirSync(rig.folder)].map(({ name }) => name), ["s.sock"]);
  };
  // What the first one loads stays.
  await serve();
  const before = openFiles();
  for (let i = 0; i < 3; i++) await serve();
  assertEquals(openFiles(), before);
  assertEquals([...Deno.readDirSync(rig.folder)], []);
});

Deno.test("VhostUserServer serves one front end after the other, and leaves the last one when it ends", async () => {
  await using rig = new Rig();
  const server = rig.serve();
  let over = false;
  const ended = server.ended.then(() => over = true);
  {
    using first = rig.connect();
    using _second = rig.connect();
    await rig.until(1);
    assertEquals([rig.kinds(), server.connected], [["connected"], true]);
    first.send(R.SET_STATUS, 0, u64s(3));
    first[Symbol.dispose]();
    await rig.until(3);
    assertEquals(rig.kinds(), ["connected", "disconnected", "connected"]);
    assertEquals(
      [server.device.hosted.status, over],
      [0, false],
      "the next one finds it as at first",
    );
    // Several messages are there when the server ends: none is looked at any more.
    const closed = server[Symbol.asyncDispose]();
    assertEquals([server.connected, rig.kinds().length, over], [false, 4, false]);
    await closed;
  }
  await server[Symbol.asyncDispose]();
  await ended;
  assertEquals(rig.kinds().slice(3), ["disconnected"]);
  assertEquals([...Deno.readDirSync(rig.folder)], []);
});

Deno.test("VhostUserServer with 'once' ends with the first front end", async () => {
  await using rig = new Rig();
  await using server = rig.serve({ once: true });
  rig.connect()[Symbol.dispose]();
  await server.ended;
  using _late = rig.connect();
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals([rig.kinds(), server.connected], [["connected", "disconnected"], false]);
});

Deno.test("VhostUserServer carries messages out in order, and leaves a front end for a wrong one", async () => {
  await using rig = new Rig();
  await using server = rig.serve();
  using peer = rig.connect();
  for (const size of [3, 5]) {
    peer.send(R.SET_VRING_NUM, 0, Uint8Array.from([0, 0, 0, 0, size, 0, 0, 0]));
  }
  peer.send(R.SET_VRING_NUM, 0, u64s(16 * 2 ** 32));
  await rig.until(3);
  assertEquals(rig.kinds(), ["connected", "refused", "refused"]);
  peer.send(99, 0, new Uint8Array(0));
  await rig.until(4);
  const last = rig.events.at(-1);
  assertEquals(last?.kind === "disconnected" && last.reason?.includes("request 99"), true);
  assertEquals(server.connected, false);
});

Deno.test("VhostUserServer takes the place of a socket at which nobody listens, and of nothing else", async () => {
  await using rig = new Rig();
  const stale = rig.libc.listen(rig.path);
  rig.libc.close(stale);
  const before = openFiles();
  {
    await using server = rig.serve();
    const error = assertThrows(() => rig.serve(), VireoError, "another program listens there");
    assertEquals(error.code, "HOST_ERROR");
    // The one that listens is not disturbed: it takes the look for a front end that left.
    await rig.until(2);
    assertEquals([rig.kinds(), server.connected], [["connected", "disconnected"], false]);
  }
  assertEquals(openFiles(), before);
  Deno.writeTextFileSync(rig.path, "a file");
  assertThrows(() => rig.serve(), VireoError);
  assertEquals([Deno.readTextFileSync(rig.path), openFiles()], ["a file", before]);
});

Deno.test("VhostUserServer tells a front end of changes on the socket that it gave last, if it agreed to that", async () => {
  await using rig = new Rig();
  const told: TraceDetail[] = [];
  const trace = {
    time: 0,
    emit: (detail: TraceDetail) => void told.push(detail),
    asked: () => ({ request: undefined }),
    answered: () => ({ request: undefined }),
  };
  const model = new EchoModel();
  await using server = rig.serve({ model, trace });
  using peer = rig.connect();
  await rig.until(1);
  const { hosted } = server.device;
  const change = (): unknown => {
    hosted.configChanged();
    const last = told.at(-1);
    return last?.kind === "change" ? last.unsent : last;
  };
  /** Resolves once all that was sent was looked at. */
  const looked = async (): Promise<void> => {
    const { length } = rig.events;
    peer.send(R.SET_VRING_NUM, 0, u64s(0));
    await rig.until(length + 1);
  };
  const sockets = [0, 1].map(() => rig.libc.socketPair());
  const ends = sockets.map(([end]) =>
    new VhostUserSocket(rig.libc, end, "back end", () => ({ name: "a change", min: 0, max: 0 }))
  );
  const heard = (i: number): number | undefined => {
    try {
      return ends[i]!.take()?.request;
    } catch {
      return undefined;
    }
  };
  hosted.negotiate(FeatureSet.of(32));
  hosted.activate();
  const none = "the front end takes no requests of the back end";
  assertEquals(change(), none);
  peer.send(R.SET_BACKEND_REQ_FD, 0, undefined, [sockets[0]![1]]);
  await looked();
  assertEquals([change(), heard(0)], [none, undefined], "it was not agreed on");
  // BACKEND_REQ is bit 5.
  peer.send(R.SET_PROTOCOL_FEATURES, 0, u64s(1 << 5));
  await looked();
  assertEquals([change(), heard(0)], [undefined, 2]);
  peer.send(R.SET_BACKEND_REQ_FD, 0, undefined, [sockets[1]![1]]);
  await looked();
  assertEquals([change(), heard(0), heard(1)], [undefined, undefined, 2]);
  // Whoever closes it hears nothing more.
  for (const [, end] of sockets) rig.libc.close(end);
  ends[1]![Symbol.dispose]();
  assertEquals(typeof change(), "string");
  assertEquals(change(), none);
  ends[0]![Symbol.dispose]();
});

Deno.test("VhostUserServer tells its trace of each message before it is carried out, or with its answer", async () => {
  await using rig = new Rig();
  const told: string[] = [];
  const trace = {
    time: 0,
    emit: (detail: TraceDetail) =>
      void (detail.kind === "message"
        ? told.push(`${detail.request} ${detail.text}`.trimEnd())
        : detail.kind === "fault" && told.push(detail.message)),
    asked: () => ({ request: undefined }),
    answered: () => ({ request: undefined }),
  };
  await using _server = rig.serve({ model: new EchoModel(), trace });
  {
    using peer = rig.connect();
    const part = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
    peer.send(R.GET_QUEUE_NUM);
    peer.send(R.SET_OWNER);
    peer.send(R.SET_FEATURES, 0, u64s(2 ** 32));
    peer.send(R.SET_PROTOCOL_FEATURES, 0, u64s(8));
    peer.send(R.SET_VRING_BASE, 0, part(0, 0, 0, 0, 7, 0, 0, 0));
    peer.send(R.GET_VRING_BASE, 0, part(0, 0, 0, 0, 0, 0, 0, 0));
    peer.send(R.SET_VRING_ENABLE, 0, part(0, 0, 0, 0, 0, 0, 0, 0));
    peer.send(R.SET_VRING_CALL, 0, u64s(0x100));
    peer.send(R.GET_CONFIG, 0, part(1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 9));
    peer.send(R.SET_STATUS, 0, u64s(3));
    peer.send(R.GET_STATUS);
    peer.send(R.SET_VRING_NUM, 0, part(0, 0, 0, 0, 3, 0, 0, 0));
    const regions = u64s(0x1000, 0x2000, 0, 0, 0x8000, 0x3000, 0, 0);
    peer.send(R.SET_MEM_TABLE, 0, joinBytes(part(2, 0, 0, 0, 0, 0, 0, 0), regions));
    await rig.until(3);
  }
  await rig.until(4);
  assertEquals(told, [
    "connected",
    "GET_QUEUE_NUM -> 1",
    "SET_OWNER",
    "SET_FEATURES 0x100000000",
    "SET_PROTOCOL_FEATURES REPLY_ACK",
    "SET_VRING_BASE queue 0, 7",
    "GET_VRING_BASE queue 0 -> 7",
    "SET_VRING_ENABLE queue 0 off",
    "SET_VRING_CALL queue 0, without a descriptor",
    "GET_CONFIG 2 bytes at 1 -> 0000",
    "SET_STATUS 0x3",
    "GET_STATUS -> 0x3",
    "SET_VRING_NUM queue 0, 3 descriptors",
    "Refused SET_VRING_NUM: Cannot give a queue this size (queue 0): saw 3, expected a power of two up to 1024",
    "SET_MEM_TABLE 2 regions, 0x1000+0x2000, 0x8000+0x3000",
    "Refused SET_MEM_TABLE: Cannot take a table of memory: saw 2 regions in 72 bytes with 0 descriptors, " +
    "expected at most 8 regions with a descriptor each",
    "disconnected",
  ]);
});

Deno.test("VhostUserServer leaves a front end once, also while it carries a request out", async () => {
  await using rig = new Rig();
  const server = rig.serve();
  using peer = rig.connect();
  await rig.until(1);
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<DeviceAnswer>();
  Object.assign(server.device, { handle: () => (asked.resolve(), answer.promise) });
  peer.send(R.GET_QUEUE_NUM);
  await asked.promise;
  const ended = server[Symbol.asyncDispose]();
  answer.resolve({ payload: u64s(1) });
  await ended;
  assertEquals(rig.kinds(), ["connected", "disconnected"]);
});

/** The flag of a request whose sender wants to know how it went, and that of an answer with the version. */
const [NEED_REPLY, REPLY] = [8, 4 | 1];
/** A wrong request without an answer, which comes behind others: its refusal says that they were looked at. */
const WRONG = [R.SET_VRING_NUM, 0, Uint8Array.of(0, 0, 0, 0, 3, 0, 0, 0)] as const;
const RIGHT = Uint8Array.of(0, 0, 0, 0, 8, 0, 0, 0);

/** All that the server sent. */
function answers(peer: VhostUserSocket): unknown[] {
  const all: unknown[] = [];
  for (let next = peer.take(); next !== undefined; next = peer.take()) {
    all.push([next.request, next.flags, ...next.payload]);
  }
  return all;
}

Deno.test("VhostUserServer says how a request went if it is asked to and that was agreed on, but for those with an answer", async () => {
  await using rig = new Rig();
  await using _server = rig.serve();
  using peer = rig.connect();
  const none = [0, 0, 0, 0, 0, 0, 0];
  const [ack, refused] = [[R.SET_VRING_NUM, REPLY, 0, ...none], [
    R.SET_VRING_NUM,
    REPLY,
    1,
    ...none,
  ]];
  // REPLY_ACK is bit 3.
  for (const [agreed, expected] of [[0, []], [8, [ack, refused]]] as const) {
    const { length } = rig.events;
    peer.send(R.SET_PROTOCOL_FEATURES, 0, u64s(agreed));
    peer.send(R.SET_VRING_NUM, 0, RIGHT);
    peer.send(R.SET_VRING_NUM, NEED_REPLY, RIGHT);
    peer.send(WRONG[0], NEED_REPLY, WRONG[2]);
    peer.send(R.GET_QUEUE_NUM, NEED_REPLY);
    // A configuration is refused by an answer without one.
    peer.send(R.GET_CONFIG, 0, Uint8Array.of(0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1));
    peer.send(...WRONG);
    await rig.until(length + (length === 0 ? 4 : 3));
    const more = [[R.GET_QUEUE_NUM, REPLY, 1, ...none], [R.GET_CONFIG, REPLY]];
    assertEquals(answers(peer), [...expected, ...more]);
  }
  // Of others no answer says no: the front end would wait for ever.
  const { length } = rig.events;
  peer.send(R.GET_VRING_BASE, 0, Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0));
  await rig.until(length + 2);
  assertEquals(rig.kinds().slice(length), ["refused", "disconnected"]);
});

Deno.test("VhostUserServer keeps the last socket for a display, of a device that has some, until its front end leaves", async () => {
  await using rig = new Rig();
  for (const deviceId of [16, 4]) {
    const model = Object.assign(new EchoModel(), { deviceId });
    rig.events.length = 0;
    await using _server = rig.serve({ model });
    const peer = rig.connect();
    await rig.until(1);
    const before = openFiles();
    for (let i = 1; i <= 2; i++) {
      const [own, theirs] = rig.libc.socketPair();
      peer.send(R.GPU_SET_SOCKET, 0, undefined, [theirs]);
      rig.libc.close(theirs);
      peer.send(...WRONG);
      await rig.until(deviceId === 16 ? 1 + i : 1 + 2 * i);
      rig.libc.close(own);
      assertEquals(openFiles(), deviceId === 16 ? before + 1 : before);
    }
    const reasons = rig.events.flatMap((event) => event.kind === "refused" ? [event.reason] : []);
    assertEquals(
      reasons.filter((reason) => reason.startsWith("Cannot take a socket")),
      deviceId === 16 ? [] : Array(2).fill(
        "Cannot take a socket for a display: saw device 4, expected device 16, which has displays",
      ),
    );
    const { length } = rig.events;
    peer[Symbol.dispose]();
    await rig.until(length + 1);
    assertEquals(openFiles(), before - 2);
  }
});

Deno.test("VhostUserServer that cannot be made leaves no socket and no descriptor", async () => {
  await using rig = new Rig();
  await rig.serve()[Symbol.asyncDispose]();
  const before = openFiles();
  for (let i = 0; i < 3; i++) {
    const error = assertThrows(() => rig.serve({ capacity: 2 ** 60 }), VireoError);
    assertEquals([error.code, openFiles()], ["HOST_ERROR", before]);
    assertEquals([...Deno.readDirSync(rig.folder)], []);
  }
});

Deno.test("VhostUserServer lets others have a turn while a front end has more and more messages", async () => {
  await using rig = new Rig();
  const MOST = 10_000;
  let sent = 0;
  let stopped = false;
  /** Each message that was looked at is followed by another one. */
  const event = ({ kind }: ServerEvent): void => {
    if (kind === "refused" && !stopped && sent++ < MOST) peer.send(...WRONG);
  };
  await using _server = rig.serve({ event });
  using peer = rig.connect();
  peer.send(...WRONG);
  await new Promise((resolve) => setTimeout(resolve, 0));
  while (sent === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  stopped = true;
  assert(sent < MOST, `${sent} messages`);
});
