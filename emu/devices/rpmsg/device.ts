import {
  DeviceId,
  type FeatureNames,
  FeatureSet,
  RPMSG_BUFFER_SIZE,
  RPMSG_HDR,
  RPMSG_NS,
  RPMSG_NS_ADDRESS,
  RpmsgFeature,
  RpmsgNs,
  RpmsgQueue,
} from "@vireo/hal";
import type { Chain, DeviceContext, DeviceModel, ModelUsage, QueueSpec } from "../../device.ts";

/** Messages that may wait for the driver's buffers before the driver's own stay in the ring. */
const BACKLOG = 256;
/** Names that a driver may announce, and bytes that each counts for. */
const MAX_NAMES = 256;
const NAME_COST = 128;

/** A message to a service, its sender, and a way to answer. */
export type RpmsgHandler = (
  from: number,
  bytes: Uint8Array,
  reply: (bytes: Uint8Array) => void,
) => void;

/** A service of the remote processor. */
export interface RpmsgService {
  /** Its name, at most 31 bytes. */
  readonly name: string;
  /** Its address. */
  readonly address: number;
  /** Takes a message. */
  readonly handle: RpmsgHandler;
}

/** Options of {@linkcode RpmsgDevice}. */
export interface RpmsgDeviceOptions {
  /** The services that it has and announces. */
  readonly services: readonly RpmsgService[];
  /** Whether it has the name service; true by default. */
  readonly nameService?: boolean;
  /** Largest queue size in descriptors; 256 by default. */
  readonly queueSize?: number;
}

interface Waiting {
  readonly src: number;
  readonly dst: number;
  readonly bytes: Uint8Array;
}

/**
 * A remote processor that speaks rpmsg (Linux `virtio_rpmsg_bus.c`), with services in TypeScript.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rpmsgDriver } from "@vireo/drivers/rpmsg";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RpmsgDevice } from "@vireo/emu/rpmsg";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new RpmsgDevice({ services: [] });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(rpmsgDriver);
 * await bus.addPlatform(machine);
 * using endpoint = bus.get(rpmsgDriver)!.endpoint({});
 * // The remote processor begins.
 * device.send(0x400, endpoint.address, Uint8Array.of(1, 2));
 * const { from, bytes } = await endpoint.receive({ deadline: 1000 });
 * assertEquals([from, ...bytes], [0x400, 1, 2]);
 * ```
 */
