import {
  type Dma,
  type Interrupt,
  InterruptCause,
  VireoError,
  type VireoErrorCode,
  type VireoErrorDetails,
} from "@vireo/hal";
import type { WaitOptions } from "../../wait/options.ts";
import { pollUntil } from "../../wait/poll.ts";
import type { InterruptRoute, QueueInterrupt } from "../transport.ts";
import type { PciDetails } from "./details.ts";
import type { PciFunction } from "./function.ts";
import { PciInterrupts } from "./interrupts.ts";

/** The causes that the specification defines. */
const CAUSES = InterruptCause.QUEUE | InterruptCause.CONFIG;
/** The value of a byte where no device responds. */
const ALL_ONES = 0xff;

/** The common part of the modern and the legacy transport of virtio-pci. */
export abstract class PciTransport {
  /** Name of the function as Linux gives it: `0000:00:03.0`. */
  readonly name: string;
  /** Virtio device id, never 0. */
  readonly deviceId: number;
  /** Virtio vendor id: the subsystem vendor id. */
  readonly vendorId: number;
  /** Memory that the device can reach. */
  readonly dma: Dma;
  /** INTx, or what stands in for it. */
  readonly interrupt: Interrupt;
  protected readonly fn: PciFunction;
  protected readonly interrupts: PciInterrupts;
  /** Bits read from the ISR and still to be taken; reading clears the ISR. */
  #cause = 0;

  protected constructor(fn: PciFunction, deviceId: number, dma: Dma) {
    this.fn = fn;
    this.name = fn.name;
    this.deviceId = deviceId;
    this.vendorId = fn.subsystemVendor;
    this.dma = dma;
    this.interrupts = new PciInterrupts(fn);
    this.interrupt = this.interrupts.line;
  }

  protected abstract statusByte(): number;
  protected abstract setStatusByte(status: number): void;
  protected abstract isr(): number;
  /** Forgets state that a reset invalidates. */
  protected abstract forget(): void;
  /** Writes the vector of configuration changes and reads it back. */
  protected abstract configVector(vector: number): number;
  /** Writes a queue's vector and reads it back. */
  protected abstract queueVector(index: number, vector: number): number;

  /** The route of interrupts; undefined before the driver finds its queues and after a reset. */
  get route(): InterruptRoute | undefined {
    return this.interrupts.route;
  }

  /** Tries the interrupt policies in Linux's order. */
  routeInterrupts(queues: readonly QueueInterrupt[]): InterruptRoute {
    return this.interrupts.choose(queues, {
      configVector: (vector) => this.configVector(vector),
      queueVector: (index, vector) => this.queueVector(index, vector),
    });
  }

  protected describe(chosen: PciDetails["chosen"], why: string): PciDetails {
    const { node, bars, revision, capabilities } = this.fn;
    return {
      address: node.address,
      vendor: node.vendor,
      device: node.device,
      revision,
      capabilities: capabilities.virtio,
      bars,
      vectors: this.interrupts.vectors,
      chosen,
      why,
    };
  }

  /**
   * Reads the device status.
   *
   * @throws {VireoError} `DEVICE_REMOVED` If the function is not there any more.
   */
  readStatus(): number {
    const status = this.statusByte();
    if (status === ALL_ONES) this.checkPresent();
    return status;
  }

  /**
   * Writes the device status.
   *
   * @throws {RangeError} If it is 0; use `reset`.
   */
  writeStatus(status: number): void {
    if (status === 0) throw new RangeError("Cannot write status 0: use reset()");
    this.setStatusByte(status);
  }

  /**
   * Resets the device and waits until its status reads 0.
   *
   * @throws {VireoError} `RESET_TIMEOUT` If it does not within the deadline; `DEVICE_REMOVED` If the
   * function is not there any more.
   */
  async reset(options?: WaitOptions): Promise<void> {
    this.#cause = 0;
    this.interrupts.forget();
    this.forget();
    this.setStatusByte(0);
    let status = 0;
    await pollUntil(
      () => {
        status = this.readStatus();
        // A reset of the machine takes decoding away, and registers read as ones until it is given back.
        if (status === ALL_ONES && this.fn.enable()) this.setStatusByte(0);
        return status === 0;
      },
      {
        what: "the device to reset",
        code: "RESET_TIMEOUT",
        details: () => ({
          device: this.name,
          register: "device_status",
          seen: status,
          expected: 0,
        }),
      },
      options,
    );
  }

  /**
   * Reads the ISR, which clears it and lowers INTx; not needed with MSI-X.
   *
   * @throws {VireoError} `DEVICE_REMOVED` If the function is not there any more.
   */
  takeInterruptCause(): number {
    const isr = this.isr();
    if (isr === ALL_ONES) this.checkPresent();
    const cause = (isr | this.#cause) & CAUSES;
    this.#cause = 0;
    return cause;
  }

  /** Reads the ISR and keeps what it read, because that clears it. */
  peekInterruptCause(): number {
    // A removed function reads as ones, and so has every cause: taking it reports the removal.
    return this.#cause |= this.isr() & CAUSES;
  }

  /** Whether the function still answers. */
  isPresent(): boolean {
    return this.fn.isPresent();
  }

  /** Enables decoding and bus mastering, which a reset of the machine takes away. */
  enable(): void {
    this.fn.enable();
    this.fn.setMaster();
    this.interrupts.refresh();
  }

  protected checkPresent(): void {
    if (!this.fn.isPresent()) throw this.fn.removed();
  }

  /** Disables MSI-X and closes the function. */
  [Symbol.dispose](): void {
    try {
      this.interrupts[Symbol.dispose]();
    } finally {
      this.fn[Symbol.dispose]();
    }
  }

  protected error(code: VireoErrorCode, what: string, details: VireoErrorDetails): VireoError {
    return new VireoError(code, what, { device: this.name, ...details });
  }
}
