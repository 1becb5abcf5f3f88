import {
  ANY_ID,
  DeviceId,
  FeatureSet,
  RPMSG_ANY,
  RPMSG_BUFFER_SIZE,
  RPMSG_FIRST_DYNAMIC,
  RPMSG_HDR,
  RPMSG_MAX_BUFFERS,
  RPMSG_MTU,
  RPMSG_NS,
  RPMSG_NS_ADDRESS,
  RpmsgFeature,
  RpmsgNs,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { QueueDriver } from "../queue_driver.ts";
import type { ReceiveRing } from "../virtqueue/receive_ring.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { type WaitOptions, within } from "../wait/mod.ts";
import { RpmsgEndpoint } from "./endpoint.ts";

/** Milliseconds that a message waits for a buffer, as Linux has it. */
const SEND_DEADLINE = 15_000;
/** Most services that are remembered. */
export const MAX_CHANNELS: number = 1024;

/** A service that the remote processor announced. */
export interface RpmsgChannel {
  /** Its name, at most 31 bytes. */
  readonly name: string;
  /** Its address. */
  readonly address: number;
}

/** Counts of the remote processor's messages that were ignored. */
export interface RpmsgCounters {
  /** Messages whose length makes no sense. */
  malformed: number;
  /** Messages for an address that nobody has. */
  unknownAddress: number;
  /** Services that were announced when there were {@linkcode MAX_CHANNELS}. */
  tooManyServices: number;
}

/** Options of an endpoint. */
export interface EndpointOptions {
  /** Our address, 0 to 2^32 - 2; the lowest free one from 1024 up by default. */
  readonly local?: number;
  /** Where messages go unless told otherwise. */
  readonly remote?: number;
  /** Announces it under this name, at most 31 bytes; only with the name service. */
  readonly announce?: string;
}

/**
 * Messages to and from a remote processor (Linux `virtio_rpmsg_bus.c`).
 *
 * @example
 * ```ts
 * import type { Rpmsg } from "@vireo/drivers/rpmsg";
 *
 * // Asks a service of the remote processor, which it finds by name.
 * async function ask(rpmsg: Rpmsg, name: string, message: Uint8Array): Promise<Uint8Array> {
 *   const { address } = await rpmsg.channel(name, { deadline: 1000 });
 *   using endpoint = rpmsg.endpoint({ remote: address });
 *   await endpoint.send(message);
 *   return (await endpoint.receive({ deadline: 1000 })).bytes;
 * }
 * ```
 */
export class Rpmsg extends QueueDriver {
  /** Most bytes of a message. */
  readonly mtu: number = RPMSG_MTU;
  /** Counts of the messages that were ignored. */
  readonly counters: RpmsgCounters = { malformed: 0, unknownAddress: 0, tooManyServices: 0 };
  /** By address and name: services may share either. */
  readonly #channels = new Map<string, RpmsgChannel>();
  readonly #endpoints = new Map<number, RpmsgEndpoint>();
  readonly #announcements = this.broadcast<void>({ what: "service", limit: 1 });
  #ring!: ReceiveRing;
  #requests!: RequestQueue;

  /** Sets the queues up. */
  constructor(device: VirtioDevice) {
    super(device, "Remote processor");
    this.setUp();
  }

  /** The services that the remote processor announced, and did not take back. */
  get channels(): readonly RpmsgChannel[] {
    return [...this.#channels.values()];
  }

  /**
   * Waits until the remote processor announces a service.
   *
   * @throws {VireoError} `UNSUPPORTED` Without the name service; `TIMEOUT`, or why the device failed.
   */
  async channel(name: string, options: WaitOptions = {}): Promise<RpmsgChannel> {
    if (!this.device.has(RpmsgFeature.NS)) {
      throw this.error("UNSUPPORTED", "Remote processor has no name service");
    }
    const call = within(options);
    using changes = this.#announcements.listen({ what: `service '${name}'` });
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const found = this.channels.find((channel) => channel.name === name);
      if (found !== undefined) return found;
      await changes.take(call);
    }
  }

  /**
   * Takes an address.
   *
   * @throws {RangeError} If it is in use, or no address, or the name is empty or over 31 bytes;
   * {VireoError} `UNSUPPORTED` If it cannot be announced.
   */
  endpoint(options: EndpointOptions = {}): RpmsgEndpoint {
    const { remote, announce } = options;
    const local = options.local ?? this.#freeAddress();
    const valid = Number.isInteger(local) && local >= 0 && local < RPMSG_ANY;
    if (!valid || local === RPMSG_NS_ADDRESS || this.#endpoints.has(local)) {
      throw new RangeError(
        this.#endpoints.has(local)
          ? `Cannot take the address ${local}: it is in use`
          : `Cannot take the address ${local}: expected 0 to 2^32 - 2, and not ${RPMSG_NS_ADDRESS}`,
      );
    }
    if (announce !== undefined) {
      if (!this.device.has(RpmsgFeature.NS)) {
        throw this.error("UNSUPPORTED", "Remote processor has no name service");
      }
      const length = new TextEncoder().encode(announce).length;
      if (length === 0 || length >= RPMSG_NS.name.size) {
        throw new RangeError(`Cannot announce '${announce}': expected a name of 1 to 31 bytes`);
      }
    }
    const host = {
      device: this.device.name,
      send: this.#send,
      took: () => this.#drain(),
      closed: this.#closed,
    };
    const endpoint = new RpmsgEndpoint(host, local, remote, announce);
    if (this.failure !== undefined) endpoint.fail(this.failure);
    this.#endpoints.set(local, endpoint);
    if (announce !== undefined) this.#announce(announce, local, RpmsgNs.CREATE);
    return endpoint;
  }

  /** Opens the queues, and forgets services and endpoints from before. */
  protected override setUp(): void {
    this.#endpoints.clear();
    this.#channels.clear();
    [this.#ring, this.#requests] = this.openQueues(
      {
        name: "input",
        bytes: RPMSG_BUFFER_SIZE,
        count: RPMSG_MAX_BUFFERS / 2,
        received: () => this.#drain(),
      },
      { name: "output", indirect: false },
    );
  }

  /** Ends all endpoints. */
  protected override ended(error: Error): void {
    for (const endpoint of this.#endpoints.values()) endpoint.fail(error);
  }

  readonly #send = async (
    src: number,
    dst: number,
    bytes: Uint8Array,
    options: WaitOptions,
  ): Promise<void> => {
    if (bytes.length > RPMSG_MTU) {
      throw new RangeError(`Cannot send ${bytes.length} bytes: a message has at most ${RPMSG_MTU}`);
    }
    if (!Number.isInteger(dst) || dst < 0 || dst >= RPMSG_ANY) {
      throw new RangeError(`Cannot send to the address ${dst}: expected 0 to 2^32 - 2`);
    }
    const message = new Uint8Array(RPMSG_HDR.SIZE + bytes.length);
    const view = new DataView(message.buffer);
    view.setUint32(RPMSG_HDR.src.offset, src, true);
    view.setUint32(RPMSG_HDR.dst.offset, dst, true);
    view.setUint16(RPMSG_HDR.len.offset, bytes.length, true);
    message.set(bytes, RPMSG_HDR.SIZE);
    await this.ask(this.#requests, [message], 0, within(options, SEND_DEADLINE));
  };

  readonly #closed = (endpoint: RpmsgEndpoint): void => {
    if (this.#endpoints.get(endpoint.address) !== endpoint) return;
    this.#endpoints.delete(endpoint.address);
    if (endpoint.name === undefined || this.failure !== undefined) return;
    this.#announce(endpoint.name, endpoint.address, RpmsgNs.DESTROY);
  };

  #announce(name: string, address: number, flags: RpmsgNs): void {
    const bytes = new Uint8Array(RPMSG_NS.SIZE);
    const view = new DataView(bytes.buffer);
    bytes.set(new TextEncoder().encode(name));
    view.setUint32(RPMSG_NS.addr.offset, address, true);
    view.setUint32(RPMSG_NS.flags.offset, flags, true);
    // An error of sending fails the endpoint too.
    this.#send(address, RPMSG_NS_ADDRESS, bytes, {}).catch(() => {});
  }

  /** Takes messages as long as there is room for them; else the remote processor waits. */
  #drain(): void {
    if (this.failure !== undefined || this.#anyFull()) return;
    this.#ring.drain((bytes) => {
      this.#take(bytes);
      return !this.#anyFull();
    });
  }

  #anyFull(): boolean {
    for (const endpoint of this.#endpoints.values()) if (endpoint.full) return true;
    return false;
  }

  #take(buffer: Uint8Array): void {
    const room = buffer.length - RPMSG_HDR.SIZE;
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    const length = room < 0 ? Infinity : view.getUint16(RPMSG_HDR.len.offset, true);
    if (length > room) {
      this.counters.malformed++;
      return;
    }
    const from = view.getUint32(RPMSG_HDR.src.offset, true);
    const to = view.getUint32(RPMSG_HDR.dst.offset, true);
    const bytes = buffer.slice(RPMSG_HDR.SIZE, RPMSG_HDR.SIZE + length);
    this.#ring.copied(bytes.length);
    if (to === RPMSG_NS_ADDRESS && this.device.has(RpmsgFeature.NS)) return this.#named(bytes);
    const endpoint = this.#endpoints.get(to);
    if (endpoint === undefined) this.counters.unknownAddress++;
    else endpoint.deliver({ from, bytes });
  }

  #named(bytes: Uint8Array): void {
    if (bytes.length !== RPMSG_NS.SIZE) {
      this.counters.malformed++;
      return;
    }
    const view = new DataView(bytes.buffer);
    const text = bytes.subarray(0, RPMSG_NS.name.size - 1);
    const end = text.indexOf(0);
    const name = new TextDecoder().decode(end < 0 ? text : text.subarray(0, end));
    const address = view.getUint32(RPMSG_NS.addr.offset, true);
    const key = `${address}:${name}`;
    if ((view.getUint32(RPMSG_NS.flags.offset, true) & RpmsgNs.DESTROY) !== 0) {
      this.#channels.delete(key);
    } else if (this.#channels.size < MAX_CHANNELS || this.#channels.has(key)) {
      this.#channels.set(key, { name, address });
    } else {
      this.counters.tooManyServices++;
      return;
    }
    this.#announcements.push();
  }

  #freeAddress(): number {
    let address = RPMSG_FIRST_DYNAMIC;
    while (this.#endpoints.has(address)) address++;
    return address;
  }
}

/** Drives rpmsg devices; what `probe` gives is an {@linkcode Rpmsg}. */
export const rpmsgDriver: VirtioDriver<Rpmsg> = {
  name: "virtio_rpmsg_bus",
  ids: [{ device: DeviceId.RPMSG, vendor: ANY_ID }],
  features: FeatureSet.of(RpmsgFeature.NS),
  featureNames: RpmsgFeature,
  probe: (device) => new Rpmsg(device),
};
