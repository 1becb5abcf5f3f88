import { DeviceId, VireoError } from "@vireo/hal";
import {
  Libc,
  type MessageRule,
  Poller,
  u64s,
  VHOST_USER_ACK,
  VHOST_USER_MESSAGES,
  VhostUserBackendRequest,
  VhostUserFeature,
  VhostUserFlag,
  type VhostUserMessage,
  VhostUserRequest as Request,
  VhostUserSocket,
} from "@vireo/hal/vhost-user";
import type { Violation } from "../../device_state.ts";
import type { DeviceTrace } from "../../trace.ts";
import {
  type DeviceAnswer,
  type UnnotedQueue,
  VhostUserDevice,
  type VhostUserDeviceOptions,
} from "./device.ts";
import { answerText, requestText } from "./message_text.ts";

/** Messages that are carried out before timers and streams get a turn. */
const BATCH = 64;
/** Value of an answer to NEED_REPLY for a request that was refused. */
const REFUSED = 1;

/** Something that happened at a served socket. */
export type ServerEvent =
  /** A front end came. */
  | { readonly kind: "connected" }
  /** A front end asked for what cannot be; it goes on, and was told if it wanted to know. */
  | { readonly kind: "refused"; readonly request: string; readonly reason: string }
  /** A driver did something wrong, and was answered as by hardware. */
  | { readonly kind: "violation"; readonly violation: Violation }
  /** A queue's requests are not noted for a server that comes after this one: it has too many entries. */
  | { readonly kind: "unnoted" } & UnnotedQueue
  /** A front end left, or broke the protocol and was left: then there is a reason. */
  | { readonly kind: "disconnected"; readonly reason: string | undefined };

/** Options of {@linkcode VhostUserServer}. */
export interface VhostUserServerOptions
  extends Omit<VhostUserDeviceOptions, "violated" | "unnoted"> {
  /** Path of the socket, which must not exist yet unless nobody listens there any more. */
  readonly path: string;
  /** Whether it ends when the first front end left. */
  readonly once?: boolean | undefined;
  /** Receives events for a log. */
  readonly event?: (event: ServerEvent) => void;
}

/**
 * Serves a device model at a vhost-user socket: one front end after the other, each of which finds the
 * device as at first.
 *
 * @example
 * ```ts
 * import { systemRandom } from "@vireo/emu/backends";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { VhostUserServer } from "@vireo/emu/vhost-user";
 *
 * // Serves random bytes until the first front end leaves, and prints what happens.
 * export async function serveOnce(path: string): Promise<void> {
 *   const model = new RngDevice({ random: systemRandom() });
 *   const event = ({ kind }: { kind: string }): void => console.log(kind);
 *   await using server = new VhostUserServer({ model, path, once: true, event });
 *   await server.ended;
 * }
 * ```
 */
export class VhostUserServer implements AsyncDisposable {
  /** The device. */
  readonly device: VhostUserDevice;
  /** Resolves when no front end is served any more. */
  readonly ended: Promise<void>;
  readonly #options: VhostUserServerOptions;
  readonly #libc: Libc;
  readonly #poller: Poller;
  readonly #listener: number;
  readonly #end: () => void;
  #accepting: Disposable | undefined;
  #connection: Connection | undefined;
  #closed = false;

