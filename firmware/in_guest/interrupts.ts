import { VireoError } from "@vireo/hal";
import { INTERRUPT_GRACE, Presses } from "../terminal/interrupts.ts";

const CTRL_C = 0x03;

/** Ctrl-C: the first one is the guest's, the next one, or a grace period, ends it. */
export class GuestInterrupts implements Disposable {
  readonly #first: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ready = false;

  readonly #listener = (): void => {
    if (this.#timer !== undefined) return this.#end();
    this.#first.resolve();
    this.#timer = setTimeout(() => this.#end(), INTERRUPT_GRACE);
  };

  constructor() {
    Deno.addSignalListener("SIGINT", this.#listener);
    Deno.addSignalListener("SIGTERM", this.#listener);
  }

  /** Resolves at the first interrupt. */
  get first(): Promise<void> {
    return this.#first.promise;
  }

  /** Aborted when the guest must end. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Says that the program reads keys: from now on they are passed on. */
  ready(): void {
    this.#ready = true;
  }

  /**
   * Passes keys of a raw terminal on, where Ctrl-C is one, and ends the guest at so many in a row. What is typed
   * before {@linkcode GuestInterrupts.ready} was meant for nothing that could be seen: only Ctrl-C counts.
   */
  keys(): TransformStream<Uint8Array, Uint8Array> {
    const presses = new Presses();
    return new TransformStream(
      {
        transform: (bytes, controller) => {
          if (!this.#ready) {
            if (bytes.includes(CTRL_C)) this.#listener();
            return;
          }
          if (presses.keys(bytes)) this.#end();
          controller.enqueue(bytes);
        },
        // Keys are looked at even while a guest that hangs takes none.
      },
      undefined,
      new CountQueuingStrategy({ highWaterMark: 1024 }),
    );
  }

  #end(): void {
    this.#abort.abort(new VireoError("HOST_ERROR", "Interrupted"));
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    Deno.removeSignalListener("SIGINT", this.#listener);
    Deno.removeSignalListener("SIGTERM", this.#listener);
  }
}
