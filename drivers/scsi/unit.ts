import { SCSI_READ_CAPACITY_16, ScsiCommand as C, VireoError } from "@vireo/hal";
import { type WaitOptions, within } from "../wait/mod.ts";
import type { ScsiHost } from "./host.ts";

/** Answer of a logical unit to INQUIRY (SPC-4 §6.6). */
export interface ScsiInquiry {
  /** Peripheral device type: 0 a disk, 5 a CD or DVD. */
  readonly type: number;
  /** Whether its medium can be taken out. */
  readonly removable: boolean;
  /** Eight characters. */
  readonly vendor: string;
  /** Sixteen characters. */
  readonly product: string;
  /** Four characters. */
  readonly revision: string;
}

/** Answer to READ CAPACITY. */
export interface ScsiCapacity {
  /** Number of blocks. */
  readonly blocks: number;
  /** Bytes of a block. */
  readonly blockSize: number;
}

/** Which form of READ and WRITE to use; the shortest that fits by default. */
export type ScsiForm = 6 | 10 | 12 | 16;

/** How to read or write. */
export interface ScsiTransfer extends WaitOptions {
  /** Which form of the command. */
  readonly form?: ScsiForm;
}

/** Bounds of a block that is believed, in bytes. */
const MIN_BLOCK_SIZE = 256;
const MAX_BLOCK_SIZE = 65536;
/** Blocks of one command: less than a MiB of the usual ones. */
const MAX_BLOCKS = 1024;
/** Blocks of one WRITE SAME: 4 MiB of the usual ones, which units take at once. */
const SAME_BLOCKS = 8192;
/** Ranges of one UNMAP: as many as QEMU and this emulator take, and far fewer than its 16-bit length can say. */
const UNMAP_RANGES = 255;
/** Bytes of the header of MODE SENSE (10). */
const MODE_HEADER = 8;

/**
 * One logical unit of a target; most are disks (SBC-3).
 *
 * @example
 * ```ts
 * import type { ScsiUnit } from "@vireo/drivers/scsi";
 *
 * // Copies the first block to the second.
 * async function copy(unit: ScsiUnit): Promise<void> {
 *   await unit.write(1, await unit.read(0, 1));
 *   await unit.flush();
 * }
 * ```
 */
export class ScsiUnit {
  /** The target. */
  readonly target: number;
  /** The logical unit's number. */
  readonly lun: number;
  readonly #host: ScsiHost;
  #capacity: ScsiCapacity | undefined;

  /** Names a unit; whether it is there shows at its first command. */
  constructor(host: ScsiHost, target: number, lun: number) {
    this.#host = host;
    this.target = target;
    this.lun = lun;
  }

  /** Asks what it is. @throws {VireoError} As {@linkcode ScsiHost.command}. */
  async inquiry(options: WaitOptions = {}): Promise<ScsiInquiry> {
    const bytes = await this.#in([C.INQUIRY, 0, 0, 0, 36, 0], 36, options);
    const text = (from: number, to: number): string =>
      new TextDecoder().decode(bytes.subarray(from, to)).replace(/[\0 ]+$/, "");
    return {
      type: (bytes[0] ?? 0) & 0x1f,
      removable: ((bytes[1] ?? 0) & 0x80) !== 0,
      vendor: text(8, 16),
      product: text(16, 32),
      revision: text(32, 36),
    };
  }

  /** A page of vital product data. @throws {VireoError} If it has no such page. */
  async vitalProductData(page: number, options: WaitOptions = {}): Promise<Uint8Array> {
    const bytes = await this.#in([C.INQUIRY, 1, page, 1, 0, 0], 256, options);
    return bytes.subarray(4, 4 + ((bytes[2] ?? 0) << 8 | (bytes[3] ?? 0)));
  }

  /** Its serial number (VPD page 0x80). @throws {VireoError} If it has none. */
  async serial(options: WaitOptions = {}): Promise<string> {
    return new TextDecoder().decode(await this.vitalProductData(0x80, options)).trim();
  }