  /**
   * Listens at the socket.
   *
   * @throws {VireoError} `HOST_ERROR` If another program listens there, or the path cannot be made.
   */
  constructor(options: VhostUserServerOptions) {
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = resolve;
    using cleanup = new DisposableStack();
    const libc = this.#libc = new Libc();
    cleanup.defer(() => libc.dispose());
    removeStale(libc, options.path);
    this.#listener = libc.listen(options.path);
    cleanup.defer(() => libc.close(this.#listener));
    cleanup.defer(() => Deno.removeSync(options.path));
    this.#poller = new Poller(libc);
    // At once: it watches nothing yet.
    cleanup.defer(() => void this.#poller[Symbol.asyncDispose]());
    this.device = new VhostUserDevice(libc, this.#poller, {
      ...options,
      violated: (violation) => options.event?.({ kind: "violation", violation }),
      unnoted: (queue) => options.event?.({ kind: "unnoted", ...queue }),
    });
    cleanup.move();
    this.#accept();
  }

  /** Whether a front end is there. */
  get connected(): boolean {
    return this.#connection !== undefined;
  }

  /** Leaves the front end and removes the socket; the model is the caller's to dispose. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#accepting?.[Symbol.dispose]();
    await this.#connection?.close(undefined);
    this.device[Symbol.dispose]();
    await this.#poller[Symbol.asyncDispose]();
    this.#libc.close(this.#listener);
    // Another program may have put its own there since.
    await Deno.remove(this.#options.path).catch(() => {});
    this.#libc.dispose();
    this.#end();
  }

  #accept(): void {
    this.#accepting = this.#poller.watch(this.#listener, () => {
      const fd = this.#libc.accept(this.#listener);
      if (fd === undefined) return;
      // The next front end waits until this one has left.
      this.#accepting?.[Symbol.dispose]();
      this.#options.event?.({ kind: "connected" });
      this.#tell("connected");
      this.#connection = new Connection(this.#libc, this.#poller, fd, this.device, {
        path: this.#options.path,
        trace: this.#options.trace,
        event: (event) => this.#options.event?.(event),
        closed: (reason) => this.#left(reason),
      });
    });
  }

  #left(reason: string | undefined): void {
    this.#connection = undefined;
    this.device.disconnected();
    this.#tell("disconnected", reason);
    this.#options.event?.({ kind: "disconnected", reason });
    if (this.#options.once) this.#end();
    else if (!this.#closed) this.#accept();
  }

  #tell(request: string, text = ""): void {
    this.#options.trace?.emit({ kind: "message", request, text });
  }
}

interface Owner {
  /** Path of the socket that front ends connect to. */
  readonly path: string;
  readonly trace: DeviceTrace | undefined;
  event(event: ServerEvent): void;
  closed(reason: string | undefined): void;
}

/** One front end. */
class Connection {
  readonly #libc: Libc;
  readonly #device: VhostUserDevice;
  readonly #owner: Owner;
  readonly #socket: VhostUserSocket;
  readonly #poller: Poller;
  /** Where the front end hears of changes, if it does. */
  #requests: VhostUserSocket | undefined;
  /** The socket of the front end's display, to which nothing is sent: pictures stay with the model. */
  #display: number | undefined;
  #watch: Disposable | undefined;
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(libc: Libc, poller: Poller, fd: number, device: VhostUserDevice, owner: Owner) {
    this.#libc = libc;
    this.#poller = poller;
    this.#device = device;
    this.#owner = owner;
    this.#socket = new VhostUserSocket(libc, fd, "front end", requestRule);
    device.connected({ configChanged: () => this.#configChanged() });
    this.#listen();
  }

  /** Leaves the front end, once what was begun is done. */
  async close(reason: string | undefined): Promise<void> {
    this.#shut(reason);
    await this.#work;
  }

  #listen(): void {
    if (this.#closed) return;
    this.#watch = this.#poller.watch(this.#socket.fd, () => {
      // Requests are carried out one after the other: while one is, nobody looks for the next.
      this.#watch?.[Symbol.dispose]();
      this.#work = this.#serve();
    });
  }

  async #serve(): Promise<void> {
    try {
      for (let i = 0; i < BATCH && !this.#closed; i++) {
        const message = this.#socket.take();
        if (message === undefined) break;
        await this.#handle(message);
      }
      this.#listen();
    } catch (error) {
      const left = error instanceof VireoError && error.code === "DEVICE_REMOVED";
      this.#shut(left ? undefined : String(error instanceof Error ? error.message : error));
    }
  }

  async #handle(message: VhostUserMessage): Promise<void> {
    const { request, flags } = message;
    const needed = (flags & VhostUserFlag.NEED_REPLY) !== 0 &&
      this.#device.protocol.has(VhostUserFeature.REPLY_ACK);
    const { name, reply } = VHOST_USER_MESSAGES.get(request)!;
    const { trace } = this.#owner;
    const text = trace && requestText(request, message.payload, message.fds.length);
    // Told before it happens; with its answer, if it has one.
    if (text !== undefined && reply === undefined) {
      trace?.emit({ kind: "message", request: name, text });
    }
    let answer: DeviceAnswer | undefined;
    let result = 0;
    try {
      if (request === Request.SET_BACKEND_REQ_FD) this.#setRequests(message);
      else if (request === Request.GPU_SET_SOCKET) this.#setDisplay(message);
      else answer = await this.#device.handle(message);
    } catch (error) {
      if (!(error instanceof VireoError)) throw error;
      result = REFUSED;
      trace?.emit({ kind: "fault", message: `Refused ${name}: ${error.message}` });
      this.#owner.event({ kind: "refused", request: name, reason: error.message });
      // A front end would wait for ever for an answer that cannot be given.
      if (reply !== undefined && (answer = refusal(request)) === undefined) throw error;
    }
    if (text !== undefined && answer !== undefined) {
      const said = [text, "->", answerText(request, answer.payload)];
      trace?.emit({ kind: "message", request: name, text: said.join(" ").trimStart() });
    }
    const fds = answer?.fd === undefined ? [] : [answer.fd];
    using cleanup = new DisposableStack();
    for (const fd of fds) cleanup.defer(() => this.#libc.close(fd));
    if (this.#closed) return;
    if (answer !== undefined) {
      this.#socket.send(request, VhostUserFlag.REPLY, answer.payload, fds);
    } else if (needed) this.#socket.send(request, VhostUserFlag.REPLY, u64s(result));
  }

  #setRequests(message: VhostUserMessage): void {
    const fd = this.#takeSocket(message, "requests of the back end");
    this.#requests?.[Symbol.dispose]();
    this.#requests = new VhostUserSocket(this.#libc, fd, "front end", ackRule);
  }

  /** Without the socket QEMU's gpu does not start; what is drawn is the model's to show. */
  #setDisplay(message: VhostUserMessage): void {
    const fd = this.#takeSocket(message, "a display");
    const { deviceId } = this.#device.hosted.model;
    if (deviceId !== DeviceId.GPU) {
      this.#libc.close(fd);
      throw new VireoError("BAD_MESSAGE", "Cannot take a socket for a display", {
        seen: `device ${deviceId}`,
        expected: `device ${DeviceId.GPU}, which has displays`,
      });
    }
    this.#closeDisplay();
    this.#display = fd;
  }

