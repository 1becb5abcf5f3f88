import {
  DeviceId,
  type Dma,
  Feature,
  FeatureSet,
  type Interrupt,
  InterruptCause,
  Status,
  VHOST_USER_NET_CONFIG,
  VHOST_USER_NET_CONTROL,
  VHOST_USER_NET_PAIRS,
  type VhostUserLease,
  type VhostUserNode,
  VireoError,
} from "@vireo/hal";
import type { QueueAddresses } from "../virtqueue/virtqueue.ts";
import type { AccessWidth, InterruptRoute, QueueInterrupt, Transport } from "./transport.ts";

/**
 * The largest size of a queue. The protocol does not ask, and some back ends end when they refuse one: they
 * take what QEMU's devices have by default, and those of disks and networks what it allows.
 */
const QUEUE_SIZE = 128;
const QUEUE_SIZES: Readonly<Record<number, number>> = {
  [DeviceId.NET]: 1024,
  [DeviceId.BLOCK]: 1024,
};

/**
 * A device behind a vhost-user socket. What registers do elsewhere are messages here; the status is the
 * transport's own unless the back end keeps one (`VHOST_USER_PROTOCOL_F_STATUS`).
 */
export class VhostUserTransport implements Transport {
  /** Name of the socket: `vhost-user:<path>`. */
  readonly name: string;
  /** The kind. */
  readonly kind = "vhost-user";
  /** False: a back end without VERSION_1 is driven by the legacy rules, but has no legacy registers. */
  readonly legacy = false;
  /** Virtio device id, as the user gave it. */
  readonly deviceId: number;
  /** 0: the protocol does not tell. */
  readonly vendorId = 0;
  /** Memory that is shared with the back end. */
  readonly dma: Dma;
  /** Interrupts of configuration changes; each queue has its own. */
  readonly interrupt: Interrupt;
  /** The parts of a queue are told one by one. */
  readonly legacyQueueAlign: undefined = undefined;
  /** Any size will do. */
  readonly fixedQueueSize = false;
  /** Features of a network device that nobody serves: they need a control queue or a configuration. */
  readonly withheld: FeatureSet;
  /** Undefined: the device is not a PCI function. */
  readonly pci: undefined = undefined;
  readonly #lease: VhostUserLease;
  readonly #inUse = new Set<number>();
  #waiting: number[] = [];
  #packed = false;
  #running = false;
  #route: InterruptRoute | undefined;
  #seenChanges = 0;

