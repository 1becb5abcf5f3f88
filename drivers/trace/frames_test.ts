import { assertEquals } from "@std/assert";
import { describeFrame } from "./frames.ts";

const ETHERNET = [...Array.from({ length: 12 }, (_, i) => i)];
const [FROM, TO] = [[10, 0, 2, 15], [10, 0, 2, 2]] as const;
const ADDRESSES = "10.0.2.15 > 10.0.2.2";

/** An IPv4 packet of a protocol in a frame; fragments have their offset in blocks of 8 bytes. */
function ipv4(
  protocol: number,
  inner: readonly number[],
  { offset = 0, words = 5 }: { readonly offset?: number; readonly words?: number } = {},
): Uint8Array {
  const options = new Array(4 * (words - 5)).fill(0);
  const header = [0x40 + words, 0, 0, 0, 0, 0, 0x20 | offset >> 8, offset & 0xff, 64, protocol];
  return Uint8Array.of(
    ...ETHERNET,
    ...[8, 0],
    ...[...header, 0, 0, ...FROM, ...TO, ...options],
    ...inner,
  );
}

/** Checks the words of a frame of which the first bytes are there, by the length from which they hold. */
function describes(frame: Uint8Array, steps: readonly (readonly [number, string])[]): void {
  for (let length = 0; length <= frame.length; length++) {
    const text = steps.findLast(([from]) => from <= length)?.[1] ?? `frame of ${length} bytes`;
    assertEquals(describeFrame(frame.subarray(0, length)), text, `${length} bytes`);
  }
}

Deno.test("describeFrame() of TCP, UDP and ICMP says as much as the frame has", () => {
  const ports = [4, 1, 0, 80];
  const short = [[14, "frame of type 0x0800"]] as const;
  describes(ipv4(6, [...ports, ...new Array(9).fill(0), 0x12, 0, 0, 0, 0, 0, 0]), [
    ...short,
    [34, `TCP ${ADDRESSES}`],
    [42, "TCP 10.0.2.15:1025 > 10.0.2.2:80"],
    [54, "TCP 10.0.2.15:1025 > 10.0.2.2:80 SYN|ACK"],
  ]);
  describes(ipv4(17, [...ports, ...new Array(16).fill(0)]), [
    ...short,
    [34, `UDP ${ADDRESSES}`],
    [42, "UDP 10.0.2.15:1025 > 10.0.2.2:80"],
  ]);
  describes(ipv4(1, [8, 0, 0, 0, 0, 0, 1, 2]), [
    ...short,
    [34, `ICMP ${ADDRESSES}`],
    [42, `ICMP echo request ${ADDRESSES} sequence 258`],
  ]);
  describes(ipv4(1, [3, 0, 0, 0, 0, 0, 0, 0]), [
    ...short,
    [34, `ICMP ${ADDRESSES}`],
    [42, `ICMP type 3 ${ADDRESSES} sequence 0`],
  ]);
  describes(ipv4(89, ports.concat(ports)), [...short, [34, `IPv4 protocol 89 ${ADDRESSES}`]]);
});

Deno.test("describeFrame() finds ports behind IPv4 options, and none in later fragments", () => {
  const udp = [4, 1, 0, 80, 0, 8, 0, 0];
  assertEquals(describeFrame(ipv4(17, udp, { words: 6 })), "UDP 10.0.2.15:1025 > 10.0.2.2:80");
  for (const offset of [1, 0x100]) {
    assertEquals(describeFrame(ipv4(17, udp, { offset })), `UDP ${ADDRESSES}`);
  }
});

Deno.test("describeFrame() of ARP, also in a VLAN, and of other types", () => {
  const arp = (code: number): number[] => [
    ...[8, 6, 0, 1, 8, 0, 6, 4, 0, code],
    ...[0x52, 0x54, 0, 1, 2, 3, ...FROM],
    ...[0, 0, 0, 0, 0, 0, ...TO],
  ];
  describes(Uint8Array.of(...ETHERNET, ...arp(1)), [
    [14, "frame of type 0x0806"],
    [42, "ARP who has 10.0.2.2, tell 10.0.2.15"],
  ]);
  describes(Uint8Array.of(...ETHERNET, 0x81, 0, 0xe0, 5, ...arp(2)), [
    [14, "frame of type 0x8100"],
    [18, "VLAN 5 frame of type 0x0806"],
    [46, "VLAN 5 ARP 10.0.2.15 is at 52:54:00:01:02:03"],
  ]);
  describes(Uint8Array.of(...ETHERNET, 0, 0x26, 0, 0), [[14, "frame of type 0x0026"]]);
});
