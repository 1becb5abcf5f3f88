import fc from "fast-check";
import { VireoError } from "@vireo/hal";
import {
  joinBytes,
  Libc,
  MessageSocket,
  Poller,
  readU32,
  Received,
  u32s,
  u64s,
  VhostUserFrontEnd,
} from "@vireo/hal/vhost-user";
import { openDescriptors } from "./wait.ts";

/** Steps of the front end. */
const STEPS = [
  "readFeatures",
  "writeFeatures",
  "readStatus",
  "writeStatus",
  "setUpQueue",
  "enableQueue",
  "kick",
  "stopQueue",
  "readConfig",
  "writeConfig",
  "reset",
] as const;
/** A step, with the queue, offset or value that it is about. */
interface Step {
  readonly call: typeof STEPS[number];
  readonly value: number;
}

/** Lies of the back end about its answers. */
const LIES = [
  "say nothing",
  "flip bits",
  "say another number",
  "claim another size",
  "set flags",
  "answer another request",
  "cut it short",
  "say it twice",
  "add descriptors",
  "make a request",
  "leave",
] as const;
/** A lie: which answer it is about, and what it is. */
interface Lie {
  readonly at: number;
  readonly kind: typeof LIES[number];
  readonly a: number;
  readonly b: number;
}

/** A run of a front end with a back end that lies. */
interface LyingRun {
  /** Protocol features that the back end offers. */
  readonly protocol: number;
  readonly deviceId: number;
  readonly steps: readonly Step[];
  readonly lies: readonly Lie[];
}

/** Requests, typed again from the specification, and what an honest back end answers. */
const SET_BACKEND_REQ_FD = 21;
const GET_CONFIG = 24;
const [VERSION_1, PROTOCOL] = [2 ** 32, 2 ** 30];
const HONEST: Readonly<Record<number, (request: Uint8Array, run: LyingRun) => Uint8Array>> = {
  1: () => u64s(VERSION_1 + PROTOCOL),
  11: (payload) => u32s(readU32(payload, 0), 0),
  15: (_, { protocol }) => u64s(protocol),
  17: () => u64s(2),
  [GET_CONFIG]: (payload) => payload,
  36: () => u64s(8),
  40: () => u64s(0),
};
const NEED_REPLY = 8;
/** Numbers that a careless reader trips over. */
const NUMBERS = [0, 1, 2, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32 - 1, 2 ** 53 - 1];
const CODES = ["BAD_MESSAGE", "TIMEOUT", "DEVICE_REMOVED", "COMMAND_REFUSED", "CONFIG_ACCESS"];
/** Milliseconds that a run may take: it waits for nothing. */
const SLOW = 10_000;

/** Calls of a front end, which lets the back end answer before it looks: both are in one thread. */
class OneThread extends Libc {
  answer: () => void = () => {};

  override receiveMessage(fd: number, header: Uint8Array<ArrayBuffer>): number {
    this.answer();
    return super.receiveMessage(fd, header);
  }
}

/** The back end: honest, but for the lies of its run. */
class Liar implements Disposable {
  /** Messages that it sent. */
  sent = 0;
  readonly #libc: Libc;
  readonly #run: LyingRun;
  readonly #socket: MessageSocket;
  readonly #fd: number;
  readonly #fds: number[] = [];
  readonly #buffer = new Uint8Array(4096);
  #incoming: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #requests: { readonly fd: number; readonly socket: MessageSocket } | undefined;
  #answers = 0;
  #left = false;

  constructor(libc: Libc, fd: number, run: LyingRun) {
    this.#libc = libc;
    this.#fd = fd;
    this.#run = run;
    this.#socket = new MessageSocket(libc, fd, 8192);
  }

