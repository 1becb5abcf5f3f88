import { AVAIL_NO_INTERRUPT, DescFlag, MmioRegister, splitRingLayout } from "@vireo/hal";

/** A register by the specification's name. */
export type Register = Exclude<keyof typeof MmioRegister, "Config">;

/**
 * One element of a chain: bytes that the device reads, so many that count up from a first one, or
 * room for so many that it writes.
 */
export type Element =
  | { readonly read: readonly number[] }
  | { readonly count: number; readonly from: number }
  | { readonly write: number };

/** What a driver may get wrong about a chain. */
export type ChainFault = "loop" | "order" | "outside" | "head" | "jump" | "nested";

/** A request: a chain that is made available, and the notification. */
export interface RequestStep {
  readonly do: "request";
  readonly queue: number;
  readonly elements: readonly Element[];
  /** In a table of its own, if INDIRECT_DESC was negotiated. */
  readonly indirect?: boolean;
  /** Sets NO_INTERRUPT. */
  readonly quiet?: boolean;
  /** `used_event`, counted from the used index. */
  readonly event?: number;
  /** What is wrong with it, if anything. */
  readonly wrong?: ChainFault | undefined;
}

/** One step of a program; plain data, so that a failing program can be printed and run again. */
export type Step =
  /** Reads a register. */
  | { readonly do: "read"; readonly register: Register }
  /** Writes a register. */
  | { readonly do: "write"; readonly register: Register; readonly value: number }
  /** Reads configuration. */
  | { readonly do: "config"; readonly offset: number; readonly width: 1 | 2 | 4 }
  /** Writes configuration. */
  | {
    readonly do: "configure";
    readonly offset: number;
    readonly width: 1 | 2 | 4;
    readonly value: number;
  }
  /** Resets the device. */
  | { readonly do: "reset" }
  /** From reset to FEATURES_OK, with these of the features that both machines offer. */
  | { readonly do: "init"; readonly features: readonly [number, number] }
  /** Sets a queue up. */
  | { readonly do: "queue"; readonly index: number; readonly size: number }
  /** Sets DRIVER_OK. */
  | { readonly do: "start" }
  | RequestStep;

/** A machine under comparison: a register window, and memory at the same address on both. */
export interface Side {
  readonly name: string;
  read(offset: number, width: 1 | 2 | 4): number;
  write(offset: number, width: 1 | 2 | 4, value: number): void;
  /** Guest memory from {@linkcode ARENA} on. */
  readonly memory: Uint8Array;
}

/** What a step showed: values by name. */
export type Observation = ReadonlyMap<string, string>;

/** Where programs put rings and buffers: the same address on both machines. */
export const ARENA = 0x4600_0000;
/** Queues of which programs know. */
export const QUEUES = 6;
/** Bytes that each queue has of the arena: its ring, indirect tables, buffers. */
const AREA = 0x2_0000;
/** Bytes of the arena. */
export const ARENA_SIZE: number = QUEUES * AREA;
const TABLES = 0x4000;
const BUFFERS = 0x8000;
/** Requests of a queue whose buffers are kept apart, and bytes that each has. */
const SLOTS = 8;
const SLOT_BYTES = 0x3000;
/** Descriptors that each request has. */
const CHAIN = 8;

interface Place {
  readonly at: number;
  readonly length: number;
}

interface Queue {
  readonly size: number;
  /** Requests made available, modulo 65536. */
  added: number;
  /** Used entries looked at. */
  seen: number;
  /** What the device writes of each chain, by head. */
  readonly writable: Map<number, readonly Place[]>;
}

/** Runs programs on one side. */
export class Runner {
  readonly side: Side;
  readonly #legacy: boolean;
  readonly #mask: readonly [number, number];
  readonly #view: DataView;
  readonly #queues = new Map<number, Queue>();
  #dirty = true;
  #accepted: readonly [number, number] = [0, 0];

  /**
   * Makes a runner.
   *
   * @param mask The feature words that both sides offer.
   */
  constructor(side: Side, legacy: boolean, mask: readonly [number, number]) {
    this.side = side;
    this.#legacy = legacy;
    this.#mask = mask;
    const { buffer, byteOffset, byteLength } = side.memory;
    this.#view = new DataView(buffer, byteOffset, byteLength);
  }

