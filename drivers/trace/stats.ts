import type { TraceEvent } from "@vireo/hal";

/** Percentiles of the time from add to used, in milliseconds, each at most 5% too high; 0 without requests. */
export interface LatencyStats {
  /** Half of the buffers were back by then. */
  readonly p50: number;
  /** Nine of ten. */
  readonly p90: number;
  /** 99 of 100. */
  readonly p99: number;
  /** The longest, exactly. */
  readonly max: number;
}

/** Counts of a queue. */
export interface QueueStats {
  /** Index on the device. */
  readonly queue: number;
  /** Its name. */
  readonly name: string;
  /** Buffers that were added. */
  readonly added: number;
  /** Buffers that came back. */
  readonly used: number;
  /** The most that were in flight. */
  readonly most: number;
  /** Kicks that notified the device; of a device that is traced itself, the notifications that came. */
  readonly kicks: number;
  /** Kicks that the device asked not to get. */
  readonly suppressed: number;
  /** Bytes that the device got to read. */
  readonly read: number;
  /** Bytes that the device says it wrote. */
  readonly written: number;
  /** How long buffers took that came back. */
  readonly latency: LatencyStats;
}

/** Counts of a device. */
export interface DeviceStats {
  /** Name of the device. */
  readonly device: string;
  /** Its queues, in the order in which they were first used. */
  readonly queues: readonly QueueStats[];
  /** Interrupts that had a cause; of a device that is traced itself, those that it sent. */
  readonly interrupts: number;
  /** Interrupts that such a device did not send, because the driver had asked for none; 0 of a driver's trace. */
  readonly withheld: number;
  /** Register reads, those of the configuration included. */
  readonly reads: number;
  /** Register writes, those of the configuration included. */
  readonly writes: number;
  /** Violations and faults. */
  readonly errors: number;
  /** Bytes that the driver copied between its callers' memory and memory that the device can reach. */
  readonly copied: number;
}

/** Steps of the histogram: each is this many times the one before. */
const STEP = 1.05;
/** Milliseconds of its first step. */
const FIRST = 1e-4;
const STEPS = 512;

/** Counts of one queue. */
class QueueCounts {
  readonly queue: number;
  readonly name: string;
  readonly #steps = new Uint32Array(STEPS);
  #max = 0;
  added = 0;
  used = 0;
  most = 0;
  kicks = 0;
  suppressed = 0;
  read = 0;
  written = 0;

  constructor(queue: number, name: string) {
    this.queue = queue;
    this.name = name;
  }

  took(ms: number): void {
    const step = Math.ceil(Math.log(Math.max(ms, FIRST) / FIRST) / Math.log(STEP));
    this.#steps[Math.min(step, STEPS - 1)]!++;
    this.#max = Math.max(this.#max, ms);
  }

  latency(): LatencyStats {
    const at = (part: number): number => {
      let left = Math.ceil(this.used * part);
      for (let step = 0; step < STEPS; step++) {
        left -= this.#steps[step]!;
        if (left <= 0) return Math.min(FIRST * STEP ** step, this.#max);
      }
      return this.#max;
    };
    return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: this.#max };
  }
}

/** Counts of one device. */
interface DeviceCounts {
  readonly queues: Map<number, QueueCounts>;
  interrupts: number;
  withheld: number;
  reads: number;
  writes: number;
  errors: number;
  copied: number;
}

/**
 * Counts what a trace tells: kicks, interrupts, register accesses, bytes, latencies. On the emulator all counts but the
 * latencies are the same for the same program, so that tests can hold drivers to them.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { TraceStats } from "@vireo/drivers/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const stats = new TraceStats();
 * await using vireo = await openVireo({}, { trace: (event) => stats.event(event) });
 * await vireo.blk.read(0, 4096);
 * const { queues: [queue] } = stats.device("virtio1")!;
 * assertEquals([queue!.kicks, queue!.read, queue!.written], [1, 16, 4097]);
 * ```
 */
export class TraceStats {
  readonly #devices = new Map<string, DeviceCounts>();

  /** Counts an event. */
  event(event: TraceEvent): void {
    const device = this.#of(event.device);
    switch (event.kind) {
      case "register":
      case "config":
        if (event.op === "read") device.reads++;
        else device.writes++;
        break;
      case "interrupt":
        device.interrupts++;
        break;
      case "call":
      case "change":
        if (event.unsent === undefined) device.interrupts++;
        else device.withheld++;
        break;
      case "notified":
        queueOf(device, event).kicks++;
        break;
      case "copy":
        device.copied += event.bytes;
        break;
      case "violation":
      case "fault":
        device.errors++;
        break;
      case "add": {
        const queue = queueOf(device, event);
        queue.added++;
        queue.most = Math.max(queue.most, event.inFlight);
        for (const { length, writable } of event.elements) {
          if (event.reversed) queue.written += length;
          else if (!writable) queue.read += length;
        }
        break;
      }
      case "used": {
        const queue = queueOf(device, event);
        queue.used++;
        if (event.reversed) queue.read += event.length;
        else queue.written += event.length;
        queue.took(event.after);
        break;
      }
      case "kick": {
        const queue = queueOf(device, event);
        if (event.notified) queue.kicks++;
        else queue.suppressed++;
        break;
      }
    }
  }

  /** The counts of a device; undefined if nothing happened on it. */
  device(name: string): DeviceStats | undefined {
    const counts = this.#devices.get(name);
    if (counts === undefined) return undefined;
    const { interrupts, withheld, reads, writes, errors, copied } = counts;
    const queues = [...counts.queues.values()].map((each): QueueStats => {
      const { queue, name, added, used, most, kicks, suppressed, read, written } = each;
      const latency = each.latency();
      return { queue, name, added, used, most, kicks, suppressed, read, written, latency };
    });
    return { device: name, queues, interrupts, withheld, reads, writes, errors, copied };
  }

  /** The counts of all devices that have queues, in the order of their first events. */
  devices(): DeviceStats[] {
    return [...this.#devices.keys()].map((name) => this.device(name)!)
      .filter(({ queues }) => queues.length > 0);
  }

  #of(name: string): DeviceCounts {
    let device = this.#devices.get(name);
    if (device === undefined) {
      const counts = { interrupts: 0, withheld: 0, reads: 0, writes: 0, errors: 0, copied: 0 };
      device = { queues: new Map(), ...counts };
      this.#devices.set(name, device);
    }
    return device;
  }
}

function queueOf(
  { queues }: DeviceCounts,
  { queue, name }: { readonly queue: number; readonly name: string },
): QueueCounts {
  let counts = queues.get(queue);
  if (counts === undefined) queues.set(queue, counts = new QueueCounts(queue, name));
  return counts;
}
