/** The offloaded work that a receiver of frames accepts; bits of {@linkcode FrameSink.accepts}. */
export const Accept = {
  NONE: 0,
  CSUM: 1,
  TSO4: 2,
  TSO6: 4,
  ECN: 8,
  UFO: 16,
  USO4: 32,
  USO6: 64,
  ALL: 127,
} as const;

/**
 * The work on a frame that its sender left to the receiver, as in the header of a network device
 * (virtio 1.4 §5.1.6). Senders reuse the object, so a receiver must copy what it keeps.
 *
 * @example
 * ```ts
 * import { HostPeer, Hub, Offload } from "@vireo/emu/backends";
 * import { assertEquals } from "@std/assert";
 *
 * using hub = new Hub();
 * using peer = new HostPeer(hub.port(), { ip: "10.0.2.2" });
 * const port = hub.port();
 * // A frame to everybody, whose sender has checked its checksum.
 * const offload = new Offload();
 * offload.dataValid = true;
 * port.send(new Uint8Array(60).fill(0xff, 0, 6), 0, 60, offload);
 * assertEquals(peer.stats.received, 1);
 * ```
 */
export class Offload {
  /** Whether the checksum at `csumStart + csumOffset` holds the pseudo-header sum only. */
  needsCsum = false;
  /** Whether the checksum was verified. */
  dataValid = false;
  /** First byte of the checksum's range, from the start of the frame. */
  csumStart = 0;
  /** Where the checksum is, from `csumStart`. */
  csumOffset = 0;
  /** A value of `NetGso`, with the ECN bit. */
  gsoType = 0;
  /** Bytes of payload in a segment. */
  gsoSize = 0;
  /** The length of the headers as the sender claims it; do not trust it. */
  hdrLen = 0;

  /** Marks the frame as complete. */
  clear(): this {
    this.needsCsum = false;
    this.dataValid = false;
    this.csumStart = 0;
    this.csumOffset = 0;
    this.gsoType = 0;
    this.gsoSize = 0;
    this.hdrLen = 0;
    return this;
  }
}

/** The frozen {@linkcode Offload} of complete frames. */
export const NO_OFFLOAD: Offload = Object.freeze(new Offload());

/** A receiver of frames from a wire: an emulated device or a peer. */
export interface FrameSink {
  /** The offloaded work that it accepts: bits of {@linkcode Accept}; may change at any time. */
  readonly accepts: number;
  /**
   * Takes a frame; the bytes are valid during the call only.
   *
   * @param bytes Where the frame is.
   * @param offset Its first byte.
   * @param length Its length in bytes, from the destination address, without the checksum.
   * @param offload The work that is left; always within {@linkcode FrameSink.accepts}.
   */
  receive(bytes: Uint8Array, offset: number, length: number, offload: Offload): void;
  /** Ends a batch of frames: the device may interrupt now. */
  flush(): void;
}

/** The wire that an emulated network device is plugged into. */
export interface NetBackend extends Disposable {
  /** Name for reports, for example `hub` or `tap:vireo0`. */
  readonly name: string;
  /** The offloaded work that it accepts: bits of {@linkcode Accept}. */
  readonly accepts: number;
  /** Sets the receiver of incoming frames; `undefined` unplugs it. */
  connect(sink: FrameSink | undefined): void;
  /**
   * Sends a frame; the bytes are valid during the call only.
   *
   * @param bytes Where the frame is.
   * @param offset Its first byte.
   * @param length Its length in bytes.
   * @param offload The work that is left; always within {@linkcode NetBackend.accepts}.
   */
  send(bytes: Uint8Array, offset: number, length: number, offload: Offload): void;
  /** Ends a batch of frames. */
  flush(): void;
}
