/** Frames longer than this are cut in the file, in bytes. */
const DEFAULT_SNAPLEN = 262144;
const MAGIC = 0xa1b2c3d4;
const LINKTYPE_ETHERNET = 1;

/**
 * Writes Ethernet frames in the pcap format (draft-ietf-opsawg-pcap), which tcpdump and Wireshark read.
 *
 * @example
 * ```ts
 * import { PcapWriter } from "@vireo/firmware/ip";
 * import { assertEquals } from "@std/assert";
 *
 * const pcap = new PcapWriter();
 * assertEquals(pcap.header().length, 24);
 * assertEquals(pcap.record(new Uint8Array(60), Date.now()).length, 16 + 60);
 * ```
 */
export class PcapWriter {
  readonly #snaplen: number;

  /**
   * Makes a writer.
   *
   * @param snaplen Frames longer than this are cut, in bytes; 262144 by default.
   * @throws {RangeError} If `snaplen` is not a positive integer.
   */
  constructor(snaplen: number = DEFAULT_SNAPLEN) {
    if (!Number.isInteger(snaplen) || snaplen < 1) {
      throw new RangeError(`Cannot cut frames at ${snaplen} bytes: expected a positive integer`);
    }
    this.#snaplen = snaplen;
  }

  /** The start of the file. */
  header(): Uint8Array {
    const bytes = new Uint8Array(24);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint16(4, 2, true);
    view.setUint16(6, 4, true);
    view.setUint32(16, this.#snaplen, true);
    view.setUint32(20, LINKTYPE_ETHERNET, true);
    return bytes;
  }

  /**
   * One frame.
   *
   * @param frame From the destination address, without the checksum.
   * @param time When it was seen, in milliseconds since 1970; fractions count.
   */
  record(frame: Uint8Array, time: number): Uint8Array {
    const length = Math.min(frame.length, this.#snaplen);
    const bytes = new Uint8Array(16 + length);
    const view = new DataView(bytes.buffer);
    const micros = Math.round(time * 1000);
    view.setUint32(0, Math.floor(micros / 1_000_000), true);
    view.setUint32(4, micros % 1_000_000, true);
    view.setUint32(8, length, true);
    view.setUint32(12, frame.length, true);
    bytes.set(frame.subarray(0, length), 16);
    return bytes;
  }
}
