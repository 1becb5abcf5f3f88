/** A host's end of a byte stream, as the console device uses it. */
export interface StreamPort {
  /** Bytes from the host to the guest. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Bytes from the guest to the host. */
  readonly writable: WritableStream<Uint8Array>;
}

/** Two ends of one connection: bytes written at one end are read at the other. */
export interface StreamPipe {
  /** The end for the device. */
  readonly device: StreamPort;
  /** The end for the host's user. */
  readonly host: StreamPort;
}

/**
 * Connects two stream ports in memory, with back-pressure both ways.
 *
 * @param highWaterMark Chunks that may be queued in each direction before the writer must wait.
 *
 * @example
 * ```ts
 * import { streamPipe } from "@vireo/emu/backends";
 * import { assertEquals } from "@std/assert";
 *
 * const { device, host } = streamPipe();
 * const reading = device.readable.getReader().read();
 * await host.writable.getWriter().write(Uint8Array.of(1, 2, 3));
 * assertEquals([...(await reading).value!], [1, 2, 3]);
 * ```
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

/**
 * A port whose host sends nothing and discards everything.
 *
 * @example
 * ```ts
 * import { nullPort } from "@vireo/emu/backends";
 * import { assertEquals } from "@std/assert";
 *
 * const port = nullPort();
 * const writer = port.writable.getWriter();
 * await writer.write(Uint8Array.of(1));
 * assertEquals(writer.desiredSize, 1, "it is gone");
 * ```
 */
export function nullPort(): StreamPort {
  return { readable: new ReadableStream<Uint8Array>(), writable: new WritableStream<Uint8Array>() };
}

/**
 * A port that sends the guest's bytes back to the guest.
 *
 * @param highWaterMark Chunks that may be queued before the guest must wait.
 *
 * @example
 * ```ts
 * import { loopbackPort } from "@vireo/emu/backends";
 * import { assertEquals } from "@std/assert";
 *
 * const port = loopbackPort();
 * const reading = port.readable.getReader().read();
 * await port.writable.getWriter().write(Uint8Array.of(1, 2));
 * assertEquals([...(await reading).value!], [1, 2]);
 * ```
 */
export function loopbackPort(highWaterMark = 1): StreamPort {
  return new TransformStream<Uint8Array, Uint8Array>({}, { highWaterMark }, { highWaterMark });
}
