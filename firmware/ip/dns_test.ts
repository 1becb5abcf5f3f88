import { assertEquals, assertRejects } from "@std/assert";
import { SYSTEM_TIMERS } from "@vireo/drivers";
import { VireoError } from "@vireo/hal";
import { resolveName } from "./dns.ts";
import type { UdpHandler, UdpHost } from "./host.ts";

const SERVER = "10.0.2.3";

/** A host whose name server answers a question by these bytes after it, or not at all. */
function host(
  answer: (question: Uint8Array, asked: number) => Uint8Array[],
): UdpHost & { readonly asked: Uint8Array[] } {
  const handlers = new Map<number, UdpHandler>();
  const asked: Uint8Array[] = [];
  return {
    asked,
    mac: new Uint8Array(6),
    timers: {
      now: () => SYSTEM_TIMERS.now(),
      after: (ms, run) => SYSTEM_TIMERS.after(ms / 100, run),
    },
    random: () => 0x1234abcd,
    listenUdp(port, handler) {
      handlers.set(port, handler);
      return { [Symbol.dispose]: () => void handlers.delete(port) };
    },
    sendUdp(from, _to, data) {
      asked.push(data);
      for (const reply of answer(data, asked.length)) {
        handlers.get(from)?.({ address: SERVER, port: 53 }, reply);
      }
      return Promise.resolve();
    },
  };
}

/** An answer, its records as RFC 1035 §4.1.3 has them. */
function reply(question: Uint8Array, flags: number, ...records: number[][]): Uint8Array {
  const bytes = Uint8Array.from([...question, ...records.flat()]);
  const view = new DataView(bytes.buffer);
  view.setUint16(2, flags);
  view.setUint16(6, records.length);
  return bytes;
}

const CNAME = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, 0x62, 0xc0, 12];
const ADDRESS = [1, 0x62, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 7];

Deno.test("resolveName() asks one question and follows an alias to its address", async () => {
  const asked = host((question) => [reply(question, 0x8180, CNAME, ADDRESS)]);
  assertEquals(await resolveName(asked, SERVER, "a.example"), "192.0.2.7");
  // Header, the name by labels, type A, class IN.
  const name = [1, 0x61, 7, ...new TextEncoder().encode("example"), 0];
  assertEquals([...asked.asked[0]!], [
    0xab,
    0xcd,
    1,
    0,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    0,
    ...name,
    0,
    1,
    0,
    1,
  ]);
  assertEquals(await resolveName(host(() => []), undefined, "10.1.2.3"), "10.1.2.3");
});

Deno.test("resolveName() asks again, and takes no answer to another question", async () => {
  const other = (question: Uint8Array): Uint8Array => {
    const bytes = reply(question, 0x8180, ADDRESS);
    bytes[0]! ^= 1;
    return bytes;
  };
  const asked = host((question, times) =>
    times < 3 ? [other(question), question] : [reply(question, 0x8180, ADDRESS)]
  );
  assertEquals(await resolveName(asked, SERVER, "b.a"), "192.0.2.7");
  assertEquals(asked.asked.length, 3);
});

Deno.test("resolveName() says why there is no address", async () => {
  const cases: [number, number[][], string, string][] = [
    [0x8183, [], "NO_DEVICE", "Cannot find a.b: there is no such name"],
    [0x8182, [], "BAD_STATUS", "Name server fails to find a.b"],
    [0x8180, [CNAME], "NO_DEVICE", "Cannot find a.b: it has no IPv4 address"],
    [0x8180, [ADDRESS.slice(0, 9)], "NO_DEVICE", "Cannot find a.b: it has no IPv4 address"],
    [0x8380, [], "NO_DEVICE", "Cannot find a.b: the answer is cut"],
  ];
  for (const [flags, records, code, message] of cases) {
    const server = host((question) => [reply(question, flags, ...records)]);
    const error = await assertRejects(
      () => resolveName(server, SERVER, "a.b"),
      VireoError,
      message,
    );
    assertEquals(error.code, code);
  }
  const none = () => resolveName(host(() => []), undefined, "a.b");
  await assertRejects(none, VireoError, "no name server is known");
  for (const name of ["a..b", `${"x".repeat(64)}.b`, "x.".repeat(130)]) {
    await assertRejects(
      () => resolveName(host(() => []), SERVER, name),
      VireoError,
      "expected labels of 1 to 63 bytes, 253 in all",
    );
  }
  const late = () => resolveName(host(() => []), SERVER, "a.b", { deadline: 500 });
  const error = await assertRejects(
    late,
    VireoError,
    "Timed out after 500 ms waiting for the name server",
  );
  assertEquals(error.code, "TIMEOUT");
});
