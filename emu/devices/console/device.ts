import {
  CONSOLE_CONFIG,
  CONSOLE_CONTROL,
  CONSOLE_MAX_PORTS,
  CONSOLE_RESIZE,
  ConsoleEvent,
  ConsoleFeature,
  ConsoleQueue,
  consoleReceiveQueue,
  DeviceId,
  type FeatureNames,
  FeatureSet,
} from "@vireo/hal";
import type {
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  ModelUsage,
  QueueSpec,
} from "../../device.ts";
import { readSpace } from "../config_space.ts";
import { ConsolePort, type ConsolePortOptions, type ConsoleSize } from "./port.ts";

/** Control messages that may wait for the driver before its own are left in the ring. */
const OUTBOX_LIMIT = 256;
/** Most messages that answer one about a port, and bytes that a message counts for. */
const ANSWERS = 4;
const MESSAGE_COST = 64;

/** Options of {@linkcode ConsoleDevice}. */
export interface ConsoleDeviceOptions {
  /** The ports, from id 0. */
  readonly ports: readonly ConsolePortOptions[];
  /** Offers MULTIPORT; by default if there is not exactly one port or `maxPorts` is given. */
  readonly multiport?: boolean;
  /** Room for ports (`max_nr_ports`); by default as many as `ports`. */
  readonly maxPorts?: number;
  /** Offers SIZE with this size. */
  readonly size?: ConsoleSize;
  /** Offers EMERG_WRITE and takes its characters. */
  readonly emergency?: (byte: number) => void;
  /** Largest queue size in descriptors; 64 by default. */
  readonly queueSize?: number;
  /** The same of the control queues; `queueSize` by default. */
  readonly controlQueueSize?: number;
}

/** Counts of the driver's messages that the device ignored. */
export interface ConsoleCounters {
  /** Control messages about a port that is not there. */
  unknownPort: number;
  /** Control messages with an event that drivers do not send. */
  unknownEvent: number;
}

/**
 * The console device (virtio 1.4 §5.3), with one port or many.
 *
 * Host bytes wait in their stream until the driver posts buffers, and what the guest sends stays in its
 * ring until the host takes it: nothing is lost in either direction.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { consoleDriver } from "@vireo/drivers/console";
 * import { loopbackPort } from "@vireo/emu/backends";
 * import { ConsoleDevice } from "@vireo/emu/console";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new ConsoleDevice({ ports: [{ backend: loopbackPort() }], maxPorts: 2, multiport: true });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(consoleDriver);
 * await bus.addPlatform(machine);
 * // A port is plugged while the driver runs.
 * device.addPort({ name: "log", backend: loopbackPort() });
 * using port = (await bus.get(consoleDriver)!.port("log", { deadline: 1000 })).open();
 * await port.writeText("hello");
 * assertEquals(new TextDecoder().decode((await port.read())!), "hello");
 * ```
 */
export class ConsoleDevice implements DeviceModel {
  /** Name for reports. */
  readonly name: string = "console";
  /** Virtio device id 3. */
  readonly deviceId: number = DeviceId.CONSOLE;
  /** SIZE, MULTIPORT and EMERG_WRITE, as the options say. */
  readonly features: FeatureSet;
  /** Names of those bits. */
  readonly featureNames: FeatureNames = ConsoleFeature;
  /** Two queues a port, and two for control with MULTIPORT. */
  readonly queues: readonly QueueSpec[];
  /** Size of `struct virtio_console_config` in bytes. */
  readonly configSize: number = CONSOLE_CONFIG.SIZE;
  /** Counts of the driver's messages that were ignored. */
  readonly counters: ConsoleCounters = { unknownPort: 0, unknownEvent: 0 };
  /** Control messages: beyond the limit for the driver's own, the answers to the last one. */
  readonly bounds: ModelUsage;
  readonly #ports = new Map<number, ConsolePort>();
  readonly #maxPorts: number;
  readonly #emergency: ((byte: number) => void) | undefined;
  readonly #config = new DataView(new ArrayBuffer(CONSOLE_CONFIG.SIZE));
  #attached: DeviceContext | undefined;
  #context: DeviceContext | undefined;
  #driverReady = false;
  #outbox: Uint8Array[] = [];
  #receiving = false;

