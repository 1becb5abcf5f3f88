import type { Dma } from "@vireo/hal";
import type { RequestOptions, RequestQueue } from "./request_queue.ts";
import { SgList } from "./virtqueue.ts";

/** What a device answered. */
export interface Answer {
  /** As much memory as it was given. */
  readonly bytes: Uint8Array;
  /** How much of it the device claims to have written, at most all. */
  readonly length: number;
}

/** How to exchange, besides how long to wait. */
export interface ExchangeOptions extends Pick<RequestOptions, "signal" | "deadline"> {
  /** What the room for the answer is filled with before; a device may write less than it says. */
  readonly preset?: number;
}

/**
 * One request and its answer, through memory of their own: what the device reads, and room for what it
 * writes, each part an element of the chain (some devices want headers apart, whatever the specification
 * says of layouts). The device owns that memory until it returns it, whatever the caller does; it is
 * zeroed before it is used for something else.
 *
 * @param parts What the device reads; empty ones are left out.
 * @param sizes Bytes of the answer, or of its parts; 1 in all at least.
 * @throws {VireoError} `TIMEOUT`, `OUT_OF_MEMORY`, or why the queue broke; the signal's reason.
 */
export async function exchange(
  dma: Dma,
  queue: RequestQueue,
  parts: readonly Uint8Array[],
  sizes: number | readonly number[],
  options: ExchangeOptions = {},
): Promise<Answer> {
  const { preset = 0, signal, deadline } = options;
  const inputs = parts.map(({ length }) => length).filter((length) => length > 0);
  const outputs = (typeof sizes === "number" ? [sizes] : sizes).filter((length) => length > 0);
  const readable = sum(inputs);
  const size = sum(outputs);
  const region = dma.alloc(readable + size);
  let at = 0;
  for (const part of parts) {
    region.bytes.set(part, at);
    at += part.length;
  }
  if (preset !== 0) region.bytes.fill(preset, readable);
  const chain = new SgList(inputs.length + outputs.length);
  let address = readable > 0 ? region.share(0, readable, "to-device") : 0;
  for (const length of inputs) {
    chain.addReadable(address, length);
    address += length;
  }
  address = region.share(readable, size, "from-device");
  for (const length of outputs) {
    chain.addWritable(address, length);
    address += length;
  }
  let bytes = new Uint8Array(0);
  const onReturned = (): void => {
    if (readable > 0) region.unshare(0, readable, "to-device");
    region.unshare(readable, size, "from-device");
    bytes = region.bytes.slice(readable, readable + size);
    region.bytes.fill(0);
    region[Symbol.dispose]();
  };
  const used = await queue.submit(chain, { signal, deadline, onReturned });
  return { bytes, length: Math.min(used, size) };
}

function sum(lengths: readonly number[]): number {
  return lengths.reduce((total, length) => total + length, 0);
}
