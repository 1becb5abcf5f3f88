import { assertThrows } from "@std/assert";
import { MemoryDisk } from "./backends/memory_disk.ts";
import type { NetBackend } from "./backends/net_backend.ts";
import { BlkDevice } from "./devices/blk/device.ts";
import type { BlkZonedOptions } from "./devices/blk/zones.ts";
import { CaifDevice } from "./devices/caif/device.ts";
import { ConsoleDevice } from "./devices/console/device.ts";
import { CryptoDevice } from "./devices/crypto/device.ts";
import { GpuDevice } from "./devices/gpu/device.ts";
import { InputDevice } from "./devices/input/device.ts";
import { NetDevice } from "./devices/net/device.ts";
import { MemoryTree } from "./devices/p9/memory_tree.ts";
import { P9Device } from "./devices/p9/device.ts";
import { RngDevice } from "./devices/rng/device.ts";
import { ScsiDevice } from "./devices/scsi/device.ts";
import { VsockDevice } from "./devices/vsock/device.ts";
import { GuestMemory } from "./memory.ts";

const disk = new MemoryDisk(512);
const backend = { accepts: 0, connect() {}, send() {}, flush() {} } as unknown as NetBackend;
const host = { connect: () => undefined };
const port = () => ({
  readable: new ReadableStream<Uint8Array>(),
  writable: new WritableStream<Uint8Array>(),
});
const random = (): void => {};
const lifetime = { preEolInfo: 1, estTypA: 1, estTypB: 1 };

/** An option, the numbers next to its bounds that are good, and those that are not. */
type Bound = readonly [
  option: string,
  use: (value: number) => unknown,
  good: readonly number[],
  bad: readonly number[],
];

