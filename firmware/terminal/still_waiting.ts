import type { Bus, OutstandingBuffers } from "@vireo/drivers/bus";
import { ongoingWaits } from "@vireo/drivers/core";

/** Milliseconds after which a wait is reported for the first time. */
const FIRST = 5000;
/** Milliseconds between two looks. */
const PERIOD = 500;

/** Clock and output of a {@linkcode StillWaiting}; a test has its own. */
interface StillWaitingOptions {
  /** Takes a line. */
  readonly say: (line: string) => void;
  /** The buses of the boards, whichever there are. */
  readonly buses: Iterable<Pick<Bus, "outstanding" | "progress">>;
  /** Whether to say too that the program goes on while no device has anything to do for it. */
  readonly idle?: boolean;
  /** Milliseconds since any fixed point that `performance.now()` has too. */
  readonly now?: () => number;
}

/**
 * Says what a program waits for when it waits for long: after 5 s, then each time twice as much time has gone
 * by. While it goes on with anything that it waits for, it says nothing.
 */
export class StillWaiting implements Disposable {
  readonly #options: StillWaitingOptions;
  readonly #now: () => number;
  /** When each queue got a buffer back last, by its name; what it looked like then. */
  #queues = new Map<string, { readonly popped: number; readonly since: number }>();
  /** The wait that was the oldest one at the last look, and after how long it is reported next. */
  #said = { what: "", since: 0, next: FIRST };
  /** Since when no device has had anything to do, and what the buses' progress was then. */
  #idle: { readonly progress: number; readonly since: number } | undefined;
  readonly #timer: ReturnType<typeof setInterval>;

  /** Begins to look. */
  constructor(options: StillWaitingOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    ongoingWaits();
    this.#timer = setInterval(() => this.look(), PERIOD);
    Deno.unrefTimer(this.#timer);
  }

  /** Looks once. */
  look(): void {
    const now = this.#now();
    const oldest = [...this.#queueWaits(now), ...ongoingWaits().values()]
      .reduce<Wait | undefined>((a, b) => a === undefined || b.since < a.since ? b : a, undefined);
    const idle = oldest === undefined ? this.#idleSince(now) : this.#idle = undefined;
    const since = oldest?.since ?? idle;
    if (since === undefined) return;
    const what = oldest?.what ?? "";
    const time = now - since;
    if (this.#said.what !== what || this.#said.since !== since) {
      this.#said = { what, since, next: FIRST };
    }
    if (time < this.#said.next) return;
    while (this.#said.next <= time) this.#said.next *= 2;
    const seconds = `${Math.floor(time / 1000)} s`;
    const line = oldest === undefined
      ? `still running (${seconds}), but no device holds a request of its driver`
      : `still waiting for ${what} (${seconds}${oldest.hint ?? ""})`;
    this.#options.say(`${line}; Ctrl-C to stop`);
  }

  /** Since when no device has had anything to do; undefined if that is not to be said. */
  #idleSince(now: number): number | undefined {
    const buses = [...this.#options.buses];
    if (this.#options.idle !== true || buses.length === 0) return undefined;
    const progress = buses.reduce((sum, bus) => sum + bus.progress(), 0);
    if (this.#idle?.progress !== progress) this.#idle = { progress, since: now };
    return this.#idle!.since;
  }

  #queueWaits(now: number): Wait[] {
    const found = [...this.#options.buses].flatMap((bus) => bus.outstanding());
    const before = this.#queues;
    this.#queues = new Map(found.map((queue) => {
      const last = before.get(key(queue));
      const same = last !== undefined && last.popped === queue.popped;
      return [key(queue), same ? last : { popped: queue.popped, since: now }];
    }));
    return found.map((queue) => ({
      what: `the device to use a buffer of queue '${queue.queue}'`,
      since: this.#queues.get(key(queue))!.since,
      hint: queue.kicked ? "" : ", but the driver did not kick the queue",
    }));
  }

  /** Stops looking. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

interface Wait {
  readonly what: string;
  readonly since: number;
  readonly hint?: string;
}

function key({ device, queue }: OutstandingBuffers): string {
  return `${device.name} ${queue}`;
}
