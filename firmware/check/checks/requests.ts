import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import type { KnownRequest } from "../requests.ts";

/** The bytes that the device reads, in one piece. */
function all({ readable }: KnownRequest): Uint8Array {
  const bytes = new Uint8Array(readable.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of readable) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

type Make = (c: CheckContext, known: KnownRequest) => readonly [Uint8Array[], number[]];

/** How the known request of any type is made wrong. */
const OFFENCES: readonly (readonly [name: string, done: string, make: Make])[] = [
  ["one-byte", "its first byte is all that the device can read", (_, known) => [
    [all(known).slice(0, 1)],
    [...known.writable],
  ]],
  ["half", "the device can read half of it", (_, known) => [
    [all(known).slice(0, all(known).length >> 1)],
    [...known.writable],
  ]],
  ["cut", "its last byte is missing", (_, known) => [
    [all(known).slice(0, -1)],
    [...known.writable],
  ]],
  ["nothing-to-read", "the device can read nothing of it", (_, known) => [[], [...known.writable]]],
  ["no-room", "there is no room for an answer", (_, known) => [[...known.readable], []]],
  ["room-of-one", "there is room for an answer of one byte", (_, known) => [
    [...known.readable],
    [1],
  ]],
  ["more-room", "there is room for an answer of one page more", (_, known) => [
    [...known.readable],
    [...known.writable, 4096],
  ]],
  ["more-to-read", "it is followed by a page of bytes", (c, known) => [
    [...known.readable, c.random.bytes(4096)],
    [...known.writable],
  ]],
  ["random", "its bytes are random, by the seed of the run", (c, known) => [
    known.readable.map(({ length }) => c.random.bytes(length)),
    [...known.writable],
  ]],
  ["all-ones", "its bytes are all ones", (_, known) => [
    known.readable.map(({ length }) => new Uint8Array(length).fill(0xff)),
    [...known.writable],
  ]],
];

/** Requests of every type that are wrong in the same ways. */
export const REQUEST_CHECKS: readonly Check[] = OFFENCES.map(([name, done, make]) => ({
  id: `request.hostile.${name}`,
  clauses: ["dev.basic.status.2", "dev.basic.reset.1"],
  done: `a request that the device knows is made wrong: ${done}`,
  expected: "it is answered or the device stops, and after a reset the device works as before",
  hostile: true,
  request: true,
  async run(c) {
    await c.init();
    const known = c.known;
    const [readable, writable] = make(c, known);
    const empty = readable.every(({ length }) => length === 0) && writable.length === 0;
    if (empty) return c.skip("nothing is left of the request");
    await c.tell(known.queue, readable.filter(({ length }) => length > 0), writable);
  },
}));