  /** Whether it can take commands for its medium; a unit attention is asked for once more. */
  async ready(options: WaitOptions = {}): Promise<boolean> {
    const call = within(options);
    for (let attempt = 0; attempt < 3; attempt++) {
      const { status, sense } = await this.#host.command({
        unit: this,
        cdb: Uint8Array.of(C.TEST_UNIT_READY, 0, 0, 0, 0, 0),
      }, call);
      if (status === 0) return true;
      if (sense?.key !== UNIT_ATTENTION) return false;
    }
    return false;
  }

  /** Asks how large it is, by the longer command where the shorter cannot say. */
  async capacity(options: WaitOptions = {}): Promise<ScsiCapacity> {
    const call = within(options);
    const short = view(await this.#in([C.READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8, call, 8));
    const last = short.getUint32(0);
    if (last !== 0xffffffff) return this.#checked(last + 1, short.getUint32(4));
    const cdb = new Uint8Array(16);
    cdb[0] = C.SERVICE_ACTION_IN_16;
    cdb[1] = SCSI_READ_CAPACITY_16;
    cdb[13] = 32;
    const long = view(await this.#in(cdb, 32, call, 12));
    const blocks = long.getUint32(0) * 2 ** 32 + long.getUint32(4) + 1;
    return this.#checked(blocks, long.getUint32(8));
  }

  /** Numbers of the unit that others are made of. */
  #checked(blocks: number, blockSize: number): ScsiCapacity {
    const largest = Math.min(MAX_BLOCK_SIZE, this.#host.maxBytes);
    if (blockSize >= MIN_BLOCK_SIZE && blockSize <= largest) {
      return this.#capacity = { blocks, blockSize };
    }
    throw new VireoError(
      "OUT_OF_RANGE",
      `Cannot use the block size of unit ${this.target}:${this.lun}`,
      {
        device: this.#host.name,
        seen: `${blockSize} bytes`,
        expected: `${MIN_BLOCK_SIZE} to ${largest} bytes`,
      },
    );
  }

  /** Blocks of one command: as many as the host takes. */
  #most(blockSize: number): number {
    return Math.min(MAX_BLOCKS, Math.floor(this.#host.maxBytes / blockSize));
  }

  /**
   * Reads blocks.
   *
   * @throws {RangeError} If the form cannot express them, or one is no integer of at least 0; {VireoError} As
   * {@linkcode ScsiHost.command}.
   */
  async read(block: number, count: number, options: ScsiTransfer = {}): Promise<Uint8Array> {
    checkBlocks(block, count);
    const call = within(options);
    const { blockSize } = this.#capacity ?? await this.capacity(call);
    const bytes = new Uint8Array(count * blockSize);
    const parts: Promise<void>[] = [];
    const most = this.#most(blockSize);
    for (let at = 0; at < count; at += most) {
      const part = Math.min(most, count - at);
      const cdb = transfer(
        options.form,
        [C.READ_6, C.READ_10, C.READ_12, C.READ_16],
        block + at,
        part,
      );
      parts.push(
        this.#in(cdb, part * blockSize, call, part * blockSize)
          .then((data) => bytes.set(data, at * blockSize)),
      );
    }
    await settle(parts);
    return bytes;
  }

  /** Writes whole blocks. @throws As {@linkcode ScsiUnit.read}. */
  async write(block: number, data: Uint8Array, options: ScsiTransfer = {}): Promise<void> {
    const call = within(options);
    const { blockSize } = this.#capacity ?? await this.capacity(call);
    const count = data.length / blockSize;
    if (!Number.isInteger(count)) {
      throw new RangeError(
        `Cannot write ${data.length} bytes: expected a multiple of ${blockSize}`,
      );
    }
    checkBlocks(block, count);
    const parts: Promise<void>[] = [];
    const most = this.#most(blockSize);
    for (let at = 0; at < count; at += most) {
      const part = Math.min(most, count - at);
      const cdb = transfer(
        options.form,
        [C.WRITE_6, C.WRITE_10, C.WRITE_12, C.WRITE_16],
        block + at,
        part,
      );
      parts.push(
        this.#out(cdb, data.subarray(at * blockSize, (at + part) * blockSize), call),
      );
    }
    await settle(parts);
  }

  /** Makes what was written durable. */
  async flush(options: WaitOptions = {}): Promise<void> {
    await this.#out(
      [C.SYNCHRONIZE_CACHE_10, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      new Uint8Array(0),
      options,
    );
  }

  /** Whether it refuses writes, by MODE SENSE (10). @throws {VireoError} As {@linkcode ScsiHost.command}. */
  async writeProtected(options: WaitOptions = {}): Promise<boolean> {
    // No block descriptors, all pages: the header is what is looked at.
    const cdb = [C.MODE_SENSE_10, 8, 0x3f, 0, 0, 0, 0, 0, 252, 0];
    const header = await this.#in(cdb, 252, options, MODE_HEADER);
    return (header[3]! & 0x80) !== 0;
  }

  /**
   * Writes one block's bytes to many blocks, by WRITE SAME: the unit repeats them.
   *
   * @param block The first block.
   * @param count Number of blocks, 1 or more.
   * @param pattern The bytes of one block.
   * @throws {RangeError} If `pattern` is not one block, or `count` not a positive integer; {VireoError} As
   * {@linkcode ScsiHost.command}; `UNSUPPORTED` If the unit has no such command.
   */
  async writeSame(
    block: number,
    count: number,
    pattern: Uint8Array,
    options: WaitOptions = {},
  ): Promise<void> {
    const call = within(options);
    const { blockSize } = this.#capacity ?? await this.capacity(call);
    if (pattern.length !== blockSize) {
      throw new RangeError(
        `Cannot repeat a block of ${pattern.length} bytes: expected ${blockSize} bytes`,
      );
    }
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new RangeError(`Cannot repeat a block ${count} times: expected 1 or more`);
    }
    checkBlocks(block, count);
    // One command after the other: each keeps the unit busy for a while.
    for (let at = 0; at < count; at += SAME_BLOCKS) {
      const part = Math.min(SAME_BLOCKS, count - at);
      const cdb = transfer(
        block + count > 2 ** 32 ? 16 : 10,
        [NaN, C.WRITE_SAME_10, NaN, C.WRITE_SAME_16],
        block + at,
        part,
      );
      await this.#out(cdb, pattern, call);
    }
  }

  /**
   * Gives blocks back to the storage; they have no contents then. Many ranges are several commands.
   *
   * @throws {RangeError} If a block or count is no integer of at least 0, or a count is over 2^32 - 1; {VireoError} As
   * {@linkcode ScsiHost.command}.
   */
  async unmap(
    ranges: readonly { readonly block: number; readonly count: number }[],
    options: WaitOptions = {},
  ): Promise<void> {
    for (const { block, count } of ranges) {
      checkBlocks(block, count);
      if (count < 2 ** 32) continue;
      throw new RangeError(
        `Cannot unmap ${count} blocks in one range: expected at most 4294967295`,
      );
    }
    const call = within(options);
    for (let at = 0; at < ranges.length; at += UNMAP_RANGES) {
      await this.#unmap(ranges.slice(at, at + UNMAP_RANGES), call);
    }
  }

  async #unmap(
    ranges: readonly { readonly block: number; readonly count: number }[],
    options: WaitOptions,
  ): Promise<void> {
    const list = new Uint8Array(8 + 16 * ranges.length);
    const out = view(list);
    out.setUint16(0, list.length - 2);
    out.setUint16(2, list.length - 8);
    ranges.forEach(({ block, count }, i) => {
      out.setUint32(8 + 16 * i, Math.floor(block / 2 ** 32));
      out.setUint32(12 + 16 * i, block % 2 ** 32);
      out.setUint32(16 + 16 * i, count);
    });
    const cdb = new Uint8Array(10);
    cdb[0] = C.UNMAP;
    view(cdb).setUint16(7, list.length);
    await this.#out(cdb, list, options);
  }

  /** A command that reads; an answer of fewer than `least` bytes is none, whatever the status says. */
  async #in(
    cdb: ArrayLike<number>,
    size: number,
    options: WaitOptions,
    least = 0,
  ): Promise<Uint8Array> {
    const task = { unit: this, cdb: Uint8Array.from(cdb), read: size };
    const data = await this.#host.data(task, options);
    if (data.length >= least) return data;
    throw new VireoError("BAD_LENGTH", `Unit ${this.target}:${this.lun} wrote too little`, {
      device: this.#host.name,
      seen: `${data.length} bytes`,
      expected: `at least ${least} bytes`,
    });
  }

  async #out(
    cdb: ArrayLike<number>,
    write: Uint8Array,
    options: WaitOptions,
  ): Promise<void> {
    await this.#host.data({ unit: this, cdb: Uint8Array.from(cdb), write }, options);
  }
}

