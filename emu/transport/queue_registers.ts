import { Feature } from "@vireo/hal";
import type { ViolationPlace } from "../device_state.ts";
import type { HostedDevice } from "../hosted_device.ts";
import type { QueueConfig } from "../ring/queue_config.ts";

/** A transport's names of a queue's registers, for violations. */
export type QueueRegisterNames =
  & Readonly<Record<"size" | "address" | "ready" | "reset" | "align" | "page", string>>
  & {
    /** Clauses of the transport about them. */
    readonly rules: {
      /** A size over the maximum. */
      readonly max: ViolationPlace;
      /** A size that is not a power of two. */
      readonly power: ViolationPlace;
      /** A write while the queue runs. */
      readonly busy: ViolationPlace;
    };
  };

/** The registers of the selected queue. They accept the same values on every transport. */
export class QueueRegisters {
  /** Index of the selected queue. */
  select = 0;
  readonly #device: HostedDevice;
  readonly #names: QueueRegisterNames;

  /** Makes the registers of a device. */
  constructor(device: HostedDevice, names: QueueRegisterNames) {
    this.#device = device;
    this.#names = names;
  }

  /** The selected queue; undefined if there is none. */
  get config(): QueueConfig | undefined {
    return this.#device.configs[this.select];
  }

  /** 1 if the selected queue runs. */
  get running(): 0 | 1 {
    return this.#device.running(this.select) ? 1 : 0;
  }

  /** Sets the size of a stopped queue: up to the maximum, and for split rings a power of two. */
  writeSize(value: number): void {
    const config = this.#settable(this.#names.size, value);
    if (config === undefined) return;
    const problem = this.#device.sizeProblem(this.select, value);
    if (problem === undefined) {
      config.size = value;
      return;
    }
    const { max, power } = this.#names.rules;
    const place = problem.startsWith("not a power") ? power : max;
    this.#device.violate(this.#names.size, value, problem, place);
  }

  /** Sets a word of a part's address, of a stopped queue. */
  writeAddress(part: "desc" | "avail" | "used", word: 0 | 1, value: number): void {
    const config = this.#settable(this.#names.address, value);
    if (config !== undefined) config[part][word] = value;
  }

  /** Starts the queue at 1, if its geometry is valid, and stops it at 0. */
  writeReady(value: number): void {
    const device = this.#device;
    const refuse = (reason: string, place?: ViolationPlace): void =>
      device.violate(this.#names.ready, value, reason, place);
    if (this.config === undefined) return refuse("no such queue");
    if (value === 0) device.stopQueue(this.select);
    else if (value !== 1) refuse("neither 0 nor 1");
    else if (!device.queuesSettable) {
      refuse("before FEATURES_OK", { clause: "3.1.1", rule: "drv.basic.init.1" });
    } else if (!device.running(this.select)) device.startQueue(this.select);
  }

  /** Resets the queue at 1, if RING_RESET was negotiated. @returns Whether it did. */
  reset(value: number): boolean {
    const device = this.#device;
    const negotiated = device.features.has(Feature.RING_RESET);
    if (value !== 1 || this.config === undefined || !negotiated) {
      const reason = negotiated ? "not 1, or no such queue" : "without RING_RESET";
      device.violate(this.#names.reset, value, reason, { clause: "2.6.1" });
      return false;
    }
    device.stopQueue(this.select);
    this.config.reset();
    return true;
  }

  /** Sets the alignment of a legacy used ring, of a stopped queue: a power of two of at least 4. */
  writeAlign(value: number): void {
    const config = this.#settable(this.#names.align, value);
    if (config === undefined) return;
    if (value < 4 || (value & (value - 1)) !== 0) {
      return this.#device.violate(this.#names.align, value, "not a power of two of at least 4");
    }
    config.align = value;
  }

  /** Sets the page of a legacy queue: starts the queue there, or stops it at 0. */
  writePage(value: number): void {
    const device = this.#device;
    const { config } = this;
    if (config === undefined) return device.violate(this.#names.page, value, "no such queue");
    if (value === 0) {
      device.stopQueue(this.select);
      config.pfn = 0;
      return;
    }
    if (device.running(this.select)) {
      return device.violate(this.#names.page, value, "queue runs", this.#names.rules.busy);
    }
    config.pfn = value;
    if (!device.startQueue(this.select)) config.pfn = 0;
  }

  #settable(register: string, value: number): QueueConfig | undefined {
    const { config } = this;
    if (config === undefined) {
      this.#device.violate(register, value, "no such queue");
      return undefined;
    }
    if (this.#device.running(this.select)) {
      this.#device.violate(register, value, "queue runs", this.#names.rules.busy);
      return undefined;
    }
    return config;
  }
}