  /** Puts device and arena back as they were. */
  reset(): void {
    this.#write("Status", 0);
    for (const name of ["DeviceFeaturesSel", "DriverFeaturesSel", "QueueSel"] as const) {
      this.#write(name, 0);
    }
    if (this.#dirty) this.side.memory.fill(0);
    this.#dirty = false;
    this.#forget();
  }

  /** Runs a step; what it read, by name. */
  run(step: Step): [string, string][] {
    switch (step.do) {
      case "read": {
        const value = this.#read(step.register);
        // The offers are compared once, as a whole.
        return step.register === "DeviceFeatures" ? [] : [[step.register, hex(value)]];
      }
      case "write":
        this.#write(step.register, step.value);
        if (step.register === "Status" && step.value === 0) this.#forget();
        return [];
      case "config": {
        const { offset, width } = step;
        const value = this.side.read(MmioRegister.Config + offset, width);
        return [[`config+${offset}/${width}`, hex(value)]];
      }
      case "configure":
        this.side.write(MmioRegister.Config + step.offset, step.width, step.value);
        return [];
      case "reset":
        this.#write("Status", 0);
        this.#forget();
        return [];
      case "init":
        this.#init(step.features);
        return [];
      case "queue":
        this.#setUp(step.index, step.size);
        return [];
      case "start":
        this.#write("Status", this.#read("Status") | 4);
        return [];
      case "request":
        this.#request(step);
        return [];
    }
  }

  /** Used indices by queue, to see whether the device is as far as another. */
  used(): ReadonlyMap<number, number> {
    return new Map(
      [...this.#queues].map(([index, queue]) => [index, this.#usedIndex(index, queue)]),
    );
  }

  /** Takes what was used so far as seen. */
  advance(): void {
    for (const [index, queue] of this.#queues) queue.seen = this.#usedIndex(index, queue);
  }

  /** All that a driver can see of where the device stands, and what it used since it was advanced. */
  observe(): [string, string][] {
    const seen: [string, string][] = [];
    const names = this.#legacy
      ? ["Status", "InterruptStatus", "QueueSizeMax", "QueuePFN"] as const
      : ["Status", "InterruptStatus", "QueueSizeMax", "QueueReady"] as const;
    for (const name of names) seen.push([name, hex(this.#read(name))]);
    for (const [index, queue] of this.#queues) seen.push(...this.#ring(index, queue));
    return seen;
  }

  #ring(index: number, queue: Queue): [string, string][] {
    const used = this.#usedIndex(index, queue);
    const seen: [string, string][] = [[`q${index}.used.idx`, String(used)]];
    const count = (used - queue.seen) & 0xffff;
    const base = index * AREA + splitRingLayout(queue.size).usedOffset;
    for (let i = 0; i < Math.min(count, queue.size); i++) {
      const entry = base + 4 + 8 * ((queue.seen + i) % queue.size);
      const id = this.#view.getUint32(entry, true);
      const length = this.#view.getUint32(entry + 4, true);
      seen.push([`q${index}.used.id`, String(id)], [`q${index}.used.len`, String(length)]);
      const text = (queue.writable.get(id) ?? []).map((place) => this.#bytes(place)).join(",");
      seen.push([`q${index}.data`, text]);
    }
    return seen;
  }

  #bytes({ at, length }: Place): string {
    let text = "";
    for (let i = 0; i < length; i++) text += byteText(this.side.memory[at + i]!);
    return text;
  }

  #usedIndex(index: number, { size }: Queue): number {
    return this.#view.getUint16(index * AREA + splitRingLayout(size).usedOffset + 2, true);
  }

  #forget(): void {
    this.#queues.clear();
    this.#accepted = [0, 0];
  }

  #init(features: readonly [number, number]): void {
    this.#write("Status", 0);
    this.#forget();
    this.#write("Status", 1);
    this.#write("Status", 3);
    const low = (features[0] & this.#mask[0]) >>> 0;
    const high = this.#legacy ? 0 : ((features[1] & this.#mask[1]) | 1) >>> 0;
    this.#accepted = [low, high];
    for (const [word, value] of this.#legacy ? [low].entries() : [low, high].entries()) {
      this.#write("DriverFeaturesSel", word);
      this.#write("DriverFeatures", value);
    }
    if (this.#legacy) this.#write("GuestPageSize", 4096);
    else this.#write("Status", 0xb);
  }

  #setUp(index: number, size: number): void {
    const base = ARENA + index * AREA;
    this.#write("QueueSel", index);
    this.#write("QueueSize", size);
    const layout = splitRingLayout(size);
    this.side.memory.fill(0, index * AREA, index * AREA + layout.totalSize);
    if (this.#legacy) {
      this.#write("QueueAlign", 4096);
      this.#write("QueuePFN", base / 4096);
    } else {
      const parts = {
        QueueDescLow: base,
        QueueDescHigh: 0,
        QueueDriverLow: base + layout.availOffset,
        QueueDriverHigh: 0,
        QueueDeviceLow: base + layout.usedOffset,
        QueueDeviceHigh: 0,
        QueueReady: 1,
      };
      for (const [name, value] of Object.entries(parts)) this.#write(name as Register, value);
    }
    this.#dirty = true;
    this.#queues.set(index, { size, added: 0, seen: 0, writable: new Map() });
  }

  #request(step: RequestStep): void {
    const queue = this.#queues.get(step.queue);
    // Whoever asks for an event other than the spec lets it (in one table) asks for a notification.
    if (queue === undefined) return this.#write("QueueNotify", step.queue);
    const area = step.queue * AREA;
    const layout = splitRingLayout(queue.size);
    const slot = queue.added % Math.min(SLOTS, Math.max(1, Math.floor(queue.size / CHAIN)));
    const elements = step.elements.slice(0, Math.min(CHAIN, queue.size));
    const places = elements.map((element, i): Place & { write: boolean } => {
      const before = elements.slice(0, i).reduce((sum, other) => sum + lengthOf(other), 0);
      const at = area + BUFFERS + slot * SLOT_BYTES + before;
      const length = lengthOf(element);
      if ("read" in element) this.side.memory.set(element.read, at);
      else if ("write" in element) this.side.memory.fill(0xee, at, at + length);
      else for (let i = 0; i < length; i++) this.side.memory[at + i] = element.from + i;
      return { at, length, write: "write" in element };
    });
    const indirect = step.indirect === true && (this.#accepted[0] & 1 << 28) !== 0;
    const table = area + TABLES + slot * 16 * CHAIN;
    const first = slot * CHAIN % queue.size;
    places.forEach(({ at, length, write }, i) => {
      const last = i + 1 === places.length;
      const loop = last && step.wrong === "loop";
      const outside = last && step.wrong === "outside";
      const flags = (write !== (i === 0 && step.wrong === "order") ? DescFlag.WRITE : 0) |
        (last && !loop ? 0 : DescFlag.NEXT) |
        (last && step.wrong === "nested" ? DescFlag.INDIRECT : 0);
      const index = (n: number): number => indirect ? n : (first + n) % queue.size;
      this.#descriptor(indirect ? table + 16 * i : area + 16 * index(i), {
        address: outside ? 0x7000_0000_1000 : ARENA + at,
        length,
        flags,
        next: last ? (loop ? index(0) : 0) : index(i + 1),
      });
    });
    if (indirect) {
      const length = 16 * places.length;
      const flags = DescFlag.INDIRECT;
      this.#descriptor(area + 16 * first, { address: ARENA + table, length, flags, next: 0 });
    }
    queue.writable.set(first, places.filter(({ write }) => write));
    this.#offer(step, queue, first);
    this.#view.setUint16(area + layout.availOffset, step.quiet ? AVAIL_NO_INTERRUPT : 0, true);
    if (step.event !== undefined) {
      const event = this.#usedIndex(step.queue, queue) + step.event;
      const at = area + layout.availOffset + 4 + 2 * queue.size;
      this.#view.setUint16(at, event & 0xffff, true);
    }
    this.#write("QueueNotify", step.queue);
  }

  #offer({ queue: index, wrong }: RequestStep, queue: Queue, first: number): void {
    const avail = index * AREA + splitRingLayout(queue.size).availOffset;
    const head = wrong === "head" ? queue.size + 5 : first;
    this.#view.setUint16(avail + 4 + 2 * (queue.added % queue.size), head, true);
    queue.added = (queue.added + (wrong === "jump" ? queue.size + 3 : 1)) & 0xffff;
    this.#view.setUint16(avail + 2, queue.added, true);
  }

  #descriptor(
    at: number,
    desc: { address: number; length: number; flags: number; next: number },
  ): void {
    this.#view.setUint32(at, desc.address % 2 ** 32, true);
    this.#view.setUint32(at + 4, Math.floor(desc.address / 2 ** 32), true);
    this.#view.setUint32(at + 8, desc.length, true);
    this.#view.setUint16(at + 12, desc.flags, true);
    this.#view.setUint16(at + 14, desc.next, true);
  }

  #read(register: Register): number {
    return this.side.read(MmioRegister[register], 4);
  }

  #write(register: Register, value: number): void {
    this.side.write(MmioRegister[register], 4, value >>> 0);
  }
}

function lengthOf(element: Element): number {
  if ("read" in element) return element.read.length;
  return "write" in element ? element.write : element.count;
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

function byteText(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