  /**
   * Connects to the socket of a node.
   *
   * @throws {VireoError} `HOST_ERROR` If nobody listens there; `BAD_MESSAGE`, `TIMEOUT` or
   * `DEVICE_REMOVED` If the back end does not follow the protocol.
   */
  constructor(node: VhostUserNode, dma: Dma) {
    this.name = node.name;
    this.deviceId = node.deviceId;
    this.dma = dma;
    this.#lease = node.open();
    this.withheld = node.deviceId === DeviceId.NET ? withheld(this.#lease) : FeatureSet.NONE;
    this.interrupt = this.#lease.configInterrupt;
  }

  /** Reads the feature bits that the back end offers. */
  readFeatures(): FeatureSet {
    return this.#lease.readFeatures();
  }

  /** Writes the feature bits that the driver accepts. */
  writeFeatures(features: FeatureSet): void {
    this.#packed = features.has(Feature.RING_PACKED);
    this.#lease.writeFeatures(features);
  }

  /**
   * Reads the device status.
   *
   * @throws {VireoError} `DEVICE_REMOVED` If the back end is gone.
   */
  readStatus(): number {
    return this.#lease.readStatus();
  }

  /**
   * Writes the device status.
   *
   * @throws {RangeError} If it is 0, which is a reset.
   */
  writeStatus(status: number): void {
    if (status === 0) throw new RangeError("Cannot write status 0: use reset()");
    // An enabled queue is one that the back end may use, whatever the status.
    if ((status & Status.DRIVER_OK) !== 0) this.#enableAll();
    this.#running = (status & Status.DRIVER_OK) !== 0;
    this.#lease.writeStatus(status);
  }

  /**
   * Stops all queues and resets the device, where the back end can; it has answered then.
   *
   * @throws {VireoError} `DEVICE_REMOVED` If the back end is gone.
   */
  reset(): Promise<void> {
    this.#inUse.clear();
    this.#waiting = [];
    this.#running = false;
    this.#route = undefined;
    return Promise.try(() => this.#lease.reset());
  }

  /**
   * The largest size of a queue; 0 if the back end does not have so many.
   *
   * @throws {VireoError} `QUEUE_IN_USE` If it is set up already.
   */
  queueMaxSize(index: number): number {
    if (this.#inUse.has(index)) {
      throw new VireoError("QUEUE_IN_USE", "Cannot set up the queue: it is already in use", {
        device: this.name,
        queue: index,
      });
    }
    return index < this.#lease.queues ? QUEUE_SIZES[this.deviceId] ?? QUEUE_SIZE : 0;
  }

  /** How interrupts come; undefined before the queues are found and after a reset. */
  get route(): InterruptRoute | undefined {
    return this.#route;
  }

  /** An eventfd for each queue whose used buffers anybody wants to know of, and one for changes. */
  routeInterrupts(queues: readonly QueueInterrupt[]): InterruptRoute {
    const wanted = queues.filter(({ wanted }) => wanted).map(({ index }) => ({
      interrupt: this.#lease.queueInterrupt(index),
      cause: InterruptCause.QUEUE,
      queues: [index],
    }));
    const changes = { interrupt: this.interrupt, cause: InterruptCause.CONFIG, queues: [] };
    return this.#route = { policy: "eventfd", sources: [changes, ...wanted], refused: [] };
  }

  /** Tells the back end of a queue. */
  enableQueue(index: number, queue: QueueAddresses): void {
    this.#inUse.add(index);
    this.#lease.setUpQueue(index, { ...queue, packed: this.#packed });
    this.#waiting.push(index);
  }

  /** Lets the back end look at the queues that were set up, from DRIVER_OK on. */
  startQueues(): void {
    if (this.#running) this.#enableAll();
  }

  /** Stops a queue, unless a reset or the end of the back end did. */
  disableQueue(index: number): void {
    this.#inUse.delete(index);
    this.#waiting = this.#waiting.filter((waiting) => waiting !== index);
    if (this.#lease.present) this.#lease.stopQueue(index);
  }

  /**
   * Refuses: RING_RESET is not negotiated.
   *
   * @throws {VireoError} `QUEUE_RESET_UNSUPPORTED` Always.
   */
  resetQueue(index: number): Promise<void> {
    return Promise.reject(
      new VireoError(
        "QUEUE_RESET_UNSUPPORTED",
        "Cannot reset one queue: the device must have registers",
        {
          device: this.name,
          queue: index,
        },
      ),
    );
  }

  /** Writes the queue's eventfd. */
  notify(index: number): void {
    this.#lease.kick(index);
  }

  /**
   * Reads a configuration field with one message.
   *
   * @throws {VireoError} `CONFIG_ACCESS` If the back end does not have it.
   * @throws {RangeError} If it is misaligned.
   */
  readConfig(offset: number, width: AccessWidth): number {
    checkConfig(offset, width);
    const bytes = this.#lease.readConfig(offset, width);
    return bytes.reduce((value, byte, i) => value + byte * 2 ** (8 * i), 0);
  }

  /**
   * Writes a configuration field with one message.
   *
   * @throws {VireoError} `CONFIG_ACCESS` If the back end takes none.
   * @throws {RangeError} If it is misaligned.
   */
  writeConfig(offset: number, width: AccessWidth, value: number): void {
    checkConfig(offset, width);
    const bytes = Uint8Array.from({ length: width }, (_, i) => value >>> (8 * i));
    this.#lease.writeConfig(offset, bytes);
  }

  /** How often the back end said that the configuration changed. */
  configGeneration(): number {
    return this.#lease.configChanges >>> 0;
  }

  /** None: a socket shares no memory of the device. */
  sharedMemory(): undefined {
    return undefined;
  }

  /** Whether the configuration changed since this was last taken; queues have eventfds. */
  takeInterruptCause(): number {
    const cause = this.peekInterruptCause();
    this.#seenChanges = this.#lease.configChanges;
    return cause;
  }

  /** The same, without taking it. */
  peekInterruptCause(): number {
    return this.#lease.configChanges === this.#seenChanges ? 0 : InterruptCause.CONFIG;
  }

  /** Whether the back end is there. */
  isPresent(): boolean {
    return this.#lease.present;
  }

  /** Closes the connection. */
  [Symbol.dispose](): void {
    this.#lease[Symbol.dispose]();
  }

  #enableAll(): void {
    for (const index of this.#waiting.splice(0)) this.#lease.enableQueue(index);
  }
}

/** Features of a network device that neither its back end nor the front end can serve. */
function withheld({ hasConfig, pairs }: VhostUserLease): FeatureSet {
  const control = pairs > 0
    ? VHOST_USER_NET_CONTROL.minus(VHOST_USER_NET_PAIRS)
    : VHOST_USER_NET_CONTROL;
  return hasConfig ? control : control.or(VHOST_USER_NET_CONFIG);
}

function checkConfig(offset: number, width: AccessWidth): void {
  if (offset >= 0 && offset % width === 0) return;
  throw new RangeError(
    `Cannot access ${width} configuration bytes at offset ${offset}: expected a multiple of ${width}`,
  );
}