  /**
   * Makes the device.
   *
   * @throws {RangeError} If the ports do not fit in `maxPorts`, or it is not from 1 to 32767.
   */
  constructor(options: ConsoleDeviceOptions) {
    const multiport = options.multiport ??
      (options.ports.length !== 1 || options.maxPorts !== undefined);
    this.#maxPorts = options.maxPorts ?? Math.max(options.ports.length, 1);
    const most = multiport ? CONSOLE_MAX_PORTS - 1 : 1;
    if (!Number.isInteger(this.#maxPorts) || this.#maxPorts < 1 || this.#maxPorts > most) {
      throw new RangeError(
        `Cannot make a console of at most ${this.#maxPorts} ports: 'maxPorts' must be from 1 to ${most}`,
      );
    }
    const messages = OUTBOX_LIMIT + this.#maxPorts + ANSWERS;
    this.bounds = { items: messages, bytes: messages * MESSAGE_COST };
    const bits: number[] = [];
    if (options.size !== undefined) bits.push(ConsoleFeature.SIZE);
    if (multiport) bits.push(ConsoleFeature.MULTIPORT);
    if (options.emergency !== undefined) bits.push(ConsoleFeature.EMERG_WRITE);
    this.features = FeatureSet.of(...bits);
    this.#emergency = options.emergency;
    const { queueSize = 64, controlQueueSize = queueSize } = options;
    this.queues = queueSpecs(multiport ? this.#maxPorts : 0, queueSize, controlQueueSize);
    if (multiport) this.#config.setUint32(CONSOLE_CONFIG.max_nr_ports.offset, this.#maxPorts, true);
    if (options.size !== undefined) this.#setSize(options.size.cols, options.size.rows);
    for (const port of options.ports) this.addPort(port);
  }

  /** The ports there are, by id. */
  get ports(): ReadonlyMap<number, ConsolePort> {
    return this.#ports;
  }

  /** Control messages that wait for the driver's buffers. */
  get waitingMessages(): number {
    return this.#outbox.length;
  }

  /**
   * Adds a port; the driver is told if it is there (virtio 1.4 §5.3.6.2.1: a new id below the limit).
   *
   * @throws {RangeError} If there is no room or the id is taken or too high.
   */
  addPort(options: ConsolePortOptions): ConsolePort {
    let id = options.id ?? 0;
    if (options.id === undefined) { while (this.#ports.has(id)) id++; }
    if (!Number.isInteger(id) || id < 0 || id >= this.#maxPorts || this.#ports.has(id)) {
      throw new RangeError(
        `Cannot add port ${id}: the id must be free and below ${this.#maxPorts}`,
      );
    }
    const port = new ConsolePort(id, options, {
      context: () => this.#context,
      multiport: () => this.#multiport,
      hostChanged: (changed) => this.#hostChanged(changed),
    });
    this.#ports.set(id, port);
    if (this.#driverReady) this.#send(id, ConsoleEvent.PORT_ADD, 0);
    return port;
  }

  /**
   * Removes a port; the driver is told if it is there.
   *
   * @throws {RangeError} If there is no such port, or the device cannot say that it is gone.
   */
  removePort(id: number): void {
    const port = this.#ports.get(id);
    if (port === undefined || !this.features.has(ConsoleFeature.MULTIPORT)) {
      throw new RangeError(`Cannot remove port ${id}: a driver with MULTIPORT must know it`);
    }
    this.#ports.delete(id);
    if (this.#driverReady) this.#send(id, ConsoleEvent.PORT_REMOVE, 0);
    port.remove();
  }

  /**
   * Changes the console's size in characters; the driver is told by a config change, or with MULTIPORT
   * by a RESIZE message.
   *
   * @param port With MULTIPORT, which console; by default all of them.
   */
  resize(cols: number, rows: number, port?: number): void {
    if (!this.features.has(ConsoleFeature.SIZE)) return;
    this.#setSize(cols, rows);
    if (!this.#multiport) {
      this.#attached?.configChanged();
      return;
    }
    for (const each of this.#ports.values()) {
      if (each.console && each.ready && (port ?? each.id) === each.id) this.#sendSize(each.id);
    }
  }

  /** Reads configuration bytes. */
  readConfig(offset: number, width: ConfigWidth): number {
    return readSpace(this.#config, offset, width);
  }

  /** Takes `emerg_wr`, at any time, even before the driver set anything up (virtio 1.4 §5.3.5.1). */
  writeConfig(offset: number, _width: ConfigWidth, value: number): void {
    if (offset === CONSOLE_CONFIG.emerg_wr.offset) this.#emergency?.(value & 0xff);
  }

  /** Keeps the way to report a new size. */
  attach(context: DeviceContext): void {
    this.#attached = context;
  }

  /** Starts the ports that exist. */
  activate(context: DeviceContext): void {
    this.#context = context;
    for (const spec of this.queues.keys()) this.notify(spec);
  }

  /** Moves bytes of one port, or control messages. */
  notify(queue: number): void {
    if (queue === ConsoleQueue.CONTROL_RECEIVE) this.#flush();
    else if (queue === ConsoleQueue.CONTROL_TRANSMIT) this.#receive();
    else this.#notifyPort(queue < 2 ? 0 : (queue >> 1) - 1, queue);
  }

  /** Lets go of the chains of one queue. */
  resetQueue(queue: number): void {
    if (queue === ConsoleQueue.CONTROL_RECEIVE || queue === ConsoleQueue.CONTROL_TRANSMIT) return;
    this.#ports.get(queue < 2 ? 0 : (queue >> 1) - 1)?.reset(false);
  }

  /** Forgets the driver: ports are closed on its side. */
  reset(): void {
    this.#context = undefined;
    this.#driverReady = false;
    this.#outbox = [];
    for (const port of this.#ports.values()) port.reset(true);
  }

  /** Control messages that wait. */
  usage(): ModelUsage {
    const { length } = this.#outbox;
    return { items: length, bytes: length * MESSAGE_COST };
  }

  /** Ports, size and control messages under way, as plain data. */
  snapshot(): unknown {
    return {
      driverReady: this.#driverReady,
      cols: this.#config.getUint16(CONSOLE_CONFIG.cols.offset, true),
      rows: this.#config.getUint16(CONSOLE_CONFIG.rows.offset, true),
      outbox: this.#outbox.map((message) => [...message]),
      ports: [...this.#ports.values()].map((port) => port.snapshot()),
    };
  }

  /** Takes the state back; the ports that it names must be there. */
  restore(state: unknown): void {
    const saved = state as {
      driverReady: boolean;
      cols: number;
      rows: number;
      outbox: number[][];
      ports: (Record<string, unknown> & { id: number })[];
    };
    this.#driverReady = saved.driverReady;
    this.#setSize(saved.cols, saved.rows);
    this.#outbox = saved.outbox.map((message) => Uint8Array.from(message));
    for (const port of saved.ports) this.#ports.get(port.id)?.restore(port);
  }

  /** Closes all ports towards the host. */
  [Symbol.dispose](): void {
    this.#context = undefined;
    for (const port of this.#ports.values()) port.remove();
    this.#ports.clear();
  }

  /** Whether MULTIPORT is in use; what was offered counts until the driver chose. */
  get #multiport(): boolean {
    return (this.#context?.features ?? this.features).has(ConsoleFeature.MULTIPORT);
  }

  #setSize(cols: number, rows: number): void {
    this.#config.setUint16(CONSOLE_CONFIG.cols.offset, cols, true);
    this.#config.setUint16(CONSOLE_CONFIG.rows.offset, rows, true);
  }

  #notifyPort(id: number, index: number): void {
    const port = this.#ports.get(id);
    const isReceive = index === consoleReceiveQueue(id);
    if (port === undefined) {
      // Nobody is there to take it; a driver that did not see the removal yet must not hang.
      if (!isReceive) this.#discard(index);
    } else if (isReceive) port.toGuest();
    else port.fromGuest();
  }

  #discard(index: number): void {
    const queue = this.#context?.queue(index);
    if (queue === undefined) return;
    const { work } = this.#context!;
    for (let chain = work.take(queue); chain !== undefined; chain = work.take(queue)) {
      queue.push(chain, 0);
    }
    queue.signal();
  }

  #hostChanged(port: ConsolePort): void {
    if (port.ready) this.#send(port.id, ConsoleEvent.PORT_OPEN, port.hostOpen ? 1 : 0);
  }

  /** Takes the driver's control messages, unless it does not take ours. */
  #receive(): void {
    const queue = this.#context?.queue(ConsoleQueue.CONTROL_TRANSMIT);
    if (queue === undefined || this.#receiving) return;
    this.#receiving = true;
    while (this.#outbox.length < OUTBOX_LIMIT) {
      const chain = this.#context!.work.take(queue);
      if (chain === undefined) break;
      if (chain.writableLength > 0 || chain.readableLength < CONSOLE_CONTROL.SIZE) {
        this.#context?.fault("control message is device-writable or shorter than its header");
        break;
      }
      const id = chain.readU32();
      const event = chain.readU16();
      const value = chain.readU16();
      queue.push(chain, 0);
      this.#handle(id, event, value);
    }
    this.#receiving = false;
    queue.signal();
  }

  #handle(id: number, event: number, value: number): void {
    if (event === ConsoleEvent.DEVICE_READY) {
      this.#driverReady = value === 1;
      if (!this.#driverReady) return;
      for (const known of this.#ports.keys()) this.#send(known, ConsoleEvent.PORT_ADD, 0);
      return;
    }
    if (event !== ConsoleEvent.PORT_READY && event !== ConsoleEvent.PORT_OPEN) {
      this.counters.unknownEvent++;
      return;
    }
    const port = this.#ports.get(id);
    if (port === undefined) this.counters.unknownPort++;
    else if (event === ConsoleEvent.PORT_OPEN) port.setGuestOpen(value === 1);
    else this.#portReady(port, value === 1);
  }

  #portReady(port: ConsolePort, ready: boolean): void {
    port.setReady(ready);
    if (!ready) return;
    if (port.console) {
      this.#send(port.id, ConsoleEvent.CONSOLE_PORT, 1);
      if (this.#context?.features.has(ConsoleFeature.SIZE)) this.#sendSize(port.id);
    }
    if (port.name !== "") {
      this.#send(port.id, ConsoleEvent.PORT_NAME, 1, new TextEncoder().encode(port.name));
    }
    if (port.hostOpen) this.#send(port.id, ConsoleEvent.PORT_OPEN, 1);
  }

  #sendSize(id: number): void {
    const start = CONSOLE_CONFIG.cols.offset;
    const size = new Uint8Array(this.#config.buffer.slice(start, start + CONSOLE_RESIZE.SIZE));
    this.#send(id, ConsoleEvent.RESIZE, 1, size);
  }

  #send(id: number, event: ConsoleEvent, value: number, extra = new Uint8Array(0)): void {
    const message = new Uint8Array(CONSOLE_CONTROL.SIZE + extra.length);
    const view = new DataView(message.buffer);
    view.setUint32(CONSOLE_CONTROL.id.offset, id, true);
    view.setUint16(CONSOLE_CONTROL.event.offset, event, true);
    view.setUint16(CONSOLE_CONTROL.value.offset, value, true);
    message.set(extra, CONSOLE_CONTROL.SIZE);
    this.#outbox.push(message);
    this.#flush();
  }

  /** Gives waiting messages to the driver, as far as it posted buffers. */
  #flush(): void {
    const queue = this.#context?.queue(ConsoleQueue.CONTROL_RECEIVE);
    if (queue === undefined) return;
    const wasFull = this.#outbox.length >= OUTBOX_LIMIT;
    let sent = 0;
    while (sent < this.#outbox.length) {
      const chain = queue.pop();
      if (chain === undefined) break;
      const message = this.#outbox[sent]!;
      if (chain.readableLength > 0 || chain.writableLength < message.length) {
        this.#context?.fault("control receive buffer is device-readable or too small");
        return;
      }
      chain.write(message);
      queue.push(chain);
      sent++;
    }
    if (sent === 0) return;
    this.#outbox.splice(0, sent);
    queue.signal();
    if (wasFull) this.#receive();
  }
}

/** The queues of a device with room for so many ports; 0 is a device without MULTIPORT. */
function queueSpecs(maxPorts: number, maxSize: number, control: number): QueueSpec[] {
  const specs = [{ name: "receiveq0", maxSize }, { name: "transmitq0", maxSize }];
  if (maxPorts === 0) return specs;
  specs.push({ name: "control receiveq", maxSize: control });
  specs.push({ name: "control transmitq", maxSize: control });
  for (let port = 1; port < maxPorts; port++) {
    specs.push({ name: `receiveq${port}`, maxSize }, { name: `transmitq${port}`, maxSize });
  }
  return specs;
}
