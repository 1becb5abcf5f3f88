import { FeatureSet, hex } from "../bits.ts";
import { VireoError } from "../errors.ts";
import { type Libc, POLLIN } from "../unix/libc.ts";
import type { Poller } from "../unix/poller.ts";
import { DeviceId } from "../virtio/ids.ts";
import { bitsBytes, readBits, readU64, u64s } from "./bits64.ts";
import {
  type MessageRule,
  VHOST_USER_ACK,
  VHOST_USER_BACKEND_MESSAGES,
  VHOST_USER_MESSAGES,
  VHOST_USER_PROTOCOL_FEATURES,
  VhostUserFeature,
  VhostUserFlag,
  VhostUserRequest as Request,
} from "./protocol.ts";
import { type VhostUserMessage, VhostUserSocket } from "./socket.ts";

/** Queues of a device whose back end cannot say how many it has, by device id. */
const QUEUES: Readonly<Record<number, number>> = {
  [DeviceId.NET]: 2,
  [DeviceId.BLOCK]: 1,
  [DeviceId.CONSOLE]: 2,
  [DeviceId.RNG]: 1,
  [DeviceId.SCSI]: 3,
  [DeviceId.GPU]: 2,
  [DeviceId.INPUT]: 2,
  [DeviceId.VSOCK]: 3,
};
/** Most queues: a message names one in eight bits. */
const MAX_QUEUES = 256;

/** Options of {@linkcode BackEndLink}. */
interface BackEndLinkOptions {
  /** The connection, which it takes over. */
  readonly fd: number;
  /** The name of the other side in errors. */
  readonly backEnd: string;
  /** Virtio device id. */
  readonly deviceId: number;
  /** Milliseconds that an answer may take. */
  readonly deadline: number;
  /** Protocol features to use if the back end offers them. */
  readonly protocol: FeatureSet;
  /** The back end said that the configuration changed. */
  readonly changed: () => void;
  /** The back end is gone or lied though nothing was asked; the connection is closed. */
  readonly failed: (error: VireoError) => void;
}

/** One connection to a back end: requests, their answers, and what the back end asks. */
export class BackEndLink implements Disposable {
  /** Queues that the back end has. */
  readonly queues: number;
  /** The feature bits that the back end offered at first. */
  readonly offered: FeatureSet;
  /** The protocol features that were agreed on. */
  readonly protocol: FeatureSet;
  /** Whether the back end knows of protocol features. */
  readonly hasProtocol: boolean;
  readonly #libc: Libc;
  readonly #options: BackEndLinkOptions;
  readonly #socket: VhostUserSocket;
  readonly #cleanup = new DisposableStack();
  /** The socket on which the back end asks, if it does. */
  #requests: VhostUserSocket | undefined;
  /** The request whose answer is due, and whether it is only a word that it was carried out. */
  #due: { readonly request: number; readonly acknowledged: boolean } | undefined;
  #acknowledges = false;

