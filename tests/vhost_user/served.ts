import type { TransportOffer } from "@vireo/emu";
import type { ServerEvent } from "@vireo/emu/vhost-user";
import { temporaryFolder } from "./daemon.ts";
import type { ServeAnswer, ServeCommand } from "./serve_worker.ts";

/** How to serve a device. */
export interface ServedOptions {
  readonly offer?: TransportOffer;
  readonly image?: string;
  readonly with?: string;
  /** The interface of the host that a network device is wired to. */
  readonly tap?: string;
  /** Its queue pairs. */
  readonly pairs?: number;
  /** Where it is traced to. */
  readonly traceFile?: string;
}

/** Devices that are served on another thread; questions are about the last one. */
export class Served implements AsyncDisposable {
  /** Path of the last device's socket. */
  path = "";
  /** Events at the socket so far. */
  readonly events: ServerEvent[] = [];
  readonly #worker: Worker;
  readonly #folder: AsyncDisposable & { readonly path: string };
  #count = 0;
  #waiting: PromiseWithResolvers<unknown> | undefined;

  private constructor() {
    this.#folder = temporaryFolder();
    this.#worker = new Worker(new URL("./serve_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<ServeAnswer>) => {
      if (data.kind === "event") this.events.push(data.event);
      else if (data.kind === "failed") this.#waiting?.reject(new Error(data.message));
      else this.#waiting?.resolve(data.kind === "done" ? data.result : undefined);
    };
  }

  /** Starts the thread, and serves a device by its name. */
  static async start(name: string, options: ServedOptions = {}): Promise<Served> {
    const served = new Served();
    try {
      await served.add(name, options);
    } catch (error) {
      served.#worker.terminate();
      throw error;
    }
    return served;
  }

  /** Serves one more device. @returns Path of its socket. */
  async add(name: string, options: ServedOptions = {}): Promise<string> {
    const { offer = {}, image, with: value, tap, pairs, traceFile } = options;
    this.path = `${this.#folder.path}/${this.#count++}.sock`;
    await this.#ask({
      kind: "serve",
      request: { name, path: this.path, offer, image, with: value, tap, pairs, traceFile },
    });
    return this.path;
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
