/**
 * A disk whose back end, a process of its own, is killed with writes under way, and the one that comes after it.
 *
 * @module
 */
import type { Blk } from "@vireo/drivers";
import { type Daemon, startDaemon, temporaryFolder } from "./daemon.ts";
import { deadline } from "./device_checks.ts";
import { wait } from "./wait.ts";

const PROGRAM = new URL("./holding_daemon.ts", import.meta.url).pathname;

/** Writes at a time: half of them are held. */
export const COUNT = 24;

/** The bytes of a sector in a round. */
export const block = (sector: number, round: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(512).fill(sector + 64 * round);

/** The folder of `holding_daemon.ts`: writes to odd sectors are held. */
export class HoldingRig implements AsyncDisposable {
  readonly path: string;
  readonly socket: string;
  readonly #ring: string;
  readonly #folder: AsyncDisposable;

  /** @param ring A word of the program: `packed`, or anything for a split ring. */
  constructor(ring: string) {
    const folder = temporaryFolder();
    this.#folder = folder;
    this.path = folder.path;
    this.socket = `${this.path}/s.sock`;
    this.#ring = ring;
    Deno.writeFileSync(`${this.path}/disk.img`, new Uint8Array(1 << 20));
    Deno.writeTextFileSync(`${this.path}/hold`, "");
  }

  /** Starts a back end, which has not seen a write. */
  start(): Promise<Daemon> {
    Deno.writeTextFileSync(`${this.path}/writes`, "");
    const args = ["run", "-A", "--no-check", PROGRAM, this.path, this.#ring];
    return startDaemon(Deno.execPath(), args, this.socket);
  }

  /** The sectors of the writes that the back end has seen, in order. */
  written(): number[] {
    return Deno.readTextFileSync(`${this.path}/writes`).trim().split("\n").map(Number);
  }

  /**
   * Writes sectors of round 0, and kills the back end when it holds the odd ones; the next one holds none.
   *
   * @returns Settles with the odd ones.
   */
  async strand(blk: Blk, first: Daemon): Promise<{ readonly done: Promise<unknown> }> {
    const all = Array.from(
      { length: COUNT },
      (_, sector) => blk.write(sector, block(sector, 0), { deadline }),
    );
    const done = Promise.all(all);
    // Until it is waited for.
    done.catch(() => {});
    await Promise.all(all.filter((_, sector) => sector % 2 === 0));
    await wait("all writes to be taken", () => this.written().length === COUNT);
    await first[Symbol.asyncDispose]();
    await Deno.remove(`${this.path}/hold`);
    return { done };
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#folder[Symbol.asyncDispose]();
  }
}
