import {
  ANY_ID,
  CONSOLE_CONFIG,
  CONSOLE_MAX_PORTS,
  CONSOLE_NO_PORT,
  ConsoleEvent,
  ConsoleFeature,
  ConsoleQueue,
  consoleReceiveQueue,
  DeviceId,
  FeatureSet,
  VireoError,
} from "@vireo/hal";
import type { QueueRequest, VirtioDevice } from "../device.ts";
import type { DriverInstance, VirtioDriver } from "../driver.ts";
import type { Virtqueue } from "../virtqueue/virtqueue.ts";
import { type ControlMessage, decodeControl, decodeSize, encodeControl } from "./_control.ts";
import { Condition } from "../wait/condition.ts";
import type { WaitOptions } from "../wait/options.ts";
import { Receiver } from "./_receiver.ts";
import { Sender } from "./_sender.ts";
import { emergencyWrite } from "./emergency.ts";
import { type ConsoleSize, Port, type PortLink } from "./port.ts";

/** Buffers in each direction of a port, and the length of each in bytes. */
const BUFFERS = 16;
const BUFFER_SIZE = 4096;
/** Most ports that queues are set up for, as many as QEMU has at most. */
const USED_PORTS = 511;
/** Most control messages of the device that there is room for; as many as its queue has, if fewer. */
const CONTROL_BUFFERS = 1024;
/** Bytes of each of them: a message, and a name that is not longer than a file's. */
const CONTROL_SIZE = 512;
/** Control messages that a device answers to PORT_READY with, one more than QEMU does. */
const ANSWERS = 4;
/** Control messages of ours that may wait for the device before its own are left unread. */
const CONTROL_LIMIT = 64;
/** The most bytes of a name that are kept. */
const NAME_LIMIT = 1024;

/** Counts of the device's messages that were ignored. */
export interface ConsoleCounters {
  /** Control messages shorter than their event needs, or with a port id out of range. */
  malformed: number;
  /** Control messages about a port that is not there. */
  unknownPort: number;
  /** Control messages with an event that devices do not send. */
  unknownEvent: number;
}

/** Called when a port came or went. */
export type PortListener = (port: Port, event: "added" | "removed") => void;

/**
 * A console device with one port, or with many (virtio 1.4 §5.3).
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo();
 * using port = (await vireo.console.port("echo")).open();
 * await port.writeText("hello");
 * assertEquals(new TextDecoder().decode((await port.read())!), "hello");
 * ```
 */
export class Console implements DriverInstance {
  /** Whether MULTIPORT was negotiated. */
  readonly multiport: boolean;
  /** Room for ports: what the device has, up to 511. */
  readonly maxPorts: number;
  /** Counts of the device's messages that were ignored. */
  readonly counters: ConsoleCounters = { malformed: 0, unknownPort: 0, unknownEvent: 0 };
  readonly #device: VirtioDevice;
  readonly #ports = new Map<number, Port>();
  readonly #links = new Map<number, PortLink>();
  readonly #introduced = new WeakSet<Port>();
  readonly #gate = new Condition();
  readonly #listeners = new Set<PortListener>();
  /** The queues that were found after the last reset, for the handshake to know its own. */
  #queues: readonly Virtqueue[] = [];
  #control: PortLink | undefined;
  #unsent = 0;
  /** Ports whose PORT_READY is not sent yet. */
  #waiting: Port[] = [];
  /** Ports whose PORT_READY the device has not answered yet. */
  #introducing = 0;
  /** Whether the device has taken DEVICE_READY and reported its ports before. */
  #announced = false;
  #frozen = false;
  #failure: Error | undefined;

  /** Wraps a device whose features are negotiated; {@linkcode Console.start} sets it up. */
  constructor(device: VirtioDevice) {
    this.#device = device;
    // Not `has`: a driver of serial ports, which have no features, may use this class too.
    this.multiport = device.features.has(ConsoleFeature.MULTIPORT);
    const ports = this.multiport ? device.config.read32(CONSOLE_CONFIG.max_nr_ports.offset) : 1;
    if (ports < 1 || ports >= CONSOLE_MAX_PORTS) {
      throw new VireoError("CONFIG_INVALID", "Cannot use the console's number of ports", {
        device: device.name,
        register: "max_nr_ports",
        seen: ports,
        base: 10,
        expected: `1 to ${CONSOLE_MAX_PORTS - 1}`,
      });
    }
    this.maxPorts = Math.min(ports, USED_PORTS);
  }