export class RpmsgDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "rpmsg";
  /** Virtio device id 7. */
  readonly deviceId: number = DeviceId.RPMSG;
  /** The name service, if it has one. */
  readonly features: FeatureSet;
  /** Names of the bits. */
  readonly featureNames: FeatureNames = RpmsgFeature;
  /** To the driver, and from it. */
  readonly queues: readonly QueueSpec[];
  /** It has no configuration. */
  readonly configSize = 0;
  /** Services that the driver announced, by name. */
  readonly announced: Map<string, number> = new Map();
  /** Messages for an address that no service has. */
  unknown = 0;
  /** Names that the driver announced beyond the 256 that are kept. */
  refused = 0;
  /** Names, and messages that wait: those that services send of themselves are the host's own. */
  readonly bounds: ModelUsage = {
    items: MAX_NAMES + 2 * BACKLOG,
    bytes: MAX_NAMES * NAME_COST + 2 * BACKLOG * RPMSG_BUFFER_SIZE,
  };
  readonly #services = new Map<number, RpmsgService>();
  #waiting: Waiting[] = [];
  #context: DeviceContext | undefined;

  /** Makes the device. */
  constructor(options: RpmsgDeviceOptions) {
    this.features = options.nameService === false
      ? FeatureSet.NONE
      : FeatureSet.of(RpmsgFeature.NS);
    for (const service of options.services) this.#services.set(service.address, service);
    const maxSize = options.queueSize ?? 256;
    this.queues = [{ name: "input", maxSize }, { name: "output", maxSize }];
  }

  /** Messages that wait for the driver's buffers. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Sends the driver a message. */
  send(src: number, dst: number, bytes: Uint8Array): void {
    this.#waiting.push({ src, dst, bytes });
    this.#deliver();
  }

  /** Takes a service back, and tells the driver. */
  withdraw(service: RpmsgService): void {
    this.#services.delete(service.address);
    this.#tellName(service, RpmsgNs.DESTROY);
  }

  /** There is no configuration; the machine never asks. */
  readConfig(): number {
    return 0;
  }

  /** Announces the services. */
  activate(context: DeviceContext): void {
    this.#context = context;
    if (!context.features.has(RpmsgFeature.NS)) return;
    for (const service of this.#services.values()) this.#tellName(service, RpmsgNs.CREATE);
  }

  /** Takes messages, or sends those that wait. */
  notify(index: number): void {
    if (index === RpmsgQueue.RECEIVE) this.#deliver();
    this.#serve();
  }

  /** Forgets the driver. */
  reset(): void {
    this.#context = undefined;
    this.#waiting = [];
    this.announced.clear();
  }

  /** Names and messages. */
  usage(): ModelUsage {
    const bytes = this.#waiting.reduce((sum, { bytes }) => sum + bytes.length, 0);
    const names = this.announced.size;
    return { items: names + this.#waiting.length, bytes: names * NAME_COST + bytes };
  }

  /** Names and messages. */
  snapshot(): unknown {
    return {
      announced: [...this.announced],
      waiting: this.#waiting.map(({ src, dst, bytes }) => ({ src, dst, bytes: [...bytes] })),
    };
  }

  /** Takes the state back; services announced themselves to the driver before. */
  restore(state: unknown): void {
    const { announced, waiting } = state as {
      announced: [string, number][];
      waiting: { src: number; dst: number; bytes: number[] }[];
    };
    this.announced.clear();
    for (const [name, address] of announced) this.announced.set(name, address);
    this.#waiting = waiting.map((message) => ({
      ...message,
      bytes: Uint8Array.from(message.bytes),
    }));
  }

  /** Frees nothing. */
  [Symbol.dispose](): void {
    this.reset();
  }

  #tellName({ name, address }: RpmsgService, flags: RpmsgNs): void {
    const bytes = new Uint8Array(RPMSG_NS.SIZE);
    const view = new DataView(bytes.buffer);
    new TextEncoder().encodeInto(name, bytes.subarray(0, RPMSG_NS.name.size - 1));
    view.setUint32(RPMSG_NS.addr.offset, address, true);
    view.setUint32(RPMSG_NS.flags.offset, flags, true);
    this.send(RPMSG_NS_ADDRESS, RPMSG_NS_ADDRESS, bytes);
  }

  #serve(): void {
    const queue = this.#context?.queue(RpmsgQueue.TRANSMIT);
    if (queue === undefined) return;
    // Answers must find room: a driver that takes none is not read any more.
    const { work } = this.#context!;
    while (this.#waiting.length < BACKLOG) {
      const chain = work.take(queue);
      if (chain === undefined) break;
      if (!this.#take(chain)) return;
      queue.push(chain, 0);
    }
    queue.signal();
  }

  #take(chain: Chain): boolean {
    const room = chain.readableLength - RPMSG_HDR.SIZE;
    if (room < 0 || chain.readableLength > RPMSG_BUFFER_SIZE) {
      this.#context?.fault(`message buffer of ${chain.readableLength} bytes, expected 16 to 512`);
      return false;
    }
    const src = chain.readU32();
    const dst = chain.readU32();
    chain.skip(4);
    const length = chain.readU16();
    chain.skip(2);
    if (length > room) {
      this.#context?.fault(`message of ${length} bytes in a buffer with ${room}`);
      return false;
    }
    const bytes = new Uint8Array(length);
    chain.read(bytes);
    if (dst === RPMSG_NS_ADDRESS && length === RPMSG_NS.SIZE) this.#named(bytes);
    else {
      const service = this.#services.get(dst);
      if (service === undefined) this.unknown++;
      else service.handle(src, bytes, (answer) => this.send(dst, src, answer));
    }
    return true;
  }

  #named(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer);
    const name = new TextDecoder().decode(bytes.subarray(0, RPMSG_NS.name.size)).replace(
      /\0.*$/,
      "",
    );
    const address = view.getUint32(RPMSG_NS.addr.offset, true);
    if (view.getUint32(RPMSG_NS.flags.offset, true) === RpmsgNs.DESTROY) {
      this.announced.delete(name);
    } else if (this.announced.size < MAX_NAMES || this.announced.has(name)) {
      this.announced.set(name, address);
    } else this.refused++;
  }

  #deliver(): void {
    const queue = this.#context?.queue(RpmsgQueue.RECEIVE);
    if (queue === undefined) return;
    let pushed = false;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.writableLength < RPMSG_HDR.SIZE + next.bytes.length) {
        this.#context?.fault(`receive buffer of ${chain.writableLength} bytes`);
        return;
      }
      this.#waiting.shift();
      chain.writeU32(next.src);
      chain.writeU32(next.dst);
      chain.writeU32(0);
      chain.writeU16(next.bytes.length);
      chain.writeU16(0);
      chain.write(next.bytes);
      queue.push(chain);
      pushed = true;
    }
    if (pushed) queue.signal();
  }
}
