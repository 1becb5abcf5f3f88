import type { TransportOffer } from "@vireo/emu";
import type { ServerEvent } from "@vireo/emu/vhost-user";
import { temporaryFolder } from "./daemon.ts";
import type { ServeAnswer, ServeCommand } from "./serve_worker.ts";

/** How to serve a device. */
export interface ServedOptions {
  readonly offer?: TransportOffer;
  readonly image?: string;
  readonly with?: string;
}

/** A device that is served on another thread. */
export class Served implements AsyncDisposable {
  /** Path of the socket. */
  readonly path: string;
  /** What happened at the socket so far. */
  readonly events: ServerEvent[] = [];
  readonly #worker: Worker;
  readonly #folder: AsyncDisposable & { readonly path: string };
  #waiting: PromiseWithResolvers<unknown> | undefined;

  private constructor() {
    this.#folder = temporaryFolder();
    this.path = `${this.#folder.path}/s.sock`;
    this.#worker = new Worker(new URL("./serve_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<ServeAnswer>) => {
      if (data.kind === "event") this.events.push(data.event);
      else if (data.kind === "failed") this.#waiting?.reject(new Error(data.message));
      else this.#waiting?.resolve(data.kind === "done" ? data.result : undefined);
    };
  }

  /** Starts to serve a device by its name. */
  static async start(name: string, options: ServedOptions = {}): Promise<Served> {
    const served = new Served();
    const { offer = {}, image, with: value } = options;
    const request = { name, path: served.path, offer, image, with: value };
    try {
      await served.#ask({ kind: "serve", request });
    } catch (error) {
      served.#worker.terminate();
      throw error;
    }
    return served;
  }

  /** Calls a method of the model. */
  call(method: string, ...args: readonly unknown[]): Promise<unknown> {
    return this.#ask({ kind: "call", method, args });
  }

  /** Sets a property of the model. */
  async set(property: string, value: unknown): Promise<void> {
    await this.#ask({ kind: "set", property, value });
  }

  /** Regions of guest memory that it has mapped. */
  regions(): Promise<number> {
    return this.#ask({ kind: "regions" }) as Promise<number>;
  }

  /** Ends the server and its thread. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#ask({ kind: "end" });
    } finally {
      this.#worker.terminate();
      await this.#folder[Symbol.asyncDispose]();
    }
  }

  async #ask(command: ServeCommand): Promise<unknown> {
    this.#waiting = Promise.withResolvers();
    this.#worker.postMessage(command);
    return await this.#waiting.promise;
  }
}
