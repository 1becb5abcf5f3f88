/**
 * UDP segmentation and STANDBY of QEMU's network device: the host's kernel gets a large packet over a tap device, and a socket
 * its datagrams. Needs `qemu-system-x86_64`, `ip`, `/dev/net/tun` and root or `sudo`.
 *
 * @module
 */
import { createSocket } from "node:dgram";
import { assertEquals, assertThrows } from "@std/assert";
import { Bus, createNetDriver } from "@vireo/drivers";
import { findBoard } from "@vireo/firmware/boards";
import { QtestPlatform } from "@vireo/hal/qtest";
import { isNewer } from "../qemu/mod.ts";
import { fold, words } from "../spec/checksum.ts";
import { ip } from "../net/ip_tool.ts";
import { testWithRights } from "../with_rights.ts";

const HOST_USO = 56;
const PORT = 50123;

/** Tap devices cut datagrams from Linux 6.2 on. */
function kernelCuts(): boolean {
  const [major = 0, minor = 0] = Deno.osRelease().split(".").map(Number);
  return major > 6 || major === 6 && minor >= 2;
}

/** A UDP packet from 10.213.79.2 to 10.213.79.1, with the pseudo-header's sum. */
function packet(to: Uint8Array, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(42 + payload.length);
  const view = new DataView(bytes.buffer);
  bytes.set([...to, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 0, 0x45]);
  view.setUint16(16, 28 + payload.length);
  bytes.set([0, 1, 0x40, 0, 64, 17, 0, 0, 10, 213, 79, 2, 10, 213, 79, 1], 18);
  view.setUint16(24, ~fold(words(bytes.subarray(14, 34))) & 0xffff);
  view.setUint16(34, 7);
  view.setUint16(36, PORT);
  view.setUint16(38, 8 + payload.length);
  view.setUint16(40, fold(words(bytes.subarray(26, 34)) + 17 + 8 + payload.length));
  bytes.set(payload, 42);
  return bytes;
}

testWithRights(
  import.meta.url,
  "uso and standby on QEMU: the host's socket gets the datagrams",
  async () => {
    const tap = `vu${Deno.pid % 1_000_000}`;
    await using platform = await QtestPlatform.start({
      board: findBoard("x86_64-q35"),
      extraArgs: ["-netdev", `tap,id=wire,ifname=${tap},script=no,downscript=no,vhost=off`],
      devices: ["virtio-net-pci,netdev=wire,mac=52:54:00:12:34:56,failover=on,id=nic"],
    });
    const driver = createNetDriver();
    await using bus = new Bus();
    await bus.registerDriver(driver);
    await bus.addPlatform(platform);
    const net = bus.get(driver)!;
    // `failover=on` is QEMU's name of STANDBY.
    assertEquals(net.standby, true);
    await ip("addr", "add", "10.213.79.1/24", "dev", tap);
    await ip("link", "set", tap, "up");
    const mac = Deno.readTextFileSync(`/sys/class/net/${tap}/address`).trim().split(":");
    const payload = Uint8Array.from({ length: 3000 }, (_, i) => i * 7);
    const bytes = packet(Uint8Array.from(mac, (part) => parseInt(part, 16)), payload);
    const options = {
      csum: { start: 34, offset: 6 },
      gso: { type: "udp_l4", size: 1400, headerLength: 42 },
    } as const;
    assertEquals(net.device.has(HOST_USO), isNewer("USO") && kernelCuts());
    if (!net.device.has(HOST_USO)) {
      assertThrows(() => net.trySend(bytes, options), TypeError, "HOST_USO");
      return;
    }
    const socket = createSocket("udp4");
    const got: Uint8Array[] = [];
    const all = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`only ${got.length} came in 5 s`)), 5000);
      socket.on("message", (message) => {
        if (got.push(new Uint8Array(message)) < 3) return;
        clearTimeout(timer);
        resolve();
      });
    });
    try {
      await new Promise<void>((resolve) => socket.bind(PORT, "10.213.79.1", resolve));
      await net.send(bytes, { ...options, deadline: 5000 });
      await all;
    } finally {
      await new Promise<void>((resolve) => socket.close(resolve));
    }
    assertEquals(got.map(({ length }) => length), [1400, 1400, 200]);
    assertEquals(got.flatMap((part) => [...part]), [...payload]);
  },
);
