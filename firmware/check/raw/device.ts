import type { LogEntry } from "./log.ts";
import type { Place } from "./registers.ts";

/** Where the parts of a queue are in the arena. */
export interface Parts {
  /** Descriptor area. */
  readonly desc: number;
  /** Driver area: the available ring, or the driver's event suppression. */
  readonly driver: number;
  /** Device area: the used ring, or the device's event suppression. */
  readonly device: number;
}

/** The transports that checks know. */
export type BusName = "mmio" | "pci" | "vhost-user";

/** A device by its registers or messages, the same for all transports and versions. Nothing is checked here. */
export interface RawDevice extends Disposable {
  /** Name of its slot or function. */
  readonly name: string;
  /** Which bus it is on. */
  readonly bus: BusName;
  /** Whether the legacy interface is used. */
  readonly legacy: boolean;
  /** Virtio device id. */
  readonly id: number;
  /** Device status. */
  status(): number;
  /** Writes the device status. */
  writeStatus(value: number): void;
  /** 32 bits of the offered features. */
  features(word: number): number;
  /** Accepts 32 bits of features. */
  accept(word: number, value: number): void;
  /** Selects a queue. */
  select(queue: number): void;
  /** The largest size of the selected queue; 0 if there is none. */
  sizeMax(): number;
  /** Sets the size of the selected queue; the legacy interface of PCI has no such register. */
  writeSize(size: number): void;
  /** Tells where the selected queue is, in the arena. */
  place(parts: Parts, base: number): void;
  /** Starts the selected queue: by QueueReady or queue_enable, or by its page. */
  enable(desc: number, base: number): void;
  /** Whether the selected queue runs: not 0. */
  enabled(): number;
  /** Notifies of a queue. */
  notify(queue: number): void;
  /** Notifies by any value. */
  notifyValue(queue: number, value: number): void;
  /** The causes of interrupts since this was last asked. */
  causes(): number;
  /** Reads of the configuration. */
  config(offset: number, width: 1 | 2 | 4): number;
  /** Writes of the configuration. */
  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void;
  /** Configuration generation; 0 with the legacy interface. */
  generation(): number;
  /** Starts a reset of the selected queue. */
  resetQueue(): void;
  /** Reads the queue's reset register. */
  queueReset(): number;
  /** Bytes of configuration that can be read without leaving the window. */
  readonly configSize: number;
  /** The accesses that a driver of this transport can make besides, by name. */
  readonly registers: Readonly<Record<string, Place>>;
  /** Reads one of them at another width or place than its own. */
  peek(offset: number, width: 1 | 2 | 4): number;
  /** Writes so. */
  poke(offset: number, width: 1 | 2 | 4, value: number): void;
}

/** Entries of the log, for a report. */
type History = readonly LogEntry[];

/** The low and the high 32 bits of an address. */
export function words(address: number): readonly [low: number, high: number] {
  return [address % 2 ** 32, Math.floor(address / 2 ** 32)];
}
