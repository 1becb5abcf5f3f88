import { SCSI_READ_CAPACITY_16, ScsiCommand as C, ScsiStatus } from "@vireo/hal";
import type { DiskBackend } from "../../backends/disk.ts";

/** A logical unit of an emulated host. */
export interface ScsiUnitOptions {
  /** Its target, 0 to 255. */
  readonly target: number;
  /** Its number, 0 to 16383; 0 by default. */
  readonly lun?: number;
  /** The disk with its blocks; it must read and write at once. */
  readonly disk: DiskBackend;
  /** `cdrom` has blocks of 2048 bytes and takes no writes; `disk` by default. */
  readonly kind?: "disk" | "cdrom";
  /** The serial number in VPD page 0x80. */
  readonly serial?: string;
}

/** Outcome of a command: its status, and the data that it read. */
export interface ScsiOutcome {
  readonly status: number;
  /** Sense data; empty if it succeeded. */
  readonly sense: Uint8Array;
  /** Data for the driver. */
  readonly data: Uint8Array;
  /** Bytes that there were for the driver, had there been room; those of `data` by default. */
  readonly total?: number;
  /** Bytes that were written besides those of the request. */
  readonly worked?: number;
}

const NONE = new Uint8Array(0);
const good = (data: Uint8Array = NONE): ScsiOutcome => ({
  status: ScsiStatus.GOOD,
  sense: NONE,
  data,
});

/** CHECK CONDITION with sense data of the fixed format (SPC-4 §4.5.3). */
function check(key: number, asc: number, ascq = 0): ScsiOutcome {
  const sense = new Uint8Array(18);
  sense[0] = 0x70;
  sense[2] = key;
  sense[7] = sense.length - 8;
  sense[12] = asc;
  sense[13] = ascq;
  return { status: ScsiStatus.CHECK_CONDITION, sense, data: NONE };
}

const ILLEGAL = 5;
const ATTENTION = 6;
const PROTECT = 7;
/** Most bytes of one transfer: the guest's number sizes nothing larger. */
const MAX_TRANSFER = 16 << 20;
/** Most descriptors of an UNMAP, and most blocks of all of them; VPD page 0xb0 tells both. */
const MAX_UNMAP_DESCRIPTORS = 255;
const MAX_UNMAP_BLOCKS = 1 << 16;
/** Bytes before the descriptors of an UNMAP, and of each of them (SBC-3 §5.28.2). */
const UNMAP_HEADER = 8;
const UNMAP_DESCRIPTOR = 16;
/** Bits of WRITE SAME (SBC-3 §5.42): no buffer of data, PBDATA and LBDATA, ANCHOR. */
const SAME_NO_BUFFER = 0x01;
const SAME_OBSOLETE = 0x06;
const SAME_ANCHOR = 0x10;

/** A target's answer for a unit that it does not have (SPC-4 §5.11). */
export function missing(cdb: Uint8Array): ScsiOutcome {
  const wrong = check(ILLEGAL, 0x25);
  if (cdb[0] === C.REQUEST_SENSE) return good(wrong.sense.subarray(0, cdb[4]));
  if (cdb[0] !== C.INQUIRY || (cdb[1]! & 1) !== 0) return wrong;
  // Qualifier 3, no type: nothing is there, and nothing can be.
  const bytes = new Uint8Array(36);
  bytes.set([0x7f, 0, 5, 2, bytes.length - 5]);
  return good(bytes.subarray(0, cdb[3]! << 8 | cdb[4]!));
}

/** A disk or CD behind a SCSI host: the commands that drivers send (SPC-4, SBC-3). */
export class ScsiDisk {
  /** Its options. */
  readonly options: ScsiUnitOptions;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Unit attention: the next command gets it instead of being carried out. */
  #attention: ScsiOutcome | undefined;

  /** Makes a unit. */
  constructor(options: ScsiUnitOptions) {
    this.options = options;
    this.blockSize = options.kind === "cdrom" ? 2048 : 512;
  }

