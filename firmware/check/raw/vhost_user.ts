import { FeatureSet, type VhostUserLease, type VhostUserNode, VireoError } from "@vireo/hal";
import { CheckSkip } from "../failure.ts";
import type { Parts, RawDevice } from "./device.ts";
import type { Log } from "./log.ts";
import { CAUSE, FEATURE, type Place, STATUS } from "./registers.ts";

/** The largest size of a queue, which the protocol does not tell; QEMU's devices have so many by default. */
const QUEUE_SIZE = 128;
/** Bytes of configuration that a message can carry. */
const CONFIG_SIZE = 256;

/** A queue that the driver speaks of. */
interface Queue {
  size: number;
  parts: Parts | undefined;
  base: number;
  enabled: boolean;
}

/**
 * A device behind a vhost-user socket: status, features, configuration and queues by messages. What needs a
 * register skips the check. It does what front ends do: features go with FEATURES_OK, and the back end looks
 * at queues from DRIVER_OK on.
 */
export class RawVhostUser implements RawDevice {
  readonly name: string;
  readonly bus = "vhost-user";
  readonly legacy = false;
  readonly id: number;
  readonly configSize: number;
  readonly registers: Readonly<Record<string, Place>> = {};
  readonly #lease: VhostUserLease;
  readonly #log: Log;
  readonly #accepted = [0, 0];
  readonly #queues = new Map<number, Queue>();
  #selected = 0;
  #agreed = false;
  #refused = false;
  #running = false;
  #seenChanges: number;

  private constructor(node: VhostUserNode, lease: VhostUserLease, log: Log) {
    this.name = node.name;
    this.id = node.deviceId;
    this.configSize = lease.hasConfig ? CONFIG_SIZE : 0;
    this.#lease = lease;
    this.#log = log;
    this.#seenChanges = lease.configChanges;
  }

  /** Connects to the socket. @throws {VireoError} If nobody listens there, or does not follow the protocol. */
  static open(node: VhostUserNode, log: Log): RawVhostUser {
    return new RawVhostUser(node, node.open(), log);
  }

  status(): number {
    this.#note("readStatus()");
    const status = this.#lease.readStatus();
    return this.#refused ? status & ~STATUS.FEATURES_OK : status;
  }

