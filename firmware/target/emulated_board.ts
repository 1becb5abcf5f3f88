import {
  BlkDevice,
  ConsoleDevice,
  type DeviceModel,
  type DiskBackend,
  EmulatedMachine,
  FileDisk,
  hasLegacyPciId,
  HostPeer,
  Hub,
  loopbackPort,
  MemoryDisk,
  NetDevice,
  RngDevice,
  streamPipe,
  type StreamPort,
  systemRandom,
  Tap,
} from "@vireo/emu";
import type { Platform } from "@vireo/hal";
import { UsageError } from "../terminal/usage.ts";
import type { WithOption } from "../devices/board_device.ts";
import type { BlkOption } from "./option_values.ts";
import type { BoardOptions } from "./options.ts";

/** Size of the disk that a board has when none was named, in bytes. */
const DEFAULT_DISK = 16 * 1024 * 1024;
/** The guest's Ethernet address: QEMU's prefix, as people expect it. */
export const GUEST_MAC = "52:54:00:12:34:56";
/** The peer's Ethernet and IPv4 address, those of QEMU's user network. */
export const PEER = { mac: "52:55:0a:00:02:02", ip: "10.0.2.2" } as const;

/** Makes the model of a device that was asked for; `cleanup` owns what the model does not. */
export type Emulate = (
  option: WithOption,
  cleanup: AsyncDisposableStack,
) => DeviceModel | Promise<DeviceModel>;

/** The emulated board: the machine that drivers see, and the host's ends of its devices. */
export class EmulatedBoard implements AsyncDisposable {
  /** The machine. */
  readonly machine: EmulatedMachine;
  /** The wire, if it is the hub. */
  readonly hub: Hub | undefined;
  /** The disks, in order. */
  readonly disks: readonly BlkDevice[];
  /** The network device. */
  readonly net: NetDevice | undefined;
  /** The console: ports 0 and 1 send back what they get, port 2 (`host`) is {@linkcode hostPort}. */
  readonly console: ConsoleDevice;
  /** The host's end of the console port named `host`. */
  readonly hostPort: StreamPort;
  /** The devices that `with` asked for, by name; the last of several. */
  readonly extras: ReadonlyMap<string, DeviceModel>;
  readonly #cleanup: AsyncDisposableStack;

  private constructor(
    parts: Pick<
      EmulatedBoard,
      "machine" | "hub" | "disks" | "net" | "console" | "hostPort" | "extras"
    >,
    cleanup: AsyncDisposableStack,
  ) {
    this.machine = parts.machine;
    this.hub = parts.hub;
    this.disks = parts.disks;
    this.net = parts.net;
    this.console = parts.console;
    this.hostPort = parts.hostPort;
    this.extras = parts.extras;
    this.#cleanup = cleanup;
  }

  /**
   * Makes the board.
   *
   * @param emulate Makes the devices of `options.with`.
   * @throws {VireoError} If an image or the tap device cannot be opened.
   */
  static async create(options: BoardOptions, emulate: Emulate): Promise<EmulatedBoard> {
    await using cleanup = new AsyncDisposableStack();
    const disks = options.blk.map((blk) => makeDisk(blk, cleanup));
    const wire = options.net ?? { kind: "hub" };
    if (wire.kind === "user") {
      throw new UsageError("--net: the emulator has hub, tap:NAME or none, got 'user'");
    }
    const hub = wire.kind === "hub" ? new Hub() : undefined;
    const backend = wire.kind === "tap" ? cleanup.use(Tap.open(wire.name)) : hub?.port();
    if (hub !== undefined) cleanup.use(new HostPeer(hub.port(), PEER));
    const net = backend === undefined ? undefined : new NetDevice({ backend, mac: GUEST_MAC });
    const pipe = streamPipe();
    const con = new ConsoleDevice({
      ports: [
        { name: "console", console: true, backend: loopbackPort() },
        { name: "echo", backend: loopbackPort() },
        { name: "host", backend: pipe.device },
      ],
      size: { cols: 80, rows: 25 },
    });
    const extras: [string, DeviceModel][] = [];
    for (const option of options.with) {
      extras.push([option.name, await emulate(option, cleanup)]);
    }
    const models: DeviceModel[] = [
      ...(net === undefined ? [] : [net]),
      ...disks,
      con,
      new RngDevice({ random: systemRandom() }),
      ...extras.map(([, model]) => model),
    ];
    const version = options.legacy ? 1 : 2;
    const bus = options.transport ?? "mmio";
    const modernOnly = models.find(({ deviceId }) => !hasLegacyPciId(deviceId));
    if (bus === "pci" && options.legacy && modernOnly !== undefined) {
      throw new UsageError(
        `--legacy: device ${modernOnly.deviceId} (--with ${
          extras.find(([, model]) => model === modernOnly)?.[0]
        }) has no legacy interface on PCI`,
      );
    }
    const machine = cleanup.use(
      EmulatedMachine.create({
        bus,
        devices: models.map((model) => ({
          model,
          version,
          // As QEMU's: what has no legacy interface is modern on a transitional board too.
          transitional: options.transitional && hasLegacyPciId(model.deviceId),
        })),
        ring: {
          packed: options.packed,
          inOrder: options.inOrder,
          notificationData: options.notificationData,
          accessPlatform: options.platformIommu,
        },
      }),
    );
    return new EmulatedBoard(
      { machine, hub, disks, net, console: con, hostPort: pipe.host, extras: new Map(extras) },
      cleanup.move(),
    );
  }

  /** The machine as drivers see it. */
  get platform(): Platform {
    return this.machine;
  }

  /** Stops the machine and closes images and wires. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}

function makeDisk(option: BlkOption, cleanup: AsyncDisposableStack): BlkDevice {
  const { path, readOnly } = option;
  const disk: DiskBackend = path === undefined
    ? new MemoryDisk(DEFAULT_DISK, { readOnly })
    : new FileDisk(path, { readOnly });
  cleanup.use(disk);
  return new BlkDevice({
    disk,
    readOnly,
    serial: option.serial ?? "vireo-emu",
    ...(option.blockSize === undefined ? {} : { blockSize: option.blockSize }),
  });
}