  /**
   * Greets the back end and agrees on protocol features.
   *
   * @throws {VireoError} `DEVICE_REMOVED`, `TIMEOUT`, `COMMAND_REFUSED` or `BAD_MESSAGE` If it does not answer
   * as it must; the connection is closed then.
   */
  constructor(libc: Libc, poller: Poller, options: BackEndLinkOptions) {
    this.#libc = libc;
    this.#options = options;
    const cleanup = this.#cleanup;
    this.#socket = cleanup.use(
      new VhostUserSocket(
        libc,
        options.fd,
        options.backEnd,
        (request, flags) => this.#answerRule(request, flags),
      ),
    );
    cleanup.defer(() => this.#requests?.[Symbol.dispose]());
    // A watch ends before its descriptor does.
    cleanup.use(poller.watch(this.#socket.fd, () => this.#unasked()));
    try {
      this.offered = readBits(this.ask(Request.GET_FEATURES).payload);
      this.hasProtocol = this.offered.has(VHOST_USER_PROTOCOL_FEATURES);
      let protocol = FeatureSet.NONE;
      if (this.hasProtocol) {
        const all = readBits(this.ask(Request.GET_PROTOCOL_FEATURES).payload);
        protocol = all.and(options.protocol);
        this.tell(Request.SET_PROTOCOL_FEATURES, bitsBytes(protocol));
      }
      this.protocol = protocol;
      this.#acknowledges = protocol.has(VhostUserFeature.REPLY_ACK);
      this.tell(Request.SET_OWNER);
      if (protocol.has(VhostUserFeature.BACKEND_REQ)) this.#listen(poller);
      this.queues = this.#countQueues();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Sends a request that has an answer, and waits for it; the descriptors of the answer are the caller's. */
  ask(request: Request, payload?: Uint8Array, fds?: readonly number[]): VhostUserMessage {
    return this.#exchange(request, false, payload, fds);
  }

  /** Sends a request without an answer; where it can be had, waits for the word that it was carried out. */
  tell(request: Request, payload?: Uint8Array, fds?: readonly number[]): void {
    if (!this.#acknowledges) return this.#send(request, 0, payload, fds);
    const answer = this.#exchange(request, true, payload, fds);
    const result = readU64(answer.payload, 0, "result");
    if (result === 0) return;
    throw new VireoError("COMMAND_REFUSED", `The ${this.#options.backEnd} refused`, {
      seen: `${hex(result)} for ${VHOST_USER_MESSAGES.get(request)!.name}`,
      expected: 0,
    });
  }

  /** Gives the back end a socket of its own for what it has to say. */
  #listen(poller: Poller): void {
    const [own, theirs] = this.#libc.socketPair();
    const requests = new VhostUserSocket(
      this.#libc,
      own,
      this.#options.backEnd,
      (request) => VHOST_USER_BACKEND_MESSAGES.get(request),
    );
    this.#requests = requests;
    try {
      this.tell(Request.SET_BACKEND_REQ_FD, new Uint8Array(0), [theirs]);
    } finally {
      this.#libc.close(theirs);
    }
    let watch: Disposable | undefined = undefined;
    watch = poller.watch(own, () => {
      if (!this.#serveRequests(requests)) watch?.[Symbol.dispose]();
    });
    this.#cleanup.use(watch);
  }

  /** Takes what the back end asks; false once nothing can come any more. */
  #serveRequests(requests: VhostUserSocket): boolean {
    try {
      for (let message = requests.take(); message !== undefined; message = requests.take()) {
        this.#options.changed();
        if ((message.flags & VhostUserFlag.NEED_REPLY) === 0) continue;
        requests.send(message.request, VhostUserFlag.REPLY, u64s(0));
      }
      return true;
    } catch (error) {
      // The end of this socket says nothing: the other one's does.
      const ended = error instanceof VireoError && error.code === "DEVICE_REMOVED";
      if (!ended) this.#end(error as VireoError);
      return false;
    }
  }

  #answerRule(request: number, flags: number): MessageRule | undefined {
    const due = this.#due;
    if ((flags & VhostUserFlag.REPLY) === 0 || due?.request !== request) return undefined;
    const rule = VHOST_USER_MESSAGES.get(request)!;
    const answer = due.acknowledged ? VHOST_USER_ACK : rule.reply!;
    return { name: `the answer to ${rule.name}`, ...answer };
  }

  /** The socket has something though nothing was asked: the back end is gone, or lies, as no message is due. */
  #unasked(): void {
    try {
      this.#socket.take();
    } catch (error) {
      this.#end(error as VireoError);
    }
  }

  #exchange(
    request: Request,
    acknowledged: boolean,
    payload?: Uint8Array,
    fds?: readonly number[],
  ): VhostUserMessage {
    this.#due = { request, acknowledged };
    try {
      this.#send(request, acknowledged ? VhostUserFlag.NEED_REPLY : 0, payload, fds);
      return this.#await(request);
    } catch (error) {
      if (error instanceof VireoError) this[Symbol.dispose]();
      throw error;
    } finally {
      this.#due = undefined;
    }
  }

  #send(
    request: Request,
    flags: number,
    payload?: Uint8Array,
    fds?: readonly number[],
  ): void {
    try {
      this.#socket.send(request, flags, payload, fds);
    } catch (error) {
      if (error instanceof VireoError) this[Symbol.dispose]();
      throw error;
    }
  }

  /** Waits in this thread: drivers want their answers before they go on. */
  #await(request: Request): VhostUserMessage {
    const end = performance.now() + this.#options.deadline;
    for (;;) {
      const answer = this.#socket.take();
      if (answer !== undefined) return answer;
      // The back end may wait for an answer of ours before it answers.
      const requests = this.#requests;
      const fds = requests !== undefined && this.#serveRequests(requests)
        ? [this.#socket.fd, requests.fd]
        : [this.#socket.fd];
      const left = end - performance.now();
      if (left > 0) {
        this.#libc.poll(Int32Array.from(fds.flatMap((fd) => [fd, POLLIN])), left);
        continue;
      }
      const { name } = VHOST_USER_MESSAGES.get(request)!;
      throw new VireoError(
        "TIMEOUT",
        `Timed out after ${this.#options.deadline} ms waiting for the ${this.#options.backEnd} to answer ${name}`,
      );
    }
  }

  #countQueues(): number {
    const known = QUEUES[this.#options.deviceId] ?? 1;
    if (!this.protocol.has(VhostUserFeature.MQ)) return known;
    const count = readU64(this.ask(Request.GET_QUEUE_NUM).payload, 0, "number of queues");
    // Back ends of network devices count pairs; those of others count all or leave some out.
    const queues = this.#options.deviceId === DeviceId.NET ? 2 * count : count;
    return Math.min(MAX_QUEUES, Math.max(known, queues));
  }

  #end(error: VireoError): void {
    if (this.#cleanup.disposed) return;
    this[Symbol.dispose]();
    this.#options.failed(error);
  }

  /** Closes the connection. */
  [Symbol.dispose](): void {
    this.#cleanup[Symbol.dispose]();
  }
}
