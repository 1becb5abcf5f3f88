import { SCSI_READ_CAPACITY_16, ScsiCommand as C, ScsiStatus } from "@vireo/hal";
import type { DiskBackend } from "../../backends/disk.ts";

/** A logical unit of an emulated host. */
export interface ScsiUnitOptions {
  /** Its target, 0 to 255. */
  readonly target: number;
  /** Its number, 0 to 16383; 0 by default. */
  readonly lun?: number;
  /** What it stores its blocks in; one that reads and writes at once. */
  readonly disk: DiskBackend;
  /** `cdrom` has blocks of 2048 bytes and takes no writes; `disk` by default. */
  readonly kind?: "disk" | "cdrom";
  /** What VPD page 0x80 says. */
  readonly serial?: string;
}

/** What became of a command: its status, and what it read. */
export interface ScsiOutcome {
  readonly status: number;
  /** Sense data; empty if it succeeded. */
  readonly sense: Uint8Array;
  /** What the driver gets. */
  readonly data: Uint8Array;
}

const NONE = new Uint8Array(0);
const good = (data: Uint8Array = NONE): ScsiOutcome => ({
  status: ScsiStatus.GOOD,
  sense: NONE,
  data,
});

/** CHECK CONDITION with sense data of the fixed format (SPC-4 §4.5.3). */
export function check(key: number, asc: number, ascq = 0): ScsiOutcome {
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

/** A disk or CD behind a SCSI host: the commands that drivers send (SPC-4, SBC-3). */
export class ScsiDisk {
  /** Its options. */
  readonly options: ScsiUnitOptions;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** What the next command is told instead of being carried out. */
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

  /** Carries a command out; `write` is what the driver sent with it. */
  run(cdb: Uint8Array, write: Uint8Array): ScsiOutcome {
    const view = new DataView(cdb.buffer, cdb.byteOffset, cdb.byteLength);
    const op = cdb[0]!;
    // These are told of nothing (SPC-4 §5.14).
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
        return good(Uint8Array.of(3, 0, this.#readOnly ? 0x80 : 0, 0).subarray(0, cdb[4]));
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
      case C.READ_16:
        return this.#read(...place(op, cdb, view));
      case C.WRITE_6:
      case C.WRITE_10:
      case C.WRITE_16:
        return this.#write(...place(op, cdb, view), write);
      default:
        return check(ILLEGAL, 0x20);
    }
  }

  get #readOnly(): boolean {
    return this.options.kind === "cdrom" || this.options.disk.readOnly;
  }

  get #blocks(): number {
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
    new DataView(limits.buffer).setUint32(16, 0xffffffff);
    new DataView(limits.buffer).setUint32(20, 255);
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
    view.setUint32(0, Math.min(this.#blocks - 1, 0xffffffff));
    view.setUint32(4, this.blockSize);
    return good(bytes);
  }

  #capacity16(): ScsiOutcome {
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(this.#blocks - 1));
    view.setUint32(8, this.blockSize);
    bytes[14] = 0xc0;
    return good(bytes);
  }

  #read(block: number, count: number): ScsiOutcome {
    const wrong = this.#outside(block, count);
    if (wrong !== undefined) return wrong;
    const { disk } = this.options;
    const at = block * this.blockSize;
    const length = count * this.blockSize;
    if (disk.memory !== undefined) return good(disk.memory.subarray(at, at + length));
    const bytes = new Uint8Array(length);
    void disk.read(at, bytes, 0, length);
    return good(bytes);
  }

  #write(block: number, count: number, data: Uint8Array): ScsiOutcome {
    if (this.#readOnly) return check(PROTECT, 0x27);
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

  #unmap(list: Uint8Array): ScsiOutcome {
    if (this.#readOnly) return check(PROTECT, 0x27);
    if (list.length < 8) return check(ILLEGAL, 0x1a);
    const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
    const end = Math.min(8 + view.getUint16(2), list.length);
    for (let at = 8; at + 16 <= end; at += 16) {
      const block = view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
      const count = view.getUint32(at + 8);
      if (block + count > this.#blocks) return check(ILLEGAL, 0x21);
      void this.options.disk.zero(block * this.blockSize, count * this.blockSize);
    }
    return good();
  }

  #outside(block: number, count: number): ScsiOutcome | undefined {
    if (block + count > this.#blocks) return check(ILLEGAL, 0x21);
    return count * this.blockSize > MAX_TRANSFER ? check(ILLEGAL, 0x24) : undefined;
  }
}

/** Where a READ or WRITE begins, and how many blocks it has. */
function place(op: number, cdb: Uint8Array, view: DataView): [block: number, count: number] {
  if (op === C.READ_6 || op === C.WRITE_6) {
    // 0 stands for 256 in the shortest form.
    return [view.getUint32(0) & 0x1fffff, cdb[4] === 0 ? 256 : cdb[4]!];
  }
  if (op === C.READ_10 || op === C.WRITE_10) return [view.getUint32(2), view.getUint16(7)];
  return [view.getUint32(2) * 2 ** 32 + view.getUint32(6), view.getUint32(10)];
}

function text(words: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(0x20);
  new TextEncoder().encodeInto(words, bytes);
  return bytes;
}