  /** Tells the driver of a reset or a change at its next command. */
  attend(asc: number, ascq = 0): void {
    this.#attention = check(ATTENTION, asc, ascq);
  }

  /** Unit attention, as plain data for a snapshot. */
  get attention(): readonly number[] | null {
    return this.#attention === undefined ? null : [...this.#attention.sense];
  }

  set attention(sense: readonly number[] | null) {
    this.#attention = sense === null
      ? undefined
      : { status: ScsiStatus.CHECK_CONDITION, sense: Uint8Array.from(sense), data: NONE };
  }

  /** Bytes that a command takes from the driver, at most 16 MiB; 0 if it will be refused. */
  takes(cdb: Uint8Array): number {
    const view = new DataView(cdb.buffer, cdb.byteOffset, cdb.byteLength);
    switch (cdb[0]!) {
      case C.UNMAP:
        // One descriptor more than allowed, so that too many are seen.
        return Math.min(
          view.getUint16(7),
          UNMAP_HEADER + (MAX_UNMAP_DESCRIPTORS + 1) * UNMAP_DESCRIPTOR,
        );
      case C.WRITE_SAME_10:
      case C.WRITE_SAME_16:
        return this.#readOnly() || noBuffer(cdb) ? 0 : this.blockSize;
      case C.WRITE_6:
      case C.WRITE_10:
      case C.WRITE_12:
      case C.WRITE_16: {
        const [block, count] = place(cdb[0]!, cdb, view);
        const refused = this.#readOnly() || this.#outside(block, count) !== undefined;
        return refused ? 0 : count * this.blockSize;
      }
      default:
        return 0;
    }
  }

  /**
   * Carries a command out.
   *
   * @param write What the driver sent with it, as far as the command takes it.
   * @param room Bytes that the driver has room for.
   */
  run(cdb: Uint8Array, write: Uint8Array, room: number): ScsiOutcome {
    const view = new DataView(cdb.buffer, cdb.byteOffset, cdb.byteLength);
    const op = cdb[0]!;
    // These report no attention (SPC-4 §5.14).
    if (op !== C.INQUIRY && op !== C.REPORT_LUNS && op !== C.REQUEST_SENSE) {
      const attention = this.#attention;
      this.#attention = undefined;
      if (attention !== undefined) return attention;
    }
    switch (op) {
      case C.TEST_UNIT_READY:
      case C.START_STOP_UNIT:
        return good();
      case C.REQUEST_SENSE:
        return good(check(0, 0).sense.subarray(0, cdb[4]));
      case C.INQUIRY:
        return this.#inquiry(cdb, view);
      case C.MODE_SENSE_6:
        // A header without pages: whether writes are refused, and no block descriptor.
        return good(Uint8Array.of(3, 0, this.#readOnly() ? 0x80 : 0, 0).subarray(0, cdb[4]));
      case C.MODE_SENSE_10: {
        const header = Uint8Array.of(0, 6, 0, this.#readOnly() ? 0x80 : 0, 0, 0, 0, 0);
        return good(header.subarray(0, view.getUint16(7)));
      }
      case C.READ_CAPACITY_10:
        return this.#capacity10();
      case C.SERVICE_ACTION_IN_16:
        return (cdb[1]! & 0x1f) === SCSI_READ_CAPACITY_16
          ? this.#capacity16()
          : check(ILLEGAL, 0x24);
      case C.SYNCHRONIZE_CACHE_10:
      case C.SYNCHRONIZE_CACHE_16:
        void this.options.disk.flush();
        return good();
      case C.UNMAP:
        return this.#unmap(write);
      case C.READ_6:
      case C.READ_10:
      case C.READ_12:
      case C.READ_16:
        return this.#read(...place(op, cdb, view), room);
      case C.WRITE_6:
      case C.WRITE_10:
      case C.WRITE_12:
      case C.WRITE_16:
        return this.#write(...place(op, cdb, view), write);
      case C.WRITE_SAME_10:
      case C.WRITE_SAME_16:
        return this.#writeSame(cdb, ...place(op, cdb, view), write);
      default:
        return check(ILLEGAL, 0x20);
    }
  }

  #readOnly(): boolean {
    return this.options.kind === "cdrom" || this.options.disk.readOnly;
  }

  #blocks(): number {
    return Math.floor(this.options.disk.size / this.blockSize);
  }

  #inquiry(cdb: Uint8Array, view: DataView): ScsiOutcome {
    const room = view.getUint16(3);
    const type = this.options.kind === "cdrom" ? 5 : 0;
    if ((cdb[1]! & 1) !== 0) return this.#vital(cdb[2]!, type, room);
    if (cdb[2] !== 0) return check(ILLEGAL, 0x24);
    const bytes = new Uint8Array(36);
    bytes[0] = type;
    bytes[1] = this.options.kind === "cdrom" ? 0x80 : 0;
    bytes[2] = 5;
    bytes[3] = 2;
    bytes[4] = bytes.length - 5;
    bytes.set(text("VIREO", 8), 8);
    bytes.set(text(this.options.kind === "cdrom" ? "CD-ROM" : "HARDDISK", 16), 16);
    bytes.set(text("1.0", 4), 32);
    return good(bytes.subarray(0, room));
  }

