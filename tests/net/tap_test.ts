/**
 * The host's own kernel at the other end of a tap interface. Needs root or `sudo`, `/dev/net/tun` and `ip`;
 * a machine without them fails these tests with the reason, it does not pass them.
 *
 * @module
 */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { NO_OFFLOAD } from "../../emu/backends/net_backend.ts";
import { ip } from "./ip_tool.ts";
import { testWithRights } from "../with_rights.ts";
import { Tap } from "../../emu/backends/tap.ts";

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/gi) ?? [], (pair) => parseInt(pair, 16));
}

const OURS = "02aabbccdd02";

/** The first frame from the kernel that `match` knows, within 5 s. */
async function answer(
  tap: Tap,
  ask: Uint8Array,
  match: (frame: Uint8Array) => boolean,
): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const timer = setTimeout(() => reject(new Error("no answer from the kernel in 5 s")), 5000);
  tap.connect({
    accepts: 0,
    receive: (from, at, length) => {
      const frame = from.slice(at, at + length);
      if (match(frame)) resolve(frame);
    },
    flush: () => {},
  });
  tap.send(ask, 0, ask.length, NO_OFFLOAD);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    tap.connect(undefined);
  }
}

testWithRights(import.meta.url, "tap: the host's kernel answers ARP and echo", async () => {
  using tap = Tap.open("vireot%d");
  await ip("addr", "add", "10.213.77.1/24", "dev", tap.interfaceName);
  await ip("link", "set", tap.interfaceName, "up");
  const arp = await answer(
    tap,
    bytes(
      `ffffffffffff ${OURS} 0806 0001 0800 06 04 0001 ${OURS} 0ad54d02 000000000000 0ad54d01`,
    ),
    (frame) => frame[12] === 8 && frame[13] === 6 && frame[21] === 2,
  );
  assertEquals([...arp.subarray(28, 32)], [10, 213, 77, 1]);
  const mac = arp.subarray(22, 28);
  const echo = bytes(
    `000000000000 ${OURS} 0800 4500 0024 0001 4000 40 01 8b2b 0ad54d02 0ad54d01 ` +
      "0800 5435 1234 0001 6162636465666768",
  );
  echo.set(mac, 0);
  const reply = await answer(tap, echo, (frame) => frame[12] === 8 && frame[23] === 1);
  assertEquals([...reply.subarray(6, 12)], [...mac]);
  assertEquals(reply.subarray(34), bytes("0000 5c35 1234 0001 6162636465666768"));
  assertEquals(tap.stats.sent, 2);
});

testWithRights(
  import.meta.url,
  "tap: an interface that is down drops what is sent, and says so",
  () => {
    using tap = Tap.open("vireot%d");
    tap.send(new Uint8Array(60), 0, 60, NO_OFFLOAD);
    assertEquals([tap.stats.sent, tap.stats.dropped], [0, 1]);
  },
);

testWithRights(
  import.meta.url,
  "tap: what the kernel refuses is a typed error with the errno's name",
  async () => {
    using first = Tap.open("vireot%d");
    const busy = assertThrows(() => Tap.open(first.interfaceName), VireoError);
    assertEquals([busy.code, busy.seen, busy.device], [
      "HOST_ERROR",
      "EBUSY",
      `tap:${first.interfaceName}`,
    ]);
    assertEquals(busy.expected, "an interface that no other process has open");
    assertThrows(() => Tap.open("a name over fifteen"), RangeError, "1 to 15");
    assertThrows(() => Tap.open(""), RangeError, "1 to 15");
    const invalid = assertThrows(() => Tap.open("no/slash"), VireoError);
    assertEquals(invalid.seen, "EINVAL");
    await assertRejects(() => ip("link", "show", "no-such-if0"), Error);
  },
);
