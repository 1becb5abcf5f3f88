import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  arpRequest,
  buildEcho,
  internetChecksum,
  parseArp,
  parseEcho,
  parseEthernet,
  parseIpv4,
} from "./ethernet.ts";
import { formatMac, parseMac } from "@vireo/drivers";

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/gi) ?? [], (pair) => parseInt(pair, 16));
}

const ARP_REQUEST = bytes(
  "ffffffffffff 525400123456 0806 0001 0800 06 04 0001 525400123456 0a00020f 000000000000 0a000202",
);
const ARP_REPLY = bytes(
  "525400123456 52550a000202 0806 0001 0800 06 04 0002 52550a000202 0a000202 525400123456 0a00020f",
);
// A ping of 8 bytes "abcdefgh"; its checksums were worked out by another program.
const ECHO = bytes(
  "52550a000202 525400123456 0800 4500 0024 0001 4000 40 01 22c8 0a00020f 0a000202 " +
    "0800 5435 1234 0001 6162636465666768",
);

Deno.test("packet: an ARP request is what Linux sends", () => {
  const mac = parseMac("52:54:00:12:34:56");
  assertEquals(arpRequest({ mac, source: "10.0.2.15", target: "10.0.2.2" }), ARP_REQUEST);
});

Deno.test("packet: an ARP reply is read", () => {
  assertEquals(parseArp(ARP_REPLY), {
    operation: "reply",
    senderMac: "52:55:0a:00:02:02",
    senderIp: "10.0.2.2",
    targetMac: "52:54:00:12:34:56",
    targetIp: "10.0.2.15",
  });
  assertEquals(parseArp(ARP_REPLY.subarray(0, 41)), undefined);
  const other = ARP_REPLY.slice();
  other[21] = 3;
  assertEquals(parseArp(other), undefined);
});

Deno.test("packet: an echo request is built and read with its checksums", () => {
  const echo = {
    operation: "request",
    source: "10.0.2.15",
    target: "10.0.2.2",
    identifier: 0x1234,
    sequence: 1,
    data: new TextEncoder().encode("abcdefgh"),
  } as const;
  const addresses = { destination: "52:55:0a:00:02:02", source: "52:54:00:12:34:56" };
  assertEquals(buildEcho(addresses, echo), ECHO);
  assertEquals(parseEcho(ECHO), { ...echo, data: bytes("6162636465666768") });
});

Deno.test("packet: every flipped bit of an echo's headers and data is noticed", () => {
  for (let bit = 14 * 8; bit < ECHO.length * 8; bit++) {
    const bad = ECHO.slice();
    bad[bit >>> 3]! ^= 1 << (bit & 7);
    assertEquals(parseEcho(bad), undefined, `bit ${bit}`);
  }
});

Deno.test("packet: the checksum of RFC 1071's example", () => {
  assertEquals(internetChecksum(bytes("0001 f203 f4f5 f6f7")), 0x220d);
  assertEquals(internetChecksum(bytes("0001 f203 f4f5 f6f7 220d")), 0);
  assertEquals(internetChecksum(bytes("01")), 0xfeff);
});

Deno.test("packet: a tagged frame shows its VLAN", () => {
  const frame = parseEthernet(bytes("ffffffffffff 525400123456 8100 6064 0800 4500"));
  assertEquals(frame?.vlan, 100);
  assertEquals(frame?.type, 0x0800);
  assertEquals(parseEthernet(new Uint8Array(13)), undefined);
});

Deno.test("packet: addresses are read strictly", () => {
  assertEquals(formatMac(parseMac("0A:b0:00:00:00:ff")), "0a:b0:00:00:00:ff");
  for (const bad of ["", "1.2.3", "1.2.3.256", "1.2.3.4.5", "1.2.3.x", "1.2.3.-4", " 1.2.3.4"]) {
    assertThrows(() => parseIpv4(bad), TypeError, "Cannot parse");
  }
  for (const bad of ["", "52:54:00:12:34", "52-54-00-12-34-56", "52:54:00:12:34:5g"]) {
    assertThrows(() => parseMac(bad), TypeError, "Cannot parse");
  }
  assert(parseMac("ff:ff:ff:ff:ff:ff").every((byte) => byte === 255));
});
