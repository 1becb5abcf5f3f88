import { VireoError } from "../errors.ts";
import { type Libc, Received } from "../unix/libc.ts";
import { MessageSocket } from "../unix/message_socket.ts";
import { joinBytes, readU32, u32s } from "./bits64.ts";
import {
  type MessageRule,
  type PayloadRule,
  VHOST_USER_HEADER,
  VHOST_USER_VERSION,
  VhostUserFlag,
} from "./protocol.ts";

/** The longest message that either side takes, in bytes; all that are defined are shorter. */
const MAX_MESSAGE = 4096;
/** Most descriptors of one message. */
const MAX_FDS = 8;

/** A message that came, checked by the rules of its kind. */
export interface VhostUserMessage {
  /** The request, or what it answers. */
  readonly request: number;
  /** Bits of {@linkcode VhostUserFlag}. */
  readonly flags: number;
  /** Bytes that it carries behind the header. */
  readonly payload: Uint8Array<ArrayBuffer>;
  /** Descriptors that came with it, the receiver's to close. */
  readonly fds: readonly number[];
}

/** Looks up the rule of a message. @returns The rule, or undefined for an unknown message. */
export type MessageRules = (request: number, flags: number) => MessageRule | undefined;

/**
 * One end of a vhost-user socket: whole messages, each checked before anybody sees it. It owns the
 * socket and every descriptor that came and was not handed on.
 */
export class VhostUserSocket implements Disposable {
  /** The socket. */
  readonly fd: number;
  readonly #libc: Libc;
  readonly #socket: MessageSocket;
  readonly #peer: string;
  readonly #rules: MessageRules;
  readonly #incoming: Uint8Array<ArrayBuffer> = new Uint8Array(MAX_MESSAGE);
  readonly #fds: number[] = [];
  #filled = 0;
  #closed = false;

  /**
   * Takes over a connected socket.
   *
   * @param peer What errors call the other side.
   * @param rules What the messages that come may have.
   */
  constructor(libc: Libc, fd: number, peer: string, rules: MessageRules) {
    this.fd = fd;
    this.#libc = libc;
    this.#peer = peer;
    this.#rules = rules;
    this.#socket = new MessageSocket(libc, fd, MAX_MESSAGE);
  }

  /**
   * Sends a message without waiting.
   *
   * @param flags Bits besides the version.
   * @param fds Descriptors for the other side; they stay the caller's too.
   * @throws {VireoError} `DEVICE_REMOVED` If the other side is gone or does not take what was sent.
   */
  send(
    request: number,
    flags = 0,
    payload: Uint8Array = new Uint8Array(0),
    fds: readonly number[] = [],
  ): void {
    const header = u32s(request, VHOST_USER_VERSION | flags, payload.length);
    const bytes = joinBytes(header, payload);
    const sent = this.#closed ? Received.FAILED : this.#socket.send(bytes, fds);
    if (sent === bytes.length) return;
    const why = sent === Received.FAILED ? "is gone" : "takes no more messages";
    throw new VireoError("DEVICE_REMOVED", `Cannot send to the ${this.#peer}: it ${why}`);
  }

  /**
   * Takes the next message, if all of it is there.
   *
   * @returns The message, or undefined if more has to come first.
   * @throws {VireoError} `DEVICE_REMOVED` If the other side closed the socket; `BAD_MESSAGE` If it broke
   * the protocol. The socket is of no use then.
   */
  take(): VhostUserMessage | undefined {
    const header = VHOST_USER_HEADER.SIZE;
    if (!this.#fill(header)) return undefined;
    const request = readU32(this.#incoming, VHOST_USER_HEADER.request.offset);
    const flags = readU32(this.#incoming, VHOST_USER_HEADER.flags.offset);
    const size = readU32(this.#incoming, VHOST_USER_HEADER.size.offset);
    const rule = this.#check(request, flags, size);
    if (!this.#fill(header + size)) return undefined;
    this.#checkDescriptors(rule);
    const payload = this.#incoming.slice(header, header + size);
    this.#filled = 0;
    return { request, flags, payload, fds: this.#fds.splice(0) };
  }

  /** Closes the socket, and descriptors that nobody took. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#dropDescriptors();
    this.#libc.close(this.fd);
  }

  /** Whether so many bytes of the message are there, after looking for them. */
  #fill(target: number): boolean {
    while (this.#filled < target) {
      const into = this.#incoming.subarray(this.#filled, target);
      const got = this.#closed ? Received.FAILED : this.#socket.receive(into, this.#fds);
      if (got === Received.NOTHING) return false;
      if (got === Received.END || got === Received.FAILED) throw this.#gone(got);
      this.#filled += got;
      if (this.#fds.length > MAX_FDS) {
        throw this.#wrong("a message", `${this.#fds.length} descriptors`, `at most ${MAX_FDS}`);
      }
    }
    return true;
  }

  #gone(got: number): VireoError {
    const ended = got === Received.END && this.#filled === 0;
    const words = this.#closed ? undefined : this.#libc.failure;
    const failure = words === undefined ? "a failure" : `a failure (${words})`;
    return new VireoError("DEVICE_REMOVED", `The ${this.#peer} is gone`, {
      seen: ended ? "the end of the connection" : `${failure} after ${this.#filled} bytes`,
      expected: "a message",
    });
  }

  #check(request: number, flags: number, size: number): MessageRule {
    const version = flags & VhostUserFlag.VERSION;
    if (version !== VHOST_USER_VERSION) {
      throw this.#wrong("a message", `version ${version}`, `version ${VHOST_USER_VERSION}`);
    }
    const rule = this.#rules(request, flags);
    if (rule === undefined) {
      throw this.#wrong("a message", `request ${request}`, "a message that is due");
    }
    checkSize(rule, size, (seen, expected) => this.#wrong(rule.name, seen, expected));
    return rule;
  }

  #checkDescriptors(rule: MessageRule): void {
    const { minFds = 0, maxFds = 0 } = rule;
    const count = this.#fds.length;
    if (count >= minFds && count <= maxFds) return;
    const expected = minFds === maxFds ? String(minFds) : `${minFds} to ${maxFds}`;
    throw this.#wrong(rule.name, `${count} descriptors`, expected);
  }

  #dropDescriptors(): void {
    for (const fd of this.#fds.splice(0)) this.#libc.close(fd);
  }

  #wrong(what: string, seen: string, expected: string): VireoError {
    return new VireoError("BAD_MESSAGE", `Cannot take ${what} of the ${this.#peer}`, {
      seen,
      expected,
    });
  }
}

function checkSize(
  rule: PayloadRule,
  size: number,
  wrong: (seen: string, expected: string) => VireoError,
): void {
  if (size >= rule.min && size <= rule.max) return;
  const expected = rule.min === rule.max ? String(rule.min) : `${rule.min} to ${rule.max}`;
  throw wrong(`${size} bytes`, expected);
}
