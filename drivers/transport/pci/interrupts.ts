import {
  hex,
  hi32,
  type Interrupt,
  InterruptCause,
  lo32,
  type Mmio,
  MSIX_CAP,
  MSIX_ENABLE,
  MSIX_ENTRY,
  MSIX_MASK_ALL,
  MSIX_SIZE,
  PCI_NO_VECTOR,
  type PciMessage,
  Poller,
  type PollLine,
  VireoError,
} from "@vireo/hal";
import type { PciFunction } from "./function.ts";
import type {
  InterruptPolicy,
  InterruptRoute,
  InterruptSource,
  QueueInterrupt,
} from "../transport.ts";

/** The vector registers of a transport; each call writes one and reads it back. */
interface VectorRegisters {
  /** The vector of configuration changes. */
  configVector(vector: number): number;
  /** The vector of a queue. */
  queueVector(index: number, vector: number): number;
}

/** Bits of the MSI-X table's offset that are the BAR's index. */
const TABLE_BAR = 7;

/** The vector of each queue; vector 0 serves configuration changes. */
interface Plan {
  readonly policy: InterruptPolicy;
  readonly vectors: ReadonlyMap<number, number>;
  readonly count: number;
}

/** Linux's policies with MSI-X, in its order; the second only where it differs from the first. */
function plans(queues: readonly QueueInterrupt[]): Plan[] {
  const wanted = queues.filter((queue) => queue.wanted);
  const slow = wanted.filter((queue) => queue.slowPath);
  const each = (policy: InterruptPolicy, shared: readonly QueueInterrupt[]): Plan => {
    let next = 1;
    const vectors = new Map(
      wanted.map((queue) => [queue.index, shared.includes(queue) ? 0 : next++]),
    );
    return { policy, vectors, count: next };
  };
  const all: Plan = {
    policy: "msix-shared",
    vectors: new Map(wanted.map(({ index }) => [index, 1])),
    count: 2,
  };
  const shared = slow.length > 0 ? [each("msix-slow-shared", slow)] : [];
  return [each("msix-per-queue", []), ...shared, all];
}

/** The interrupts of a PCI function: MSI-X, INTx, or polling where the machine delivers neither. */
export class PciInterrupts implements Disposable {
  /** INTx, or what stands in for it. */
  readonly line: Interrupt;
  /** Number of MSI-X vectors that the function has. */
  readonly vectors: number;
  /** The current route of interrupts. */
  route: InterruptRoute | undefined;
  /** Called after notifications on a function without a line, so that it polls; otherwise undefined. */
  readonly pollLine: PollLine | undefined;
  readonly #fn: PciFunction;
  readonly #at: number;
  readonly #poller: Poller | undefined;
  readonly #messages: PciMessage[] = [];
  #table: Mmio | undefined;
  #plan: Plan | undefined;
  #enabled = false;

  /** Reads the number of a function's vectors; enables nothing. */
  constructor(fn: PciFunction) {
    this.#fn = fn;
    const at = fn.capabilities.msix;
    this.#at = at ?? 0;
    this.vectors = at === undefined
      ? 0
      : (fn.config.read16(at + MSIX_CAP.control.offset) & MSIX_SIZE) + 1;
    if (fn.lease.line === undefined) {
      this.#poller = new Poller();
      this.pollLine = this.#poller.line();
    }
    this.line = fn.lease.line ?? this.pollLine!;
  }

  /** Whether MSI-X is enabled, which moves the legacy configuration space. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** The vector of a queue; `PCI_NO_VECTOR` without MSI-X. */
  vectorOf(queue: number): number {
    return this.#plan?.vectors.get(queue) ?? PCI_NO_VECTOR;
  }

