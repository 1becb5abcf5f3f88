import type { WaitOptions } from "../wait/options.ts";
import { MessageStream } from "../wait/message_stream.ts";

/** A message that came. */
export interface RpmsgMessage {
  /** Address of the sender. */
  readonly from: number;
  /** Bytes of the message. */
  readonly bytes: Uint8Array;
}

/** The parts of its bus that an endpoint uses. */
export interface EndpointHost {
  /** Name of the device, for errors. */
  readonly device: string;
  /** Sends a message. */
  send(src: number, dst: number, bytes: Uint8Array, options: WaitOptions): Promise<void>;
  /** Room came for more messages. */
  took(): void;
  /** The endpoint's address is free again. */
  closed(endpoint: RpmsgEndpoint): void;
}

/** Messages that may wait at an endpoint before the remote processor has to. */
const ENDPOINT_LIMIT = 64;

/**
 * One address of ours on an rpmsg bus.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rpmsgDriver } from "@vireo/drivers/rpmsg";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RpmsgDevice, type RpmsgService } from "@vireo/emu/rpmsg";
 * import { assertEquals } from "@std/assert";
 *
 * const counter: RpmsgService = {
 *   name: "counter",
 *   address: 0x400,
 *   handle(_, bytes, reply) {
 *     for (let i = 1; i <= bytes[0]!; i++) reply(Uint8Array.of(i));
 *   },
 * };
 * await using machine = EmulatedMachine.create({ devices: [new RpmsgDevice({ services: [counter] })] });
 * await using bus = new Bus();
 * await bus.registerDriver(rpmsgDriver);
 * await bus.addPlatform(machine);
 * using endpoint = bus.get(rpmsgDriver)!.endpoint({ remote: 0x400 });
 * await endpoint.send(Uint8Array.of(3));
 * let sum = 0;
 * for await (const { bytes } of endpoint) if ((sum += bytes[0]!) === 6) break;
 * assertEquals(sum, 6);
 * ```
 */
export class RpmsgEndpoint implements Disposable {
  /** Our address. */
  readonly address: number;
  /** Where messages go unless told otherwise; undefined for none. */
  readonly remote: number | undefined;
  /** The name under which it was announced; undefined if it was not. */
  readonly name: string | undefined;
  readonly #host: EndpointHost;
  readonly #stream: MessageStream<RpmsgMessage>;

  /** Makes an endpoint; the bus does it. */
  constructor(
    host: EndpointHost,
    address: number,
    remote: number | undefined,
    name: string | undefined,
  ) {
    this.#host = host;
    this.address = address;
    this.remote = remote;
    this.name = name;
    this.#stream = new MessageStream({
      device: host.device,
      what: `message for address ${address}`,
      limit: Infinity,
      onTake: () => host.took(),
    });
  }

  /** Whether so many messages wait that the remote processor has to. */
  get full(): boolean {
    return this.#stream.waiting >= ENDPOINT_LIMIT;
  }

  /**
   * Sends a message; waits for a buffer if all are under way.
   *
   * @param to The address; the endpoint's `remote` by default.
   * @throws {RangeError} If it is over 496 bytes, or there is nobody to send to.
   * @throws {VireoError} `TIMEOUT` If no buffer comes back within 15 s or the deadline, `PORT_CLOSED`,
   * or why the device failed.
   */
  send(
    bytes: Uint8Array,
    options: WaitOptions & { readonly to?: number | undefined } = {},
  ): Promise<void> {
    const to = options.to ?? this.remote;
    if (to === undefined) {
      throw new RangeError("Cannot send the message: an address must be given");
    }
    return this.#host.send(this.address, to, bytes, options);
  }

  /**
   * Takes the next message.
   *
   * @throws {VireoError} `TIMEOUT`, `PORT_CLOSED`, or why the device failed; the signal's reason.
   */
  receive(options: WaitOptions = {}): Promise<RpmsgMessage> {
    return this.#stream.take(options);
  }

  /** All messages from now on, until it is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<RpmsgMessage> {
    for (;;) {
      const { value, done } = await this.#stream.next();
      if (done) return;
      yield value;
    }
  }

  /** Gives it a message; the bus does it. */
  deliver(message: RpmsgMessage): void {
    this.#stream.push(message);
  }

  /** Ends what waits at it; the bus does it. */
  fail(error: Error): void {
    this.#stream.fail(error);
  }

  /** Gives the address back; tells the remote processor if it was announced. */
  [Symbol.dispose](): void {
    this.#stream[Symbol.dispose]();
    this.#host.closed(this);
  }
}
