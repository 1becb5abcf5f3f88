import {
  FileDisk,
  HostPeer,
  Hub,
  loopbackBytes,
  MemoryDisk,
  streamPipe,
  Tap,
} from "@vireo/emu/backends";
import { BlkDevice, type BlkZonedOptions } from "@vireo/emu/blk";
import { ConsoleDevice } from "@vireo/emu/console";
import { NetDevice } from "@vireo/emu/net";
import type { DiskBackend, StreamPort } from "@vireo/emu";
import { BLK_SECTOR_SIZE } from "@vireo/hal";
import { UsageError } from "../terminal/usage.ts";
import type { BlkOption, NetOption, ZonesOption } from "./option_values.ts";

/** Size of the disk that a board has when none was named, in bytes. */
const DEFAULT_DISK = 16 * 1024 * 1024;
/** Bytes of a zone, if nothing else was said. */
const DEFAULT_ZONE = 1024 * 1024;
/** The guest's Ethernet address: QEMU's prefix, as people expect it. */
const GUEST_MAC = "52:54:00:12:34:56";
/** The peer's Ethernet and IPv4 address, those of QEMU's user network. */
const PEER = { mac: "52:55:0a:00:02:02", ip: "10.0.2.2" } as const;

/**
 * Makes a disk; `cleanup` owns its image.
 *
 * @param zones Its zones; none if undefined.
 * @throws {UsageError} If the disk cannot have these zones.
 * @throws {VireoError} If the image cannot be opened.
 */
export function makeDisk(
  option: BlkOption,
  zones: ZonesOption | undefined,
  cleanup: AsyncDisposableStack,
): BlkDevice {
  const { path, readOnly } = option;
  const disk: DiskBackend = path === undefined
    ? new MemoryDisk(DEFAULT_DISK, { readOnly })
    : new FileDisk(path, { readOnly });
  cleanup.use(disk);
  const options = {
    disk,
    readOnly,
    serial: option.serial ?? "vireo-emu",
    ...(option.blockSize === undefined ? {} : { blockSize: option.blockSize }),
  };
  if (zones === undefined) return new BlkDevice(options);
  const zoned = zonedOptions(zones, disk.size);
  try {
    return new BlkDevice({ ...options, zoned });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`--blk-zoned: ${error.message}`);
  }
}

/** Converts the zones of the command line to the options of the model, which counts in sectors. */
function zonedOptions(zones: ZonesOption, bytes: number): BlkZonedOptions {
  const { model, zoneSize = DEFAULT_ZONE, capacity = zoneSize } = zones;
  const { conventional = 0, maxOpen = 0, maxActive = 0 } = zones;
  if (bytes === 0 || bytes % zoneSize !== 0) {
    throw new UsageError(
      `--blk-zoned: expected a zone size that divides the disk's ${bytes} bytes, got ${zoneSize}`,
    );
  }
  return {
    model,
    zoneSectors: zoneSize / BLK_SECTOR_SIZE,
    zoneCapacity: capacity / BLK_SECTOR_SIZE,
    conventional,
    maxOpen,
    maxActive,
  };
}

/**
 * Makes a network device on a wire, whose other end is a peer of this process or the host's tap.
 *
 * @param pairs Its queue pairs, 1 by default.
 * @throws {UsageError} If the wire is QEMU's.
 * @throws {VireoError} If the tap device cannot be opened.
 */
export function makeNet(
  wire: NetOption,
  cleanup: AsyncDisposableStack,
  pairs = 1,
): { readonly hub: Hub | undefined; readonly net: NetDevice | undefined } {
  if (wire.kind === "user") {
    throw new UsageError("--net: the emulator has hub, tap:NAME or none, got 'user'");
  }
  const hub = wire.kind === "hub" ? new Hub() : undefined;
  const backend = wire.kind === "tap" ? cleanup.use(Tap.open(wire.name)) : hub?.port();
  if (hub !== undefined) cleanup.use(new HostPeer(hub.port(), PEER));
  const net = backend === undefined
    ? undefined
    : new NetDevice({ backend, mac: GUEST_MAC, queuePairs: pairs });
  return { hub, net };
}

/** Makes a console: ports 0 and 1 send back what they get, port 2 (`host`) is given back. */
export function makeConsole(): { readonly console: ConsoleDevice; readonly host: StreamPort } {
  const pipe = streamPipe();
  const device = new ConsoleDevice({
    ports: [
      { name: "console", console: true, backend: loopbackBytes() },
      { name: "echo", backend: loopbackBytes() },
      { name: "host", backend: pipe.device },
    ],
    size: { cols: 80, rows: 25 },
  });
  return { console: device, host: pipe.host };
}
