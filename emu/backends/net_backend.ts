/** What the receiver of frames can take unfinished; bits of {@linkcode FrameSink.accepts}. */
export const Accept = { NONE: 0, CSUM: 1, TSO4: 2, TSO6: 4, ECN: 8, UFO: 16, ALL: 31 } as const;

/**
 * The work on a frame that its sender left to others, as in the header of a network device
 * (virtio 1.4 §5.1.6). One object is used again and again: copy what must stay.
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
  /** The sender's word for the length of the headers; not to be trusted. */
  hdrLen = 0;

  /** Makes it say that the frame is complete. */
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

/** An {@linkcode Offload} for complete frames; not to be changed. */
export const NO_OFFLOAD: Offload = Object.freeze(new Offload());

/** Who takes frames from a wire: an emulated device or a peer. */
export interface FrameSink {
  /** What it takes unfinished: bits of {@linkcode Accept}; may change at any time. */
  readonly accepts: number;
  /**
   * Takes a frame; the bytes are valid during the call only.
   *
   * @param bytes Where the frame is.
   * @param offset Its first byte.
   * @param length Its length in bytes, from the destination address, without the checksum.
   * @param offload What is left to do; never more than {@linkcode FrameSink.accepts} names.
   */
  receive(bytes: Uint8Array, offset: number, length: number, offload: Offload): void;
  /** A batch of frames is over: time to interrupt. */
  flush(): void;
}

/** What an emulated network device is plugged into. */
export interface NetBackend extends Disposable {
  /** Name for reports, for example `hub` or `tap:vireo0`. */
  readonly name: string;
  /** What it takes unfinished: bits of {@linkcode Accept}. */
  readonly accepts: number;
  /** Says who gets the frames that come in; `undefined` unplugs. */
  connect(sink: FrameSink | undefined): void;
  /**
   * Sends a frame; the bytes are valid during the call only.
   *
   * @param bytes Where the frame is.
   * @param offset Its first byte.
   * @param length Its length in bytes.
   * @param offload What is left to do; never more than {@linkcode NetBackend.accepts} names.
   */
  send(bytes: Uint8Array, offset: number, length: number, offload: Offload): void;
  /** A batch of frames is over. */
  flush(): void;
}
