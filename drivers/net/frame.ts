import { NetGso, NetHashReport, NetHdrFlag } from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";

/** A checksum that the device is to complete (virtio 1.4 §5.1.6.2). */
export interface TxChecksum {
  /** First byte of the checksum's range, from the start of the frame. */
  readonly start: number;
  /** Where the 16-bit checksum is, from `start`; it holds the pseudo-header sum. */
  readonly offset: number;
}

/** A large packet that the device is to cut (virtio 1.4 §5.1.6.2); needs a checksum too. */
export interface TxSegmentation {
  /** Kind of packet to cut: TCP over IPv4 or IPv6, UDP into fragments, or UDP into datagrams (`udp_l4`). */
  readonly type: "tcpv4" | "tcpv6" | "udp" | "udp_l4";
  /** Bytes of payload in each piece. */
  readonly size: number;
  /** Bytes of all headers, including the transport's; exactly so many if GUEST_HDRLEN was negotiated. */
  readonly headerLength: number;
  /** Whether the TCP packet has ECN's CWR bit set. */
  readonly ecn?: boolean;
}

/** Work on a frame that a driver may leave to the device. */
export interface TxOffload {
  /** The checksum to complete. */
  readonly csum?: TxChecksum;
  /** How to cut the packet. */
  readonly gso?: TxSegmentation;
}

/** How a frame is sent. */
export interface SendOptions extends TxOffload, WaitOptions {
  /** The transmit queue, below the number of active pairs; 0 by default. */
  readonly queue?: number;
}

/** State of a received frame's checksum. */
export type RxChecksum =
  /** Nothing: check it. */
  | "none"
  /** The device checked it. */
  | "valid"
  /** It holds the pseudo-header sum only, as the frame never left this machine. */
  | "partial";

/** A received frame that its receiver owns. */
export interface Frame {
  /** The frame, from the destination address, without the checksum. */
  readonly bytes: Uint8Array;
  /** State of its checksum. */
  readonly checksum: RxChecksum;
  /** A value of `NetGso`, with the ECN bit; 0 if the frame is an ordinary one. */
  readonly gsoType: number;
  /** Bytes of payload in each piece of a large frame. */
  readonly gsoSize: number;
  /** The receive queue it came in on. */
  readonly queue: number;
  /** The device's hash of it; 0 without one, see `Net.setHash` and `Net.setRss`. */
  readonly hash: number;
  /** The hash type of it; NONE without HASH_REPORT. */
  readonly hashReport: NetHashReport;
}

/**
 * A received frame where the device wrote it; one object is used for all frames of a device.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { netDriver } from "@vireo/drivers/net";
 * import { Hub } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { NetDevice } from "@vireo/emu/net";
 * import { assertEquals } from "@std/assert";
 *
 * using hub = new Hub();
 * const devices = [1, 2].map((n) =>
 *   new NetDevice({ backend: hub.port(), mac: Uint8Array.of(2, 0, 0, 0, 0, n) })
 * );
 * await using machine = EmulatedMachine.create({ devices });
 * await using bus = new Bus();
 * await bus.registerDriver(netDriver);
 * await bus.addPlatform(machine);
 * const [from, to] = bus.all(netDriver);
 * const got = Promise.withResolvers<[number, string]>();
 * // The frame is in the device's buffer: what must stay is copied here.
 * to!.onFrame = (frame) => got.resolve([frame.view()[59]!, frame.checksum]);
 * await from!.send(new Uint8Array(60).fill(0xff, 0, 6).fill(9, 59));
 * assertEquals(await got.promise, [9, "none"]);
 * ```
 */
export class RxFrame {
  /** Memory with the frame in it. */
  bytes: Uint8Array = new Uint8Array(0);
  /** First byte of the frame in {@linkcode RxFrame.bytes}. */
  offset = 0;
  /** Length of the frame in bytes. */
  length = 0;
  /** Bits of `NetHdrFlag`. */
  flags = 0;
  /** A value of `NetGso`, with the ECN bit. */
  gsoType: number = NetGso.NONE;
  /** Bytes of payload in each piece of a large frame. */
  gsoSize = 0;
  /** First byte of the range of a partial checksum. */
  csumStart = 0;
  /** Where a partial checksum is, from `csumStart`. */
  csumOffset = 0;
  /** The receive queue. */
  queue = 0;
  /** The device's hash of the frame; 0 without one. */
  hash = 0;
  /** The hash type of it; NONE without HASH_REPORT. */
  hashReport: NetHashReport = NetHashReport.NONE;

  /** State of the frame's checksum. */
  get checksum(): RxChecksum {
    if ((this.flags & NetHdrFlag.NEEDS_CSUM) !== 0) return "partial";
    return (this.flags & NetHdrFlag.DATA_VALID) !== 0 ? "valid" : "none";
  }

  /** A view of the frame; the bytes are valid during the callback only. */
  view(): Uint8Array {
    return this.bytes.subarray(this.offset, this.offset + this.length);
  }

  /** A copy of the frame for its receiver to keep. */
  copy(): Frame {
    return {
      bytes: this.bytes.slice(this.offset, this.offset + this.length),
      checksum: this.checksum,
      gsoType: this.gsoType,
      gsoSize: this.gsoSize,
      queue: this.queue,
      hash: this.hash,
      hashReport: this.hashReport,
    };
  }
}

/** Counters of a network device's driver; they only grow. */
export interface NetStats {
  /** Frames received and handed on or queued. */
  rxFrames: number;
  /** Bytes of those. */
  rxBytes: number;
  /** Frames dropped: shorter than their header and an Ethernet header. */
  rxShort: number;
  /** Frames dropped: num_buffers is 0 or more than arrived. */
  rxNumBuffers: number;
  /** Frames dropped: longer than any packet may be. */
  rxTooLong: number;
  /** Frames dropped: the header's checksum fields make no sense. */
  rxBadChecksum: number;
  /** Frames dropped: the header's segmentation fields make no sense or were not negotiated. */
  rxBadGso: number;
  /** Frames dropped: nobody took them and the receive queue was full. */
  rxQueueFull: number;
  /** Frames given to the device. */
  txFrames: number;
  /** Bytes of those. */
  txBytes: number;
}
