import { assertEquals, assertThrows } from "@std/assert";
import { DeviceId } from "@vireo/hal";
import { UsageError } from "../terminal/usage.ts";
import { parseSockets } from "./sockets.ts";

Deno.test("sockets have names, and reconnect is in seconds", () => {
  const [blk, rng] = [
    { deviceId: DeviceId.BLOCK, path: "/a,b" },
    { deviceId: DeviceId.RNG, path: "/c" },
  ];
  assertEquals(parseSockets("blk=/a,,b,rng=/c"), { sockets: [blk, rng], reconnect: 0 });
  assertEquals(parseSockets("reconnect=2,rng=/c"), { sockets: [rng], reconnect: 2000 });
  assertEquals(parseSockets("rng=/c,pairs=3"), { sockets: [rng], reconnect: 0, pairs: 3 });
});

Deno.test("a wait of no seconds and a target without a socket are refused", () => {
  assertThrows(() => parseSockets("blk=/a,reconnect=0"), UsageError, "expected 1 to 3600, got 0");
  assertThrows(() => parseSockets("net=/a,pairs=129"), UsageError, "expected 1 to 128, got 129");
  assertThrows(() => parseSockets("reconnect=2"), UsageError, "expected a socket");
});
