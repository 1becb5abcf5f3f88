import { noise } from "../noise.ts";

/** Plan of a guest, in this order. */
export interface LinuxGuestPlan {
  /** Kernel modules to load, by file name. */
  readonly modules: readonly string[];
  /** MiB of files to write to a file system in the first part of `/dev/vda`. */
  readonly files: number;
  /** MiB of that first part: at least 32 more than the files. */
  readonly rawAt: number;
  /** MiB to write and read past it, 3 at least; the second one is discarded at the end. */
  readonly raw: number;
  /** Where a TCP server at the other end of the wire says back what it gets, and what to send in MiB. */
  readonly tcp?: {
    readonly own: string;
    readonly host: string;
    readonly port: number;
    readonly size: number;
    /** Connections at a time. */
    readonly streams: number;
    /** Queue pairs to use. */
    readonly pairs: number;
    /** Whether to ask for an address by DHCP before. */
    readonly dhcp: boolean;
    /** Whether to say how many entries the queues have. */
    readonly ring: boolean;
  };
  /** MiB that fio writes at random and verifies, behind what is written raw. */
  readonly fio: number;
  /** Rounds in which fio measures every disk by turns; 0 to leave it. */
  readonly measure: number;
  /** Whether to draw a picture on the screen of the graphics device. */
  readonly gpu: boolean;
  /** Whether to wait for a key of the keyboard. */
  readonly input: boolean;
  /** Whether to wait for the disk to be unplugged, and plugged again. */
  readonly unplug: boolean;
  /** Whether to work on the SCSI disk. */
  readonly scsi: boolean;
  /** Whether to wait, with the disk mounted, for it to be resized. */
  readonly resize: boolean;
  /** KiB to send to the host's echo at port 7 by vsock. */
  readonly vsock: number;
  /** Whether to take the disk's driver from it and give it back. */
  readonly rebind: boolean;
  /** Whether to reboot at the end, unless this is the second boot. */
  readonly reboot: boolean;
}

/** Works that fio measures: random reads of so many KiB, and so many of them at a time. */
export const FIO_WORKS: readonly (readonly [block: number, depth: number])[] = [
  [4, 1],
  [4, 32],
  [1024, 4],
];

/** Bytes of a block of noise. */
export const MIB: number = 1024 * 1024;

/**
 * The picture that a guest draws, in the bytes of its frame buffer: blue, green, red and one that nobody sees.
 *
 * @param pixels How many pixels it has.
 */
export function picture(pixels: number): Uint8Array<ArrayBuffer> {
  const bytes = noise(MIB, 29);
  return Uint8Array.from({ length: 4 * pixels }, (_, at) => bytes[at % (MIB - 4)]!);
}

/** Makes each MiB of noise another one. */
export function stamp(block: Uint8Array, i: number): void {
  for (let at = 0; at < block.length; at += 4096) new DataView(block.buffer).setUint32(at, i, true);
}