const BOUNDS: readonly Bound[] = [
  ["blk: queues", (queues) => new BlkDevice({ disk, queues }), [1, 1024], [0, 1025, 1.5]],
  [
    "blk: blockSize",
    (blockSize) => new BlkDevice({ disk, blockSize }),
    [512, 1024, 65536],
    [256, 1536, 131072],
  ],
  ...([["preEolInfo", 3], ["estTypA", 11], ["estTypB", 11]] as const).map(([name, most]): Bound => [
    `blk: ${name}`,
    (value) => new BlkDevice({ disk, lifetime: { ...lifetime, [name]: value } }),
    [0, most],
    [-1, most + 1, 0.5],
  ]),
  [
    "blk: writeGranularity of zones",
    (writeGranularity) => zoned({ writeGranularity }),
    [512, 4096, 32768],
    [0, 256, 513, 65536],
  ],
  ["blk: zoneSectors", (zoneSectors) => zoned({ zoneSectors }), [1, 64, 512], [0, 63, 0.5, 1024]],
  ["blk: zoneCapacity", (zoneCapacity) => zoned({ zoneCapacity }), [1, 64], [0, 65, 1.5]],
  [
    "blk: zoneCapacity, host-aware",
    (zoneCapacity) => zoned({ zoneCapacity, model: "host-aware" }),
    [64],
    [63, 65],
  ],
  ["blk: conventional", (conventional) => zoned({ conventional }), [0, 8], [-1, 9, 0.5]],
  ["blk: maxActive", (maxActive) => zoned({ maxActive }), [0, 8], [-1, 9]],
  ["blk: maxOpen", (maxOpen) => zoned({ maxOpen }), [0, 8], [-1, 9]],
  ["blk: maxOpen with maxActive", (maxOpen) => zoned({ maxOpen, maxActive: 3 }), [3], [4]],
  ["blk: maxAppendSectors", (sectors) => zoned({ maxAppendSectors: sectors }), [0, 64], [-1, 65]],
  [
    "blk: zone that fails",
    (zone) => zoned({ conventional: 1 }).zones!.fail(zone, "offline"),
    [1, 7],
    [-1, 0, 8],
  ],
  ["disk: size", (size) => new MemoryDisk(size), [0, 512], [-512, 511, 513]],
  ["caif: mtu", (mtu) => caif({ mtu }), [7, 8], [6, 5]],
  ["caif: headroom", (headroom) => caif({ headroom, mtu: 8 }), [0, 5], [6, 7]],
  [
    "console: maxPorts",
    (maxPorts) => new ConsoleDevice({ ports: [], maxPorts, queueSize: 2 }),
    [1, 32767],
    [0, 32768, 1.5],
  ],
  [
    "console: maxPorts without MULTIPORT",
    (maxPorts) => new ConsoleDevice({ ports: [], maxPorts, multiport: false }),
    [1],
    [0, 2],
  ],
  [
    "console: port's id",
    (id) =>
      new ConsoleDevice({
        ports: [{ id: 1, backend: port() }, { id, backend: port() }],
        maxPorts: 4,
      }),
    [0, 2, 3],
    [-1, 1, 4, 0.5],
  ],
  ["crypto: queues", (queues) => new CryptoDevice({ queues }), [1, 64], [0, 65, 1.5]],
  [
    "gpu: displays",
    (length) =>
      new GpuDevice({ displays: Array.from({ length }, () => ({ width: 1, height: 1 })) }),
    [1, 16],
    [0, 17],
  ],
  [
    "gpu: blobAlignment",
    (blobAlignment) => new GpuDevice({ blob: true, blobAlignment }),
    [1, 4096, 2 ** 31],
    [0, 3, 0.5, 2 ** 32],
  ],
  ["gpu: display to resize", (at) => new GpuDevice().resize(at, 1, 1), [0], [-1, 1]],
  [
    "input: code",
    (code) => new InputDevice({ name: "k", codes: { 1: [code] } }),
    [0, 1023],
    [-1, 1024, 0.5],
  ],
  ["input: name", (length) => new InputDevice({ name: "n".repeat(length), codes: {} }), [128], [
    129,
  ]],
  [
    "input: serial",
    (length) => new InputDevice({ name: "", serial: "n".repeat(length), codes: {} }),
    [0, 128],
    [129],
  ],
  ["net: mtu", (mtu) => new NetDevice({ backend, mtu }), [68, 65535], [67, 65536, 99.5]],
  [
    "net: queuePairs",
    (queuePairs) => new NetDevice({ backend, queuePairs, queueSize: 1, backlog: 1 }),
    [1, 0x8000],
    [0, 0x8001, 1.5],
  ],
  ["9p: messageSize", (messageSize) => p9({ messageSize }), [4096, 1 << 20], [4095, 2 ** 20 + 1]],
  ["9p: tag", (length) => p9({ tag: "t".repeat(length) }), [1, 31], [0, 32]],
  ["rng: maxBytes", (maxBytes) => new RngDevice({ random, maxBytes }), [1], [0, -1, 1.5]],
  ["scsi: queues", (queues) => new ScsiDevice({ units: [], queues }), [1, 64], [0, 65, 1.5]],
  [
    "scsi: a unit's place",
    (target) => new ScsiDevice({ units: [{ target: 1, disk }, { target, disk }] }),
    [0, 2],
    [1],
  ],
  ["vsock: cid", (cid) => new VsockDevice({ host, cid }), [3, 2 ** 32 - 2], [2, 2 ** 32 - 1, 3.5]],
  [
    "vsock: maxConnections",
    (maxConnections) => new VsockDevice({ host, maxConnections }),
    [1],
    [0, 1.5],
  ],
  ["memory: bytes", (bytes) => new GuestMemory(bytes), [4096, 8192], [4095, 2048]],
  [
    "memory: base",
    (base) => new GuestMemory(4096, base),
    [0, 4096, 2 ** 53 - 8192],
    [-4096, 2048, 2 ** 53 - 4096],
  ],
  ...(["address", "offset"] as const).map((field): Bound => [
    `memory: a region's ${field}`,
    (at) => {
      const first = { address: 4096, offset: 4096, size: 4096 };
      const second = { address: 1 << 20, offset: 0, size: 4096, [field]: at };
      new GuestMemory(16384).setRegions([first, second]);
    },
    [0, 8192],
    [-4096, 1, 4096, 8191],
  ]),
  [
    "memory: a region's size",
    (size) => new GuestMemory(16384).setRegions([{ address: 0, offset: 4096, size }]),
    [1, 12288],
    [0, -1, 12289],
  ],
];

/** A disk of 512 sectors with eight zones, unless told otherwise. */
function zoned(options: Partial<BlkZonedOptions>): BlkDevice {
  return new BlkDevice({ disk: new MemoryDisk(512 * 512), zoned: { zoneSectors: 64, ...options } });
}

function caif(options: { readonly headroom?: number; readonly mtu?: number }): CaifDevice {
  return new CaifDevice({ headroom: 4, tailroom: 2, ...options, onFrame() {} });
}

function p9(options: { readonly messageSize?: number; readonly tag?: string }): P9Device {
  return new P9Device({ tree: new MemoryTree(), ...options });
}

for (const [option, use, good, bad] of BOUNDS) {
  Deno.test(`options: ${option}: ${good.join(", ")} are good, ${bad.join(", ")} are not`, () => {
    for (const value of good) use(value);
    for (const value of bad) assertThrows(() => use(value), RangeError, undefined, `${value}`);
  });
}
