// Ports of a console and what goes through them.
import { ConsoleDevice, type StreamPipe, streamPipe } from "@vireo/emu";
import { noise } from "../noise.ts";

/** Bytes that differ at each place and for each seed. */
export function pattern(length: number, seed: number): Uint8Array {
  return noise(length, (seed + 1) * 0x9e3779b1);
}

/** Reads a stream until so many bytes came. */
export async function collect(
  stream: ReadableStream<Uint8Array>,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const reader = stream.getReader();
  let at = 0;
  while (at < length) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes.set(value, at);
    at += value.length;
  }
  reader.releaseLock();
  return bytes.subarray(0, at);
}

/** One console port and two others, with the host's ends. */
export function threePorts(): { device: ConsoleDevice; pipes: StreamPipe[] } {
  const pipes = [streamPipe(), streamPipe(), streamPipe()];
  const device = new ConsoleDevice({
    maxPorts: 6,
    size: { cols: 80, rows: 25 },
    ports: pipes.map((pipe, i) => ({ name: `port${i}`, console: i === 0, backend: pipe.device })),
  });
  return { device, pipes };
}