  /**
   * Sets a device up; what fails on the way leaves nothing behind.
   *
   * @param options Whether the only port of a device without MULTIPORT is a text console.
   * @throws {VireoError} `CONFIG_INVALID`, `OUT_OF_MEMORY` or what finding queues throws.
   */
  static async open(
    device: VirtioDevice,
    options: { readonly console: boolean },
  ): Promise<Console> {
    const console = new Console(device);
    try {
      console.start(options);
    } catch (error) {
      await console.remove();
      throw error;
    }
    return console;
  }

  /**
   * Finds the queues and starts the handshake.
   *
   * @param options Whether the only port of a device without MULTIPORT is a text console.
   */
  start(options: { readonly console: boolean }): void {
    this.#findQueues();
    if (this.multiport) {
      this.#control = this.#makeLink(
        ConsoleQueue.CONTROL_RECEIVE,
        CONTROL_BUFFERS,
        CONTROL_SIZE,
        false,
      );
    } else {
      const port = this.#addPort(0);
      if (options.console) port.setOnlyConsole();
      this.#introduced.add(port);
      this.#readSize();
    }
    this.#device.ready();
    this.#begin();
  }

  /** The ports there are now, by id. */
  get ports(): readonly Port[] {
    return [...this.#ports.values()].sort((a, b) => a.id - b.id);
  }

  /**
   * Waits for a port.
   *
   * @param which Its id or name; by default the first text console.
   * @throws {VireoError} `TIMEOUT`, or why the device failed; the signal's reason.
   */
  port(which?: number | string, options: WaitOptions = {}): Promise<Port> {
    const matches = (port: Port): boolean => {
      if (which === undefined) return port.isConsole;
      return typeof which === "number" ? port.id === which : port.name === which;
    };
    return this.#gate.until(`port ${which ?? "that is a console"}`, () => {
      if (this.#failure !== undefined) throw this.#failure;
      return this.ports.find((port) => this.#introduced.has(port) && matches(port));
    }, options);
  }

  /**
   * Calls a listener when a port came or went.
   *
   * @returns Ends it.
   */
  onPort(listener: PortListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Writes characters through the configuration, past all queues.
   *
   * @throws {VireoError} `UNSUPPORTED` If the device does not offer EMERG_WRITE.
   */
  emergencyWrite(data: string | number): void {
    emergencyWrite(this.#device.transport, data);
  }

  /** The device's configuration changed: without MULTIPORT, the size may have. */
  configChanged(): void {
    if (!this.multiport) this.#readSize();
  }

  /** The device or a queue failed: every pending call ends with this error. */
  failed(error: Error): void {
    // A suspend resets the device without a failure: readers keep waiting.
    if (this.#frozen && error instanceof VireoError && error.code === "DEVICE_STATE") return;
    this.#failure ??= error;
    for (const port of this.#ports.values()) port.fail(error);
    this.#stopControl(error);
    this.#gate.notify();
  }

  /** The device is about to be reset: writes that it has end with an error, readers wait on. */
  freeze(): void {
    this.#frozen = true;
    const error = this.#failure ??
      new VireoError("DEVICE_STATE", "Write was cut off by a reset", { device: this.#device.name });
    for (const port of this.#ports.values()) port.freeze(error);
    this.#stopControl(error);
  }

  /** The device was reset and renegotiated: sets up the queues and tells it of the ports again. */
  restore(): void {
    this.#findQueues();
    this.#frozen = false;
    this.#failure = undefined;
    if (this.#control !== undefined) {
      this.#rebind(this.#control, ConsoleQueue.CONTROL_RECEIVE);
      // Messages from before the reset are void.
      this.#control.receiver.forget();
      this.#control.sender.blocked = () => false;
    }
    for (const [id, link] of this.#links) this.#rebind(link, consoleReceiveQueue(id));
    this.#device.ready();
    this.#begin();
    for (const port of this.#ports.values()) {
      // The answer may get lost: the device then reports the port once more, and gets its answer again.
      if (this.multiport) this.#send(port.id, ConsoleEvent.PORT_READY, 1);
      port.thaw();
    }
  }

  /** Ends every port with `PORT_CLOSED`, resets the device and frees all memory. */
  async remove(): Promise<void> {
    const cause = this.#failure;
    this.#failure ??= new VireoError("DEVICE_REMOVED", "Console was removed", {
      device: this.#device.name,
    });
    for (const port of this.#ports.values()) {
      port.remove(cause);
      this.#tell(port, "removed");
    }
    this.#ports.clear();
    this.#stopControl(this.#failure);
    this.#gate.notify();
    await this.#device.reset();
    this.#device.deleteQueues();
    for (const link of [this.#control, ...this.#links.values()]) {
      link?.receiver[Symbol.dispose]();
      link?.sender[Symbol.dispose]();
    }
  }

  /**
   * Ends the control messages that wait for room; new ones end at once, and those that the device has when
   * the reset gives their buffers back.
   */
  #stopControl(error: Error): void {
    this.#waiting = [];
    this.#announced = false;
    if (this.#control === undefined) return;
    this.#control.sender.blocked = () => {
      throw error;
    };
  }

  #findQueues(): void {
    const callback = (queue: Virtqueue): void => this.#used(queue.index);
    const request = (name: string, later = false): QueueRequest => {
      return { name, callback, indirect: false, receives: /^input|-i$/.test(name), later };
    };
    const requests = [request("input.0"), request("output.0")];
    if (this.multiport) requests.push(request("control-i"), request("control-o"));
    for (let id = 1; id < this.maxPorts; id++) {
      // Most devices have room for many more ports than there are.
      requests.push(request(`input.${id}`, true), request(`output.${id}`, true));
    }
    this.#queues = this.#device.findQueues(requests);
  }

  /** The queues of a port with their buffers, the most of which come with its traffic. */
  #makeLink(receiveQueue: number, buffers = BUFFERS, size = BUFFER_SIZE, lazy = true): PortLink {
    const { dma } = this.#device;
    const [input, output] = this.#openPair(receiveQueue);
    const receiver = new Receiver(input, dma, buffers, size, lazy);
    return { receiver, sender: new Sender(output, dma, BUFFERS, size) };
  }

  #rebind(link: PortLink, receiveQueue: number): void {
    const [input, output] = this.#openPair(receiveQueue);
    link.receiver.rebind(input);
    link.sender.rebind(output);
  }

  /** The receive queue and the transmit queue of a port, or of the control messages. */
  #openPair(receiveQueue: number): [input: Virtqueue, output: Virtqueue] {
    const [input, output] = this.#device.openQueues([receiveQueue, receiveQueue + 1]);
    return [input!, output!];
  }

  /** Posts the buffers, the control queue's first, and says that the driver is ready. */
  #begin(): void {
    this.#control?.receiver.fill();
    for (const link of this.#links.values()) link.receiver.fill();
    if (this.multiport) this.#announce();
  }

  /**
   * Says that the driver is ready. A device may throw away what it has no buffer for, as QEMU does, and
   * reports all its ports before it gives this message's buffer back: only then is any of them answered.
   */
  async #announce(): Promise<void> {
    const queues = this.#queues;
    await this.#send(CONSOLE_NO_PORT, ConsoleEvent.DEVICE_READY, 1);
    // Cut off by a reset, after which it is said again.
    if (queues !== this.#queues || this.#frozen || this.#failure !== undefined) return;
    this.#control!.receiver.collect();
    this.#handleAll();
    this.#announced = true;
    this.#introduceMore();
  }

  /** A queue may have used buffers; even indices receive. */
  #used(index: number): void {
    const isControl = this.multiport && (index >> 1) === 1;
    const id = index < 2 ? 0 : (index >> 1) - 1;
    const link = isControl ? this.#control : this.#links.get(id);
    if (link === undefined) return;
    if ((index & 1) === 1) {
      link.sender.collect();
    } else if (isControl) {
      link.receiver.collect();
      this.#handleAll();
    } else if (this.#ports.has(id)) {
      this.#ports.get(id)!.received();
    } else {
      link.receiver.collect();
      link.receiver.discard();
    }
  }

  /** Handles what the device said, unless it does not take our answers. */
  #handleAll(): void {
    // A device may report all its ports before it takes any of our answers.
    while (this.#unsent + this.#waiting.length < CONTROL_LIMIT + this.maxPorts) {
      const bytes = this.#control?.receiver.take();
      if (bytes === undefined) return;
      const message = decodeControl(bytes);
      if (message === undefined) this.counters.malformed++;
      else this.#handle(message);
    }
  }

  #handle(message: ControlMessage): void {
    const { id, event, value, rest } = message;
    if (event === ConsoleEvent.PORT_ADD) return this.#portAdded(id);
    if (event < ConsoleEvent.PORT_ADD || event > ConsoleEvent.PORT_NAME) {
      this.counters.unknownEvent++;
      return;
    }
    const port = this.#ports.get(id);
    if (port === undefined) {
      this.counters.unknownPort++;
      return;
    }
    if (event === ConsoleEvent.PORT_REMOVE) this.#portRemoved(port);
    else if (event === ConsoleEvent.CONSOLE_PORT) port.setConsole();
    else if (event === ConsoleEvent.PORT_OPEN) port.setHostOpen(value !== 0);
    else if (event === ConsoleEvent.PORT_NAME) {
      // QEMU sends the name with the NUL that ends it in C.
      const end = rest.indexOf(0);
      const name = end < 0 ? rest : rest.subarray(0, end);
      port.setName(new TextDecoder().decode(name.subarray(0, NAME_LIMIT)));
    } else if (event === ConsoleEvent.RESIZE) this.#resized(port, decodeSize(rest));
    else this.counters.unknownEvent++;
    this.#gate.notify();
  }

  #resized(port: Port, size: ConsoleSize | undefined): void {
    if (size === undefined) this.counters.malformed++;
    else port.setSize(size);
  }

  /** A port that is there already is only confirmed, as on Linux. */
  #portAdded(id: number): void {
    if (id >= this.maxPorts) {
      this.counters.malformed++;
      return;
    }
    if (!this.#ports.has(id)) {
      try {
        this.#addPort(id);
        this.#links.get(id)!.receiver.fill();
      } catch (error) {
        // virtio 1.4 §5.3.6.2: a port that cannot be set up is answered with PORT_READY 0.
        this.#send(id, ConsoleEvent.PORT_READY, 0);
        if (!(error instanceof VireoError)) throw error;
        return;
      }
    }
    this.#introduce(this.#ports.get(id)!);
  }

  /** Has a port said to be ready, after those before it. */
  #introduce(port: Port): void {
    this.#waiting.push(port);
    this.#introduceMore();
  }

  /** Introduces as many ports at a time as there are buffers for the device's answers. */
  #introduceMore(): void {
    const most = Math.max(Math.floor((this.#control?.receiver.count ?? 0) / ANSWERS), 1);
    while (this.#announced && this.#waiting.length > 0 && this.#introducing < most) {
      this.#answer(this.#waiting.shift()!);
    }
  }

  /**
   * Says that a port is ready. Devices answer with the port's kind and name before they give that
   * message's buffer back, so then the port is shown to those who wait for one.
   */
  async #answer(port: Port): Promise<void> {
    this.#introducing++;
    await this.#send(port.id, ConsoleEvent.PORT_READY, 1);
    this.#control?.receiver.collect();
    this.#handleAll();
    this.#introducing--;
    this.#introduced.add(port);
    this.#gate.notify();
    this.#introduceMore();
  }

  #addPort(id: number): Port {
    let link = this.#links.get(id);
    if (link === undefined) this.#links.set(id, link = this.#makeLink(consoleReceiveQueue(id)));
    const port = new Port(id, link, {
      device: this.#device.name,
      multiport: this.multiport,
      sendOpen: (port, open) => this.#send(port, ConsoleEvent.PORT_OPEN, open ? 1 : 0),
    });
    this.#ports.set(id, port);
    this.#tell(port, "added");
    return port;
  }

  #portRemoved(port: Port): void {
    port.remove();
    this.#ports.delete(port.id);
    this.#waiting = this.#waiting.filter((waiting) => waiting !== port);
    this.#links.get(port.id)?.receiver.discard();
    this.#tell(port, "removed");
  }

  #tell(port: Port, event: "added" | "removed"): void {
    for (const listener of this.#listeners) {
      try {
        listener(port, event);
      } catch (error) {
        reportError(error);
      }
    }
  }

  /** Sends a control message after those before; resolves when the device has it, or never will. */
  async #send(id: number, event: ConsoleEvent, value: number): Promise<void> {
    this.#unsent++;
    try {
      await this.#control?.sender.send(encodeControl(id, event, value), {}, true);
    } catch {
      // A reset, a removal or a broken queue: the ports were told, and a restore says it all again.
    }
    this.#unsent--;
    this.#handleAll();
  }

  #readSize(): void {
    if (!this.#device.features.has(ConsoleFeature.SIZE)) return;
    const { config } = this.#device;
    this.#ports.get(0)?.setSize(config.stable(() => ({
      cols: config.read16(CONSOLE_CONFIG.cols.offset),
      rows: config.read16(CONSOLE_CONFIG.rows.offset),
    })));
  }
}

/** Drives console devices; what `probe` gives is a {@linkcode Console}. */
export const consoleDriver: VirtioDriver<Console> = {
  name: "virtio_console",
  ids: [{ device: DeviceId.CONSOLE, vendor: ANY_ID }],
  features: FeatureSet.of(
    ConsoleFeature.SIZE,
    ConsoleFeature.MULTIPORT,
    ConsoleFeature.EMERG_WRITE,
  ),
  featureNames: ConsoleFeature,
  probe: (device) => Console.open(device, { console: true }),
};
