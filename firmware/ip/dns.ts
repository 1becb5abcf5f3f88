import { waitFor, type WaitOptions, within } from "@vireo/drivers/core";
import { VireoError } from "@vireo/hal";
import { formatIpv4 } from "./ethernet.ts";
import type { UdpHost } from "./host.ts";

const PORT = 53;
const FIRST_PORT = 49152;
/** RFC 1035 §3.2: an address, and the Internet. */
const TYPE_A = 1;
const CLASS_IN = 1;
/** RFC 1035 §4.1.1: the flags of a question, recursion desired, and bits of an answer's. */
const RECURSION = 0x0100;
const RESPONSE = 0x8000;
const TRUNCATED = 0x0200;
const NO_SUCH_NAME = 3;
const HEADER = 12;
/** Milliseconds that the server has, unless the caller says. */
const DEADLINE = 5000;
/** Milliseconds until a question is asked again at first; doubled each time. */
const FIRST_PAUSE = 1000;

/**
 * Finds the IPv4 address of a name (RFC 1035), by one question to a server that asks the others.
 *
 * @param server Its address, if there is one.
 * @param name A name, or an address, which stays as it is.
 * @throws {VireoError} See `IpStack.resolve`.
 */
export async function resolveName(
  host: UdpHost,
  server: string | undefined,
  name: string,
  options: WaitOptions = {},
): Promise<string> {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(name)) return name;
  if (server === undefined) {
    throw new VireoError("NO_DEVICE", `Cannot find ${name}: no name server is known`);
  }
  options.signal?.throwIfAborted();
  const { timers } = host;
  const question = ask(host.random() & 0xffff, name);
  const port = FIRST_PORT + host.random() % (65536 - FIRST_PORT);
  const subject = { what: `the name server ${server} to find ${name}`, timers };
  return await waitFor<string>(subject, within(options, DEADLINE, timers), (waiter) => {
    const answers = host.listenUdp(port, (from, data) => {
      // A datagram from elsewhere, or about another question, is not for this query.
      if (from.address !== server || from.port !== PORT || !isAnswer(data, question)) return;
      try {
        waiter.resolve(firstAddress(data, question.length, name));
      } catch (error) {
        waiter.reject(error);
      }
    });
    let stop: () => void = () => {};
    const again = (pause: number): void => {
      host.sendUdp(port, { address: server, port: PORT }, question)
        .catch((error) => waiter.reject(error));
      stop = timers.after(pause, () => again(pause * 2));
    };
    again(FIRST_PAUSE);
    return () => {
      stop();
      answers[Symbol.dispose]();
    };
  });
}

function ask(id: number, name: string): Uint8Array {
  const labels = name.replace(/\.$/, "").split(".").map((label) => new TextEncoder().encode(label));
  const length = labels.reduce((sum, label) => sum + 1 + label.length, 1);
  if (length > 255 || labels.some((label) => label.length < 1 || label.length > 63)) {
    throw new VireoError(
      "NO_DEVICE",
      `Cannot find ${name}: expected labels of 1 to 63 bytes, 253 in all`,
    );
  }
  const bytes = new Uint8Array(HEADER + length + 4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, id);
  view.setUint16(2, RECURSION);
  view.setUint16(4, 1);
  let at = HEADER;
  for (const label of labels) {
    bytes[at] = label.length;
    bytes.set(label, at + 1);
    at += 1 + label.length;
  }
  view.setUint16(at + 1, TYPE_A);
  view.setUint16(at + 3, CLASS_IN);
  return bytes;
}

/** Whether a datagram is an answer to a question, which it repeats. */
function isAnswer(data: Uint8Array, question: Uint8Array): boolean {
  if (data.length < question.length) return false;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const same = (from: number, to: number): boolean => {
    const text = (bytes: Uint8Array): string =>
      new TextDecoder("latin1").decode(bytes.subarray(from, to)).toLowerCase();
    return text(data) === text(question);
  };
  return same(0, 2) && (view.getUint16(2) & RESPONSE) !== 0 && view.getUint16(4) === 1 &&
    same(HEADER, question.length);
}

function firstAddress(data: Uint8Array, start: number, name: string): string {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const flags = view.getUint16(2);
  const code = flags & 0xf;
  if (code === NO_SUCH_NAME) {
    throw new VireoError("NO_DEVICE", `Cannot find ${name}: there is no such name`);
  }
  if (code !== 0) {
    throw new VireoError("BAD_STATUS", `Name server fails to find ${name}`, { seen: String(code) });
  }
  let at = start;
  for (let left = view.getUint16(6); left > 0; left--) {
    // A name, which ends with an empty label or with a pointer.
    while (at < data.length && data[at] !== 0 && data[at]! < 0xc0) at += 1 + data[at]!;
    at += (data[at] ?? 0) >= 0xc0 ? 2 : 1;
    if (at + 10 > data.length) break;
    const length = view.getUint16(at + 8);
    const end = at + 10 + length;
    const isAddress = view.getUint16(at) === TYPE_A && view.getUint16(at + 2) === CLASS_IN;
    if (isAddress && length === 4 && end <= data.length) {
      return formatIpv4(data.subarray(at + 10, end));
    }
    at = end;
  }
  const why = (flags & TRUNCATED) !== 0 ? "the answer is cut" : "it has no IPv4 address";
  throw new VireoError("NO_DEVICE", `Cannot find ${name}: ${why}`);
}