  #closeDisplay(): void {
    if (this.#display !== undefined) this.#libc.close(this.#display);
    this.#display = undefined;
  }

  /** The descriptor of a message, if it is a connected socket of the front end. */
  #takeSocket({ fds }: VhostUserMessage, purpose: string): number {
    const fd = fds[0]!;
    const path = this.#libc.peerPath(fd);
    // With the front end's own end of a connection to us, we would never see that it left.
    if (path === undefined || path === this.#owner.path) {
      this.#libc.close(fd);
      throw new VireoError("BAD_MESSAGE", `Cannot take a socket for ${purpose}`, {
        seen: path === undefined ? "no connected socket" : "a connection to the back end itself",
        expected: "one end of a pair of sockets",
      });
    }
    return fd;
  }

  #configChanged(): string | undefined {
    const device = this.#device;
    if (this.#requests === undefined || !device.protocol.has(VhostUserFeature.BACKEND_REQ)) {
      return "the front end takes no requests of the back end";
    }
    try {
      this.#requests.send(VhostUserBackendRequest.CONFIG_CHANGE);
      return undefined;
    } catch (error) {
      if (!(error instanceof VireoError)) throw error;
      // Its other socket tells whether it is gone.
      this.#requests[Symbol.dispose]();
      this.#requests = undefined;
      return error.message;
    }
  }

  #shut(reason: string | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch?.[Symbol.dispose]();
    this.#socket[Symbol.dispose]();
    this.#requests?.[Symbol.dispose]();
    this.#closeDisplay();
    this.#owner.closed(reason);
  }
}

/** The answer that says no, of requests whose answers can. */
function refusal(request: number): DeviceAnswer | undefined {
  return request === Request.GET_CONFIG ? { payload: new Uint8Array(0) } : undefined;
}

function requestRule(request: number, flags: number): MessageRule | undefined {
  return (flags & VhostUserFlag.REPLY) !== 0 ? undefined : VHOST_USER_MESSAGES.get(request);
}

function ackRule(_request: number, flags: number): MessageRule | undefined {
  if ((flags & VhostUserFlag.REPLY) === 0) return undefined;
  return { name: "an answer", ...VHOST_USER_ACK };
}

/** Removes a socket at which nobody listens any more. */
function removeStale(libc: Libc, path: string): void {
  try {
    if (!Deno.lstatSync(path).isSocket) return;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  let fd: number;
  try {
    fd = libc.connect(path);
  } catch {
    Deno.removeSync(path);
    return;
  }
  libc.close(fd);
  throw new VireoError("HOST_ERROR", `Cannot listen at ${path}: another program listens there`);
}