  writeStatus(value: number): void {
    if (value === 0) return this.#reset();
    const starts = (value & STATUS.DRIVER_OK) !== 0;
    if (!this.#agreed && (starts || (value & STATUS.FEATURES_OK) !== 0)) this.#agree();
    if (starts) { for (const [index, queue] of this.#queues) this.#start(index, queue); }
    this.#running = starts;
    this.#tell(`writeStatus(${value})`, () => this.#lease.writeStatus(value));
  }

  features(word: number): number {
    this.#note("readFeatures()");
    return this.#lease.readFeatures().word(word);
  }

  accept(word: number, value: number): void {
    if (word < 2) this.#accepted[word] = value;
    else if (value !== 0) throw new CheckSkip("a vhost-user message has 64 bits of features");
    if (this.#agreed) this.#agree();
  }

  select(queue: number): void {
    this.#selected = queue;
  }

  sizeMax(): number {
    return this.#selected < this.#lease.queues ? QUEUE_SIZE : 0;
  }

  writeSize(size: number): void {
    this.#queue().size = size;
  }

  place(parts: Parts, base: number): void {
    Object.assign(this.#queue(), { parts, base });
  }

  enable(_desc: number, _base: number): void {
    const index = this.#selected;
    const queue = this.#queue();
    const { parts, size, base } = queue;
    if (parts === undefined) throw new CheckSkip("a vhost-user queue is told whole");
    const { desc, driver, device } = parts;
    const packed = (this.#accepted[1]! >>> (FEATURE.RING_PACKED - 32) & 1) !== 0;
    if (queue.enabled) this.#stop(index, queue);
    const told = { desc: base + desc, driver: base + driver, device: base + device, size, packed };
    queue.enabled = this.#tell(
      `setUpQueue(${index}, { size: ${size}, desc: A + ${desc}, driver: A + ${driver}, device: A + ${device}, packed: ${packed} })`,
      () => this.#lease.setUpQueue(index, told),
    );
    if (this.#running) this.#start(index, queue);
  }

  enabled(): number {
    throw noRegister("tells whether a queue runs");
  }

  notify(queue: number): void {
    this.#note(`kick(${queue})`);
    this.#lease.kick(queue);
  }

  notifyValue(_queue: number, _value: number): void {
    throw noRegister("takes the value of a notification");
  }

  causes(): number {
    const { configChanges } = this.#lease;
    let causes = configChanges === this.#seenChanges ? 0 : CAUSE.CONFIG;
    this.#seenChanges = configChanges;
    for (const index of this.#queues.keys()) {
      if (this.#lease.takeInterrupt(index)) causes |= CAUSE.QUEUE;
    }
    return causes;
  }

  config(offset: number, width: 1 | 2 | 4): number {
    this.#note(`readConfig(${offset}, ${width})`);
    try {
      return this.#lease.readConfig(offset, width)
        .reduce((value, byte, i) => value + byte * 2 ** (8 * i), 0);
    } catch (error) {
      if (!hasCode(error, "CONFIG_ACCESS")) throw error;
      throw new CheckSkip(`the back end has no ${width} bytes of configuration at ${offset}`);
    }
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    const bytes = Array.from({ length: width }, (_, i) => value >>> (8 * i) & 0xff);
    this.#tell(`writeConfig(${offset}, Uint8Array.of(${bytes.join(", ")}))`, () => {
      this.#lease.writeConfig(offset, Uint8Array.from(bytes));
    });
  }

  generation(): number {
    throw noRegister("has the generation of the configuration");
  }

  resetQueue(): void {
    throw noRegister("resets a queue");
  }

  queueReset(): number {
    throw noRegister("resets a queue");
  }

  peek(_offset: number, _width: 1 | 2 | 4): number {
    throw noRegister("is read by its offset");
  }

  poke(_offset: number, _width: 1 | 2 | 4, _value: number): void {
    throw noRegister("is written by its offset");
  }

  [Symbol.dispose](): void {
    this.#lease[Symbol.dispose]();
  }

  #queue(): Queue {
    const known = this.#queues.get(this.#selected);
    if (known !== undefined) return known;
    const queue = { size: QUEUE_SIZE, parts: undefined, base: 0, enabled: false };
    this.#queues.set(this.#selected, queue);
    return queue;
  }

  #agree(): void {
    this.#agreed = true;
    const features = FeatureSet.fromWords(...this.#accepted);
    const code = `writeFeatures(features(${[...features].join(", ")}))`;
    this.#refused = !this.#tell(code, () => this.#lease.writeFeatures(features));
  }

  #start(index: number, queue: Queue): void {
    if (!queue.enabled) return;
    this.#tell(`enableQueue(${index})`, () => this.#lease.enableQueue(index));
  }

  #stop(index: number, queue: Queue): void {
    this.#note(`stopQueue(${index})`);
    this.#lease.stopQueue(index);
    queue.enabled = false;
  }

  #reset(): void {
    this.#note("reset()");
    this.#lease.reset();
    this.#queues.clear();
    this.#accepted.fill(0);
    this.#agreed = this.#refused = this.#running = false;
    this.#seenChanges = this.#lease.configChanges;
  }

  #note(code: string): void {
    this.#log.add({ op: "call", code });
  }

  /** Sends what a back end may refuse. @returns Whether it did not. */
  #tell(code: string, send: () => void): boolean {
    this.#note(code);
    try {
      send();
      return true;
    } catch (error) {
      if (!hasCode(error, "COMMAND_REFUSED", "CONFIG_ACCESS")) throw error;
      this.#log.add({ op: "note", text: "the back end refused" });
      return false;
    }
  }
}

function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof VireoError && codes.includes(error.code);
}

function noRegister(what: string): CheckSkip {
  return new CheckSkip(`a vhost-user device has no register that ${what}`);
}
