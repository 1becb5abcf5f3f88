import type { DiskBackend } from "../../backends/disk.ts";
import type { Chain } from "../../device.ts";
import type { RequestTurn } from "./_ranges.ts";

/** Bytes of a piece: what the host allocates never depends on a guest's number. */
const PIECE = 1 << 16;
/** A transfer of more has turns of the event loop between its pieces. */
const MAX_AT_ONCE = 4 << 20;

/** Copies data between the chains of requests and a disk. */
export class DiskData {
  readonly #disk: DiskBackend;
  readonly #scratch = new Uint8Array(PIECE);

  constructor(disk: DiskBackend) {
    this.#disk = disk;
  }

  /** Whether a transfer needs more than one turn: it is long, or the disk answers later. */
  isSlow(length: number): boolean {
    const { memory, asynchronous } = this.#disk;
    return length > MAX_AT_ONCE || memory === undefined && asynchronous === true;
  }

  /** Reads at once. */
  read(chain: Chain, offset: number, length: number): void {
    const disk = this.#disk;
    if (disk.memory !== undefined) return void chain.write(disk.memory, offset, length);
    for (let done = 0; done < length; done += PIECE) {
      const n = Math.min(PIECE, length - done);
      disk.read(offset + done, this.#scratch, 0, n);
      chain.write(this.#scratch, 0, n);
    }
  }

  /** Reads in pieces, or from a disk that answers later, which needs a buffer of its own meanwhile. */
  async readSlowly(chain: Chain, offset: number, length: number, turn: RequestTurn): Promise<void> {
    const { work, valid } = turn;
    const own = new Uint8Array(Math.min(PIECE, length));
    for (let done = 0; done < length; done += PIECE) {
      const n = Math.min(PIECE, length - done);
      const { memory } = this.#disk;
      if (memory === undefined) await this.#disk.read(offset + done, own, 0, n);
      if (work.exhausted) await work.turn();
      // A reset made the chain void: its memory is the driver's again.
      if (!valid()) return;
      if (memory === undefined) chain.write(own, 0, n);
      else chain.write(memory, offset + done, n);
    }
  }

  /** Writes at once. */
  write(chain: Chain, offset: number, length: number): void {
    const disk = this.#disk;
    if (disk.memory !== undefined) return void chain.read(disk.memory, offset, length);
    for (let done = 0; done < length; done += PIECE) {
      const n = Math.min(PIECE, length - done);
      chain.read(this.#scratch, 0, n);
      disk.write(offset + done, this.#scratch, 0, n);
    }
  }

  /**
   * Writes in pieces, or to a disk that answers later.
   *
   * @returns False if a reset made the chain void meanwhile.
   */
  async writeSlowly(
    chain: Chain,
    offset: number,
    length: number,
    turn: RequestTurn,
  ): Promise<boolean> {
    const { work, valid } = turn;
    const own = new Uint8Array(Math.min(PIECE, length));
    for (let done = 0; done < length; done += PIECE) {
      const n = Math.min(PIECE, length - done);
      const { memory } = this.#disk;
      if (memory !== undefined) chain.read(memory, offset + done, n);
      else {
        chain.read(own, 0, n);
        await this.#disk.write(offset + done, own, 0, n);
      }
      if (work.exhausted) await work.turn();
      if (!valid()) return false;
    }
    return true;
  }
}