  /** Takes what the front end said, and answers it. */
  serve(): void {
    while (!this.#left) {
      const fds: number[] = [];
      const got = this.#socket.receive(this.#buffer, fds);
      this.#fds.push(...fds);
      if (got === Received.NOTHING || got <= 0) return;
      this.#incoming = joinBytes(this.#incoming, this.#buffer.subarray(0, got));
      while (this.#incoming.length >= 12) {
        const size = 12 + readU32(this.#incoming, 8);
        if (this.#incoming.length < size) break;
        const message = this.#incoming.slice(0, size);
        this.#incoming = this.#incoming.slice(size);
        const request = readU32(message, 0);
        if (request === SET_BACKEND_REQ_FD) this.#takeRequests(fds.at(-1)!);
        const payload = message.subarray(12);
        const honest = HONEST[request]?.(payload, this.#run) ??
          ((readU32(message, 4) & NEED_REPLY) === 0 ? undefined : u64s(0));
        if (honest !== undefined) this.#answer(request, honest);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#leave();
    for (const fd of this.#fds.splice(0)) this.#libc.close(fd);
  }

  #takeRequests(fd: number): void {
    this.#requests = { fd, socket: new MessageSocket(this.#libc, fd, 8192) };
  }

  #answer(request: number, payload: Uint8Array): void {
    const at = this.#answers++;
    let bytes = joinBytes(u32s(request, 5, payload.length), payload);
    let fds: number[] = [];
    let times = 1;
    for (const { kind, a, b } of this.#run.lies.filter((lie) => lie.at === at)) {
      const view = new DataView(bytes.buffer);
      switch (kind) {
        case "say nothing":
          times = 0;
          break;
        case "flip bits":
          bytes[a % bytes.length]! ^= b & 0xff;
          break;
        case "say another number":
          for (let i = 12; i + 8 <= bytes.length; i += 8) {
            view.setBigUint64(i, BigInt(NUMBERS[a % NUMBERS.length]!) << BigInt(b % 32), true);
          }
          break;
        case "claim another size":
          if (bytes.length >= 12) view.setUint32(8, NUMBERS[a % NUMBERS.length]!, true);
          break;
        case "set flags":
          if (bytes.length >= 12) view.setUint32(4, a % 16, true);
          break;
        case "answer another request":
          if (bytes.length >= 12) view.setUint32(0, a % 64, true);
          break;
        case "cut it short":
          bytes = bytes.slice(0, 1 + a % bytes.length);
          break;
        case "say it twice":
          times = 2;
          break;
        case "add descriptors":
          fds = Array(1 + a % 10).fill(this.#fd);
          break;
        case "make a request":
          this.#makeRequest(a, b);
          break;
        case "leave":
          return this.#leave();
      }
    }
    for (; times > 0; times--) {
      this.#socket.send(bytes, fds);
      this.sent++;
    }
  }

  /** Says something on the socket of SET_BACKEND_REQ_FD, if it has one. */
  #makeRequest(a: number, b: number): void {
    if (this.#requests === undefined) return;
    const size = b % 5 > 0 ? 0 : NUMBERS[b % NUMBERS.length]!;
    const flags = b % 7 > 0 ? 1 | b & NEED_REPLY : b % 32;
    const bytes = joinBytes(u32s(a % 3 > 0 ? 2 : a % 16, flags, size), new Uint8Array(b % 4));
    this.#requests.socket.send(bytes.subarray(0, b % 3 > 0 ? 12 : b % bytes.length + 1), [
      ...b % 11 === 0 ? [this.#fd] : [],
    ]);
    this.sent++;
  }

  #leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#libc.close(this.#fd);
  }
}

/** Any run; one that fails is made shorter. */
export function lyingRuns(): fc.Arbitrary<LyingRun> {
  const at = fc.nat(40);
  const word = fc.nat(2 ** 31 - 1);
  const protocol = fc.subarray([0, 3, 5, 9, 12, 13, 15, 16])
    .map((bits) => bits.reduce((sum, bit) => sum + 2 ** bit, 0));
  return fc.record({
    protocol,
    deviceId: fc.constantFrom(1, 2, 4, 8, 19, 26),
    steps: fc.array(fc.record({ call: fc.constantFrom(...STEPS), value: word }), { maxLength: 16 }),
    lies: fc.array(fc.record({ at, kind: fc.constantFrom(...LIES), a: word, b: word }), {
      maxLength: 6,
    }),
  });
}

/** Front ends that meet lying back ends; what they keep for all runs is made once. */
export class LyingRig implements AsyncDisposable {
  /** Messages of back ends so far. */
  messages = 0;
  /** Runs so far. */
  runs = 0;
  /** Errors of front ends so far, by their code. */
  readonly errors: Map<string, number> = new Map();
  readonly #libc = new Libc();
  readonly #own = new OneThread();
  readonly #poller = new Poller(this.#libc);
  readonly #memory = { fd: this.#libc.memoryFile("vireo-fuzz", 1 << 16), guest: 0 };

  /**
   * Does what a run says.
   *
   * @throws {Error} If the front end throws what is no error of a back end, or leaves a descriptor open, or
   * takes too long.
   */
  meet(run: LyingRun): void {
    const before = openDescriptors();
    const began = performance.now();
    this.runs++;
    {
      const [fd, theirs] = this.#libc.socketPair();
      using liar = new Liar(this.#libc, theirs, run);
      this.#own.answer = () => liar.serve();
      try {
        using lease = new VhostUserFrontEnd(this.#own, this.#poller, {
          fd,
          path: "/liar",
          deviceId: run.deviceId,
          // What is not there when it looks never comes.
          deadline: 0,
          memory: { ...this.#memory, user: 0x1000, size: 1 << 16 },
        });
        for (const step of run.steps) this.#step(lease, step);
      } catch (error) {
        this.#note(error);
      } finally {
        this.messages += liar.sent;
      }
    }
    const left = openDescriptors() - before;
    if (left !== 0) throw new Error(`${left} descriptors are left`);
    if (performance.now() - began > SLOW) throw new Error("The front end took too long");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#poller[Symbol.asyncDispose]();
    this.#libc.close(this.#memory.fd);
    this.#libc.dispose();
    this.#own.dispose();
  }

  /** Takes a step; a front end that lost its back end says so at each further step. */
  #step(lease: VhostUserFrontEnd, { call, value }: Step): void {
    try {
      act(lease, call, value);
    } catch (error) {
      this.#note(error);
    }
  }

  #note(error: unknown): void {
    if (!(error instanceof VireoError) || !CODES.includes(error.code)) throw error;
    this.errors.set(error.code, (this.errors.get(error.code) ?? 0) + 1);
  }
}

function act(lease: VhostUserFrontEnd, call: Step["call"], value: number): void {
  const queue = value % lease.queues;
  switch (call) {
    case "setUpQueue": {
      const size = 2 ** (value % 11);
      return lease.setUpQueue(queue, {
        size,
        desc: 0,
        driver: 4096,
        device: 8192,
        packed: value > 2 ** 30,
      });
    }
    case "enableQueue":
    case "kick":
    case "stopQueue":
      return lease[call](queue);
    case "writeFeatures":
      return lease.writeFeatures(lease.readFeatures());
    case "writeStatus":
      return lease.writeStatus(value % 256);
    case "readConfig":
      return void lease.readConfig(value % 300, 1 + value % 8);
    case "writeConfig":
      return lease.writeConfig(value % 300, new Uint8Array(1 + value % 8));
    default:
      return void lease[call]();
  }
}