  /** Looks whether MSI-X is still enabled, which a reset of the machine changes. */
  refresh(): void {
    if (!this.#enabled) return;
    const control = this.#fn.config.read16(this.#at + MSIX_CAP.control.offset);
    this.#enabled = (control & MSIX_ENABLE) !== 0;
  }

  /** Forgets the route, because the device was reset. */
  forget(): void {
    this.route = undefined;
    this.#plan = undefined;
  }

  /** Chooses the first policy that function, machine and device support, as Linux's `vp_find_vqs`. */
  choose(queues: readonly QueueInterrupt[], registers: VectorRegisters): InterruptRoute {
    this.forget();
    const refused: string[] = [];
    for (const plan of plans(queues)) {
      const why = this.#try(plan, registers);
      if (why === undefined) {
        this.#plan = plan;
        this.route = { policy: plan.policy, sources: this.#sources(plan), refused };
        return this.route;
      }
      refused.push(`${plan.policy}: ${why}`);
    }
    this.#disable();
    const { polled } = this.line;
    // While the driver polls, nothing lowers the line.
    if (!polled) this.#fn.allowLine();
    if (this.pollLine !== undefined) refused.push("line: the machine does not deliver it");
    this.route = {
      policy: polled ? "poll" : "line",
      sources: [{ interrupt: this.line, cause: 0, queues: undefined }],
      refused,
    };
    return this.route;
  }

  /** Sets a plan up; returns why it is not possible, if so. */
  #try({ vectors, count }: Plan, registers: VectorRegisters): string | undefined {
    if (this.vectors === 0) return "the function has no MSI-X";
    if (count > this.vectors) return `it takes ${count} vectors, the function has ${this.vectors}`;
    const missing = count - this.#messages.length;
    const more = missing > 0 ? this.#fn.lease.messages(missing) : [];
    if (more === undefined) return `it takes ${count} messages, and the machine has fewer left`;
    this.#messages.push(...more);
    const why = this.#program(count);
    if (why !== undefined) return why;
    const set: number[] = [];
    try {
      if (registers.configVector(0) !== 0) return "the device refused the vector of changes";
      for (const [queue, vector] of vectors) {
        set.push(queue);
        if (registers.queueVector(queue, vector) === vector) continue;
        return `the device refused the vector of queue ${queue}`;
      }
      set.length = 0;
      return undefined;
    } finally {
      // A failed plan must leave nothing behind.
      if (set.length > 0) {
        for (const queue of set) registers.queueVector(queue, PCI_NO_VECTOR);
        registers.configVector(PCI_NO_VECTOR);
      }
    }
  }

  /** Writes messages into the table and enables MSI-X; returns why that is not possible, if so. */
  #program(count: number): string | undefined {
    const { config, bars } = this.#fn;
    const where = config.read32(this.#at + MSIX_CAP.table.offset);
    const index = where & TABLE_BAR;
    const start = (where & ~TABLE_BAR) >>> 0;
    const bar = bars.find((bar) => bar.index === index);
    if (bar === undefined || bar.space !== "memory") return `its table is in BAR${index}`;
    if (start + this.vectors * MSIX_ENTRY.SIZE > bar.size) {
      return `its table ends past BAR${index}: ${hex(start)}`;
    }
    try {
      // Not the function's own window: the configuration access capability must not be used for it.
      this.#table ??= this.#fn.lease.openBar(index);
    } catch (error) {
      if (error instanceof VireoError && error.code === "BAD_ACCESS") return error.message;
      throw error;
    }
    const table = this.#table;
    this.#setControl(MSIX_ENABLE | MSIX_MASK_ALL);
    for (let i = 0; i < this.#messages.length; i++) {
      const entry = start + i * MSIX_ENTRY.SIZE;
      const { address, data } = this.#messages[i]!;
      table.write32(entry + MSIX_ENTRY.control.offset, 1);
      if (i >= count) continue;
      table.write32(entry + MSIX_ENTRY.address.offset, lo32(address));
      table.write32(entry + MSIX_ENTRY.address.offset + 4, hi32(address));
      table.write32(entry + MSIX_ENTRY.data.offset, data);
      table.write32(entry + MSIX_ENTRY.control.offset, 0);
    }
    this.#setControl(MSIX_ENABLE);
    this.#enabled = true;
    return undefined;
  }

  #sources({ policy, vectors, count }: Plan): InterruptSource[] {
    const sources: InterruptSource[] = [];
    for (let vector = 0; vector < count; vector++) {
      const queues = [...vectors].filter(([, at]) => at === vector).map(([queue]) => queue);
      const cause = (vector === 0 ? InterruptCause.CONFIG : 0) |
        (queues.length > 0 ? InterruptCause.QUEUE : 0);
      if (cause === 0) continue;
      const { interrupt } = this.#messages[vector]!;
      const all = policy === "msix-shared" && vector === 1;
      sources.push({ interrupt, cause, queues: all ? undefined : queues });
    }
    return sources;
  }

  #disable(): void {
    if (!this.#enabled) return;
    this.#setControl(0);
    this.#enabled = false;
  }

  #setControl(bits: number): void {
    this.#fn.config.write16(this.#at + MSIX_CAP.control.offset, bits);
  }

  /** Disables MSI-X; the function's lease frees the messages. */
  [Symbol.dispose](): void {
    this.#disable();
    this.#poller?.[Symbol.dispose]();
  }
}
