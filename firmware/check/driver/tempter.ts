import type { Chain, DeviceContext, DeviceModel, DeviceQueue, HostedDevice } from "@vireo/emu";
import { Feature, InterruptCause } from "@vireo/hal";
import type { Random } from "../random.ts";
import type { RingWitness } from "./ring_witness.ts";
import type { Temper } from "./schedules.ts";
import { wrapQueues } from "./wrap_model.ts";

/** Why the device needs a reset when the schedule demands it. */
export const INJECTED = "as the schedule has it";
/** Note of the emulator when a model does not keep FEATURES_OK. */
export const REFUSED = "the model does not accept these features";
/** Configuration changes of one device, so that a driver that reads it at each one comes to an end. */
const MOST_CHANGES = 24;
/** Virtio id of entropy devices, whose answers may be shorter than was asked for. */
const ENTROPY = 4;
/** Milliseconds that an answer is late at most. */
const LATEST = 3;

/** The parts of its device that a tempter uses. */
interface Tempted {
  /** The device, once the machine has made it. */
  hosted(): HostedDevice;
  /** Witness of its rings. */
  readonly rings: RingWitness;
  /** Numbers of this run. */
  readonly random: Random;
  /** How it behaves. */
  readonly temper: Temper;
}

/** A model that behaves as a schedule says, all within what the specification allows devices. */
export class Tempter {
  readonly #tempted: Tempted;
  #changes = 0;
  #untilReset: number;
  #ended = false;

  /** Changes a model. */
  constructor(model: DeviceModel, tempted: Tempted) {
    this.#tempted = tempted;
    const { temper: { needsReset, refuse, poll }, random } = tempted;
    this.#untilReset = needsReset === undefined ? -1 : needsReset + random.below(3);
    if (refuse) model.acceptFeatures = () => false;
    wrapQueues(
      model,
      (queue, context) => model.queues[queue.index]?.reversed ? queue : this.#wrap(queue, context),
    );
    if (poll) this.#pollFrom(model);
  }

  /** Nothing of it happens any more. */
  end(): void {
    this.#ended = true;
  }

  /** The driver reset the device, and begins again. */
  restart(): void {
    this.#changes = 0;
  }

  /** A step at which the configuration may change. */
  step(): void {
    if (!this.#tempted.temper.changes || this.#changes >= MOST_CHANGES) return;
    this.#changes++;
    this.#tempted.hosted().configChanged();
  }

  #wrap(queue: DeviceQueue, context: DeviceContext): DeviceQueue {
    const { rings, random, temper } = this.#tempted;
    const { late, reorder, partial, spurious, poll } = temper;
    const hosted = this.#tempted.hosted();
    const mix = reorder && !context.features.has(Feature.IN_ORDER);
    /** Pushed chains that are late: chains that are pushed at once stay together. */
    const waiting: { readonly chains: readonly Chain[]; readonly written: readonly number[] }[] =
      [];
    let timer = false;
    const give = (chains: readonly Chain[], written: readonly number[]): void => {
      for (const chain of chains) rings.returned(queue.index, chain);
      if (chains.length === 1) queue.push(chains[0]!, written[0]!);
      else queue.pushAll(chains, written);
    };
    const flush = (): void => {
      timer = false;
      if (this.#ended || waiting.length === 0) return;
      for (let left = 1 + random.below(waiting.length); left > 0; left--) {
        // A buffer without a request has data of the device, whose order has a meaning.
        const any = mix && waiting.every(({ chains }) => chains[0]!.readableLength > 0);
        const [entry] = waiting.splice(any ? random.below(waiting.length) : 0, 1);
        give(entry!.chains, entry!.written);
      }
      queue.signal();
      if (waiting.length > 0) later();
    };
    const later = (): void => {
      if (timer) return;
      timer = true;
      setTimeout(flush, random.below(LATEST));
    };
    const push = (chains: readonly Chain[], written: readonly number[]): void => {
      this.step();
      if (partial) written = chains.map((chain, i) => this.#shorten(hosted, chain, written[i]!));
      if (!late) return give(chains, written);
      waiting.push({ chains, written });
      later();
    };
    return {
      get index() {
        return queue.index;
      },
      get size() {
        return queue.size;
      },
      pop: () => {
        this.step();
        const before = rings.beforePop(queue.index);
        const chain = queue.pop();
        if (chain !== undefined) {
          rings.taken(queue.index, chain, before);
          if (spurious) hosted.raise(InterruptCause.QUEUE, queue.index);
          this.#count(hosted);
        }
        return chain;
      },
      hasAvailable: () => queue.hasAvailable(),
      push: (chain, written = chain.written) => push([chain], [written]),
      pushAll: (chains, written) => push([...chains], [...written]),
      signal: () => {
        if (!late) queue.signal();
      },
      setNotify: (enabled) => queue.setNotify(enabled && !poll),
    };
  }

  /** Entropy that ends early: what is behind it in the buffer is noise. */
  #shorten({ model }: HostedDevice, chain: Chain, written: number): number {
    if (model.deviceId !== ENTROPY || written < 2) return written;
    const length = 1 + this.#tempted.random.below(written - 1);
    chain.seekWrite(length);
    chain.write(new Uint8Array(written - length).fill(0xa5));
    return length;
  }

  #count(hosted: HostedDevice): void {
    if (this.#untilReset < 0 || --this.#untilReset >= 0) return;
    // Between two steps of the model, as a device fails by itself.
    queueMicrotask(() => {
      if (!this.#ended) hosted.fault(INJECTED);
    });
  }

  /** Looks for buffers by the clock, and tells the driver to send no notifications. */
  #pollFrom(model: DeviceModel): void {
    const activate = model.activate.bind(model);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = (): void => {
      const hosted = this.#tempted.hosted();
      clearTimeout(timer);
      timer = undefined;
      if (this.#ended || !hosted.active) return;
      model.queues.forEach(({ reversed }, index) => {
        const queue = reversed ? undefined : hosted.queue(index);
        queue?.setNotify(false);
        if (queue?.hasAvailable()) hosted.notify(index);
      });
      timer = setTimeout(look, 1);
    };
    model.activate = (context) => {
      activate(context);
      // Flags are set before the driver has its first buffer to notify of.
      look();
    };
  }
}
