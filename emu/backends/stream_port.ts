/** A host's end of a byte stream, as the console device uses it. */
export interface StreamPort {
  /** Bytes from the host to the guest. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Bytes from the guest to the host. */
  readonly writable: WritableStream<Uint8Array>;
}

/** Two ends of one connection: what goes into one's `writable` comes out of the other's `readable`. */
export interface StreamPipe {
  /** The end to give to the device. */
  readonly device: StreamPort;
  /** The end that stands for the host's user. */
  readonly host: StreamPort;
}

/**
 * Connects two stream ports in memory, with back-pressure both ways.
 *
 * @param highWaterMark Chunks that wait in each direction before the writer has to.
 */
export function streamPipe(highWaterMark = 1): StreamPipe {
  const strategy = { highWaterMark };
  const down = new TransformStream<Uint8Array, Uint8Array>({}, strategy, strategy);
  const up = new TransformStream<Uint8Array, Uint8Array>({}, strategy, strategy);
  return {
    device: { readable: down.readable, writable: up.writable },
    host: { readable: up.readable, writable: down.writable },
  };
}

/** A port whose host never says a word and takes all there is. */
export function nullPort(): StreamPort {
  return { readable: new ReadableStream<Uint8Array>(), writable: new WritableStream<Uint8Array>() };
}

/**
 * A port that sends back to the guest what the guest sends.
 *
 * @param highWaterMark Chunks that wait before the guest has to.
 */
export function loopbackPort(highWaterMark = 1): StreamPort {
  return new TransformStream<Uint8Array, Uint8Array>({}, { highWaterMark }, { highWaterMark });
}