  #vital(page: number, type: number, room: number): ScsiOutcome {
    const serial = text(this.options.serial ?? "", this.options.serial?.length ?? 0);
    const limits = new Uint8Array(60);
    new DataView(limits.buffer).setUint32(16, MAX_UNMAP_BLOCKS);
    new DataView(limits.buffer).setUint32(20, MAX_UNMAP_DESCRIPTORS);
    // Bytes 36 to 43 of the page: the maximum of WRITE SAME.
    new DataView(limits.buffer).setUint32(36, MAX_TRANSFER / this.blockSize);
    const pages: Readonly<Record<number, Uint8Array>> = {
      0x00: Uint8Array.of(0x00, 0x80, 0xb0, 0xb2),
      0x80: serial,
      0xb0: limits,
      // Thin provisioning: UNMAP is there, and unmapped blocks read as zeroes.
      0xb2: Uint8Array.of(0, 0x80 | 0x04, 0x02, 0),
    };
    const body = pages[page];
    if (body === undefined) return check(ILLEGAL, 0x24);
    return good(Uint8Array.of(type, page, 0, body.length, ...body).subarray(0, room));
  }

  #capacity10(): ScsiOutcome {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, Math.min(this.#blocks() - 1, 0xffffffff));
    view.setUint32(4, this.blockSize);
    return good(bytes);
  }

  #capacity16(): ScsiOutcome {
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(this.#blocks() - 1));
    view.setUint32(8, this.blockSize);
    bytes[14] = 0xc0;
    return good(bytes);
  }

  #read(block: number, count: number, room: number): ScsiOutcome {
    const wrong = this.#outside(block, count);
    if (wrong !== undefined) return wrong;
    const { disk } = this.options;
    const at = block * this.blockSize;
    const total = count * this.blockSize;
    if (disk.memory !== undefined) return good(disk.memory.subarray(at, at + total));
    const bytes = new Uint8Array(Math.min(total, Math.max(0, room)));
    // Storage has whole sectors.
    const whole = bytes.length & ~511;
    void disk.read(at, bytes, 0, whole);
    if (whole < bytes.length) {
      const sector = new Uint8Array(512);
      void disk.read(at + whole, sector, 0, sector.length);
      bytes.set(sector.subarray(0, bytes.length - whole), whole);
    }
    return { ...good(bytes), total };
  }

  #write(block: number, count: number, data: Uint8Array): ScsiOutcome {
    if (this.#readOnly()) return check(PROTECT, 0x27);
    const wrong = this.#outside(block, count);
    if (wrong !== undefined) return wrong;
    const length = count * this.blockSize;
    if (data.length < length) return check(ILLEGAL, 0x1a);
    const { disk } = this.options;
    const at = block * this.blockSize;
    if (disk.memory !== undefined) disk.memory.set(data.subarray(0, length), at);
    else void disk.write(at, data, 0, length);
    return good();
  }

  /** Writes one block again and again; one without data, or to be unmapped, is zeroes. */
  #writeSame(cdb: Uint8Array, block: number, count: number, data: Uint8Array): ScsiOutcome {
    if (this.#readOnly()) return check(PROTECT, 0x27);
    // ANCHOR, and the forms of old that put numbers into the blocks.
    if ((cdb[1]! & (SAME_ANCHOR | SAME_OBSOLETE)) !== 0) return check(ILLEGAL, 0x24);
    // No blocks are all up to the end.
    const blocks = count === 0 ? Math.max(0, this.#blocks() - block) : count;
    const wrong = this.#outside(block, blocks);
    if (wrong !== undefined) return wrong;
    if (!noBuffer(cdb) && data.length < this.blockSize) return check(ILLEGAL, 0x1a);
    const { disk } = this.options;
    const at = block * this.blockSize;
    const length = blocks * this.blockSize;
    if (noBuffer(cdb) || data.subarray(0, this.blockSize).every((byte) => byte === 0)) {
      void disk.zero(at, length);
    } else {
      const pattern = data.subarray(0, this.blockSize);
      const all = disk.memory?.subarray(at, at + length) ?? new Uint8Array(length);
      for (let i = 0; i < length; i += this.blockSize) all.set(pattern, i);
      if (disk.memory === undefined) void disk.write(at, all, 0, length);
    }
    return { ...good(), worked: length };
  }

  #unmap(list: Uint8Array): ScsiOutcome {
    if (this.#readOnly()) return check(PROTECT, 0x27);
    if (list.length < UNMAP_HEADER) return check(ILLEGAL, 0x1a);
    const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
    const end = Math.min(UNMAP_HEADER + view.getUint16(2), list.length);
    const ranges: [block: number, count: number][] = [];
    let blocks = 0;
    // All are checked before any is applied: a command that is refused changed nothing.
    for (let at = UNMAP_HEADER; at + UNMAP_DESCRIPTOR <= end; at += UNMAP_DESCRIPTOR) {
      const block = view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
      const count = view.getUint32(at + 8);
      if (block + count > this.#blocks()) return check(ILLEGAL, 0x21);
      blocks += count;
      ranges.push([block, count]);
    }
    if (ranges.length > MAX_UNMAP_DESCRIPTORS || blocks > MAX_UNMAP_BLOCKS) {
      return check(ILLEGAL, 0x26);
    }
    for (const [block, count] of ranges) {
      void this.options.disk.zero(block * this.blockSize, count * this.blockSize);
    }
    return { ...good(), worked: blocks * this.blockSize };
  }

  #outside(block: number, count: number): ScsiOutcome | undefined {
    if (block + count > this.#blocks()) return check(ILLEGAL, 0x21);
    return count * this.blockSize > MAX_TRANSFER ? check(ILLEGAL, 0x24) : undefined;
  }
}

/** Whether a WRITE SAME comes without its block (NDOB, which only the long form has). */
function noBuffer(cdb: Uint8Array): boolean {
  return cdb[0] === C.WRITE_SAME_16 && (cdb[1]! & SAME_NO_BUFFER) !== 0;
}

/** Where a READ or WRITE begins, and how many blocks it has. */
function place(op: number, cdb: Uint8Array, view: DataView): [block: number, count: number] {
  if (op === C.READ_6 || op === C.WRITE_6) {
    // 0 stands for 256 in the shortest form.
    return [view.getUint32(0) & 0x1fffff, cdb[4] === 0 ? 256 : cdb[4]!];
  }
  if (op === C.READ_12 || op === C.WRITE_12) return [view.getUint32(2), view.getUint32(6)];
  if (op === C.READ_10 || op === C.WRITE_10 || op === C.WRITE_SAME_10) {
    return [view.getUint32(2), view.getUint16(7)];
  }
  return [view.getUint32(2) * 2 ** 32 + view.getUint32(6), view.getUint32(10)];
}

function text(words: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(0x20);
  new TextEncoder().encodeInto(words, bytes);
  return bytes;
}
