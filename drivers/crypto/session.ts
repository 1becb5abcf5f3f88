import { type WaitOptions, within } from "../wait/mod.ts";
import type { ChainLengths, DataLengths, SessionNumber, SessionParameters } from "./codec.ts";

/** A session on the device. */
export interface SessionId extends SessionNumber {
  /** The setup of the device that it belongs to: a reset ends all sessions. */
  readonly life: number;
}

/** Parameters, and their session; without one, each request carries them. */
export interface HeldSession {
  /** Parameters of the session's algorithm, and its key. */
  readonly parameters: SessionParameters;
  /** The session; undefined in stateless mode. */
  readonly id: SessionId | undefined;
}

/** The parts of its device that a session uses. */
export interface CryptoHost {
  /** Creates a session on the device. */
  create(parameters: SessionParameters, options: WaitOptions): Promise<SessionId>;
  /** Destroys one. */
  destroy(parameters: SessionParameters, session: SessionId, options: WaitOptions): Promise<void>;
  /** One request: gives back what the device wrote to the destination. */
  run(
    parameters: SessionParameters,
    session: SessionId | undefined,
    operation: number,
    parts: CryptoParts,
    options: WaitOptions,
  ): Promise<Uint8Array>;
}

/** The parts of a request; what a service does not have is empty. */
export interface CryptoParts {
  /** Initialization vector. */
  readonly iv?: Uint8Array | undefined;
  /** The input. */
  readonly src: Uint8Array;
  /** Additional authenticated data. */
  readonly aad?: Uint8Array | undefined;
  /** Room for the result, in bytes. */
  readonly dst: number;
  /** Fewest bytes of a result; as many as there is room for by default. */
  readonly least?: number;
  /** Bytes of the tag. */
  readonly tag?: number;
  /** Of a chain: parts of the input, and bytes of the digest, which follows the result. */
  readonly chain?: ChainLengths;
}

/** The lengths of a request's parts. */
export function lengthsOf({ iv, src, aad, dst, tag, chain }: CryptoParts): DataLengths {
  return {
    iv: iv?.length ?? 0,
    src: src.length,
    aad: aad?.length ?? 0,
    dst,
    tag: tag ?? 0,
    chain,
  };
}

/**
 * An algorithm with its key, on the device: one or two sessions, or none in stateless mode.
 *
 * Any number of requests may be in flight; they may end in any order.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { cryptoDriver } from "@vireo/drivers/crypto";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { CryptoDevice } from "@vireo/emu/crypto";
 * import { CryptoHash } from "@vireo/hal";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new CryptoDevice()] });
 * await using bus = new Bus();
 * await bus.registerDriver(cryptoDriver);
 * await bus.addPlatform(machine);
 * const hash = await bus.get(cryptoDriver)!.hash(CryptoHash.SHA_256);
 * assertEquals(hash.stateless, false);
 * await hash.close({ deadline: 1000 });
 * await assertRejects(() => hash.digest(new Uint8Array(1)), TypeError, "it is closed");
 * ```
 */
export class CryptoSession implements AsyncDisposable {
  readonly #host: CryptoHost;
  readonly #sessions: readonly HeldSession[];
  #closed = false;

  /** Wraps sessions that were created; the device does it. */
  constructor(host: CryptoHost, sessions: readonly HeldSession[]) {
    this.#host = host;
    this.#sessions = sessions;
  }

  /** Whether each request carries key and parameters, and the device keeps nothing. */
  get stateless(): boolean {
    return this.#sessions[0]!.id === undefined;
  }

  /** Runs one operation with the session for it; for classes of services. */
  protected async run(
    index: number,
    operation: number,
    parts: CryptoParts,
    options: WaitOptions,
  ): Promise<Uint8Array> {
    if (this.#closed) throw new TypeError("Cannot use the algorithm: it is closed");
    const { parameters, id } = this.#sessions[index]!;
    return await this.#host.run(parameters, id, operation, parts, options);
  }

  /**
   * Destroys the sessions on the device, and forgets the key.
   *
   * @throws {VireoError} `BAD_STATUS` If the device refuses; `TIMEOUT`; the signal's reason.
   */
  async close(options: WaitOptions = {}): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const call = within(options);
    const ends = await Promise.allSettled(this.#sessions.map(({ parameters, id }) => {
      parameters.key.fill(0);
      return id === undefined ? undefined : this.#host.destroy(parameters, id, call);
    }));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  /** As {@linkcode CryptoSession.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
