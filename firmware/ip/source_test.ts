import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../terminal/usage.ts";
import { type HostAddress, noWayBack, peerOn, sourceFor } from "./source.ts";

const TAP = { kind: "tap", name: "vireo0" } as const;
const on = (address: string, netmask: string, name = "vireo0"): HostAddress => ({
  name,
  family: "IPv4",
  address,
  netmask,
});

Deno.test("sourceFor() takes an address of the tap's network that is neither the host's nor the target", () => {
  const cases: [string, string, string, string][] = [
    ["192.0.2.1", "255.255.255.0", "192.0.2.1", "192.0.2.15"],
    ["192.0.2.15", "255.255.255.0", "192.0.2.15", "192.0.2.16"],
    ["192.0.2.16", "255.255.255.0", "192.0.2.15", "192.0.2.17"],
    ["200.1.2.1", "255.255.0.0", "200.1.99.9", "200.1.0.15"],
    ["10.9.0.1", "255.255.255.252", "10.9.0.1", "10.9.0.2"],
    ["10.9.0.2", "255.255.255.252", "10.9.0.2", "10.9.0.1"],
    ["10.9.0.6", "255.255.255.254", "10.9.0.6", "10.9.0.7"],
    ["10.9.0.7", "255.255.255.254", "10.9.0.7", "10.9.0.6"],
  ];
  for (const [address, mask, target, source] of cases) {
    const interfaces = [on("127.0.0.1", "255.0.0.0", "lo"), on(address, mask)];
    assertEquals([address, target, sourceFor(TAP, target, interfaces)], [address, target, source]);
    assertEquals(noWayBack(TAP, source, interfaces), undefined);
  }
  assertEquals(sourceFor({ kind: "hub" }, "10.0.2.2", []), "10.0.2.15");
  assertEquals(sourceFor(undefined, "10.0.2.2", []), "10.0.2.15");
});

Deno.test("sourceFor() and noWayBack() say that there is no way back", () => {
  const interfaces = [on("192.0.2.1", "255.255.255.0"), on("10.1.1.1", "255.255.255.255")];
  assertThrows(
    () => sourceFor(TAP, "10.0.2.2", interfaces),
    UsageError,
    "address: 10.0.2.2 must be on a network of vireo0, which has 192.0.2.1/24; give --source if " +
      "another host on the wire has it",
  );
  assertThrows(
    () => sourceFor(TAP, "10.0.2.2", []),
    UsageError,
    "--source: must be given, because vireo0 has no IPv4 address on this host",
  );
  // Both addresses of the smallest network are taken.
  assertThrows(
    () => sourceFor(TAP, "10.9.0.2", [on("10.9.0.1", "255.255.255.252")]),
    UsageError,
    "--source: must be given, because 10.9.0.1/30 of vireo0 has no room for a third address",
  );
  assertEquals(
    noWayBack(TAP, "10.0.2.15", interfaces),
    "--source: 10.0.2.15 is on no network of vireo0, which has 192.0.2.1/24, so answers may not come back",
  );
  assertEquals(noWayBack(TAP, "10.0.2.15", []), undefined);
  assertEquals(noWayBack({ kind: "user" }, "1.2.3.4", interfaces), undefined);
  assertEquals(
    noWayBack(TAP, "192.0.2.15", [...interfaces, on("192.0.2.2", "255.255.255.0", "eth0")]),
    "--net: 192.0.2.15 is on a network of eth0 too, which has 192.0.2.2/24, so answers may not come " +
      "back over vireo0",
  );
});

Deno.test("peerOn() names the host's own address on a tap", () => {
  assertEquals(peerOn(TAP, [on("192.0.2.1", "255.255.255.0")]), "192.0.2.1");
  assertEquals(peerOn(TAP, []), "10.0.2.2");
  assertEquals(peerOn({ kind: "user" }, [on("192.0.2.1", "255.255.255.0")]), "10.0.2.2");
});
