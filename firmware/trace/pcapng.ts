import { DeviceId, joinBytes, type TraceEvent } from "@vireo/hal";
import { traceText } from "./text.ts";

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const PACKET = 6;
const MAGIC = 0x1a2b3c4d;
const ETHERNET = 1;
/** For text of our own, which `vireo.lua` dissects. */
const USER0 = 147;
const COMMENT = 1;
const IF_NAME = 2;
const EPB_FLAGS = 2;
const INBOUND = 1;
const OUTBOUND = 2;
const utf8 = new TextEncoder();

/**
 * Writes a trace in the pcapng format (draft-ietf-opsawg-pcapng): frames of network devices as Ethernet, an
 * interface for each device, and all other events as text of the link type USER0, in their order.
 */
export class PcapngTrace {
  readonly #interfaces = new Map<string, number>();
  /** Milliseconds since 1970 at which the trace began. */
  readonly #began: number;

  /**
   * Makes a writer.
   *
   * @param began Milliseconds since 1970 at which the trace began.
   */
  constructor(began: number) {
    this.#began = began;
  }

  /** The start of the file. */
  header(): Uint8Array {
    const body = new Uint8Array(16);
    const view = new DataView(body.buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint16(4, 1, true);
    view.setBigInt64(8, -1n, true);
    return block(SECTION, body);
  }

  /** The blocks of an event. */
  event(event: TraceEvent): Uint8Array[] {
    const frame = event.kind === "add" || event.kind === "used" ? event.frame : undefined;
    if (event.deviceId === DeviceId.NET && frame !== undefined) {
      const way = event.kind === "add" ? OUTBOUND : INBOUND;
      const text = `${event.device} ${traceText(event)}`;
      return this.#packet(event, { name: event.device, link: ETHERNET }, frame, [
        [EPB_FLAGS, words(way)],
        [COMMENT, utf8.encode(text)],
      ]);
    }
    const text = utf8.encode(`${event.device} ${traceText(event)}`);
    return this.#packet(event, { name: "vireo", link: USER0 }, text, []);
  }

  #packet(
    event: TraceEvent,
    { name, link }: { readonly name: string; readonly link: number },
    bytes: Uint8Array,
    options: readonly Option[],
  ): Uint8Array[] {
    const blocks: Uint8Array[] = [];
    let index = this.#interfaces.get(name);
    if (index === undefined) {
      this.#interfaces.set(name, index = this.#interfaces.size);
      const body = joinBytes(words(link, 0), optionBytes([[IF_NAME, utf8.encode(name)]]));
      blocks.push(block(INTERFACE, body));
    }
    const micros = BigInt(Math.round((this.#began + event.time) * 1000));
    const head = words(
      index,
      Number(micros >> 32n),
      Number(micros & 0xffffffffn),
      bytes.length,
      bytes.length,
    );
    blocks.push(block(PACKET, joinBytes(head, padded(bytes), optionBytes(options))));
    return blocks;
  }
}

type Option = readonly [code: number, value: Uint8Array];

function words(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function padded(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array((bytes.length + 3) & ~3);
  out.set(bytes);
  return out;
}

function optionBytes(options: readonly Option[]): Uint8Array {
  if (options.length === 0) return new Uint8Array(0);
  const parts = options.flatMap(([code, value]) => [
    words(code | value.length << 16),
    padded(value),
  ]);
  return joinBytes(...parts, words(0));
}

function block(type: number, body: Uint8Array): Uint8Array {
  const length = 12 + body.length;
  return joinBytes(words(type, length), body, words(length));
}