/** Sense key of "something happened since the last command". */
export const UNIT_ATTENTION = 6;

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Checks numbers that the caller gives. @throws {RangeError} If one is no integer of at least 0. */
function checkBlocks(block: number, count: number): void {
  const fits = Number.isSafeInteger(block) && block >= 0 && Number.isSafeInteger(count) &&
    count >= 0;
  if (fits && Number.isSafeInteger(block + count)) return;
  throw new RangeError(
    `Cannot use ${count} blocks from block ${block} on: both must be integers of at least 0, up to 2^53 - 1 in sum`,
  );
}

/** A READ or WRITE of the form that fits, or the one that was asked for. */
function transfer(
  form: ScsiForm | undefined,
  [six, ten, twelve, sixteen]: readonly [number, number, number, number],
  block: number,
  count: number,
): Uint8Array {
  // The count fits into each form but the shortest: one command has 8192 blocks at most.
  const chosen = form ?? (block + count > 2 ** 32 ? 16 : 10);
  const cdb = new Uint8Array(chosen);
  const out = view(cdb);
  const most = chosen === 6 ? 2 ** 21 : chosen === 16 ? 2 ** 53 : 2 ** 32;
  if (block + count > most || chosen === 6 && count > 256) {
    throw new RangeError(
      `Cannot name ${count} blocks from block ${block} on in a command of ${chosen} bytes: ` +
        `expected a longer command`,
    );
  }
  if (chosen === 6) {
    out.setUint32(0, block);
    cdb[0] = six;
    cdb[4] = count & 0xff;
  } else if (chosen === 10) {
    cdb[0] = ten;
    out.setUint32(2, block);
    out.setUint16(7, count);
  } else if (chosen === 12) {
    cdb[0] = twelve;
    out.setUint32(2, block);
    out.setUint32(6, count);
  } else {
    cdb[0] = sixteen;
    out.setUint32(2, Math.floor(block / 2 ** 32));
    out.setUint32(6, block % 2 ** 32);
    out.setUint32(10, count);
  }
  return cdb;
}

/** Waits for all, so that none is under way any more, then throws what the first threw. */
async function settle(parts: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(parts)).find(({ status }) => status === "rejected");
  if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
}
