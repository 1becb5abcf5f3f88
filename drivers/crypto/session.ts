import type { WaitOptions } from "../wait/options.ts";
import type { DataLengths, SessionParameters } from "./codec.ts";

/** What a session needs of its device. */
export interface CryptoHost {
  /** Creates a session on the device; its id. */
  create(parameters: SessionParameters, options: WaitOptions): Promise<number>;
  /** Destroys one. */
  destroy(parameters: SessionParameters, session: number): Promise<void>;
  /** One request: gives back what the device wrote to the destination. */
  run(
    parameters: SessionParameters,
    session: number | undefined,
    operation: number,
    parts: CryptoParts,
    options: WaitOptions,
  ): Promise<Uint8Array>;
}

/** The parts of a request; what a service does not have is empty. */
export interface CryptoParts {
  /** Initialization vector. */
  readonly iv?: Uint8Array | undefined;
  /** What is worked on. */
  readonly src: Uint8Array;
  /** Additional authenticated data. */
  readonly aad?: Uint8Array | undefined;
  /** Bytes that come out. */
  readonly dst: number;
  /** Bytes of the tag. */
  readonly tag?: number;
}

/** The lengths of a request's parts. */
export function lengthsOf({ iv, src, aad, dst, tag }: CryptoParts): DataLengths {
  return {
    iv: iv?.length ?? 0,
    src: src.length,
    aad: aad?.length ?? 0,
    dst,
    tag: tag ?? 0,
  };
}

/**
 * An algorithm with its key, on the device: one or two sessions, or none in stateless mode.
 *
 * Any number of requests may be in flight; they may end in any order.
 */
export class CryptoSession implements AsyncDisposable {
  readonly #host: CryptoHost;
  readonly #sessions: readonly {
    readonly parameters: SessionParameters;
    readonly id: number | undefined;
  }[];

  /** Wraps sessions that were created; the device does it. */
  constructor(
    host: CryptoHost,
    sessions: readonly {
      readonly parameters: SessionParameters;
      readonly id: number | undefined;
    }[],
  ) {
    this.#host = host;
    this.#sessions = sessions;
  }

  /** Whether each request carries key and parameters, and the device keeps nothing. */
  get stateless(): boolean {
    return this.#sessions[0]!.id === undefined;
  }

  /** Runs one operation with the session for it; for classes of services. */
  protected run(
    index: number,
    operation: number,
    parts: CryptoParts,
    options: WaitOptions,
  ): Promise<Uint8Array> {
    const { parameters, id } = this.#sessions[index]!;
    return this.#host.run(parameters, id, operation, parts, options);
  }

  /** Destroys the sessions on the device. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { parameters, id } of this.#sessions) {
      parameters.key.fill(0);
      if (id !== undefined) await this.#host.destroy(parameters, id);
    }
  }
}
