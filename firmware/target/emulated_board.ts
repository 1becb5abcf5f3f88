import { systemRandom } from "@vireo/emu/backends";
import { EmulatedMachine, hasLegacyPciId } from "@vireo/emu/core";
import { RngDevice } from "@vireo/emu/rng";
import type {
  BlkDevice,
  ConsoleDevice,
  DeviceModel,
  Hub,
  NetDevice,
  RingOptions,
  StreamPort,
} from "@vireo/emu";
import type { Platform } from "@vireo/hal";
import { UsageError } from "../terminal/usage.ts";
import type { WithOption } from "../devices/board_device.ts";
import { makeConsole, makeDisk, makeNet } from "./models.ts";
import type { BoardOptions } from "./options.ts";

/** Makes the model of a device that was asked for; `cleanup` owns what the model does not. */
export type Emulate = (
  option: WithOption,
  cleanup: AsyncDisposableStack,
) => DeviceModel | Promise<DeviceModel>;

/** Hooks between the board's devices and their drivers, for `vireo check driver`. */
export interface BoardHooks {
  /** Changes a model before the machine has it. */
  model?(model: DeviceModel): void;
  /** Abilities of the rings, over the board's own. */
  readonly ring?: RingOptions | undefined;
  /** Makes what drivers see of the machine. */
  platform?(machine: EmulatedMachine): Platform;
}

/**
 * The emulated board: the machine that drivers see, and the host's ends of its devices.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo({ with: [{ name: "balloon", value: undefined }] });
 * // The host's side of the board, for tests.
 * const { machine } = vireo.emulated!;
 * assertEquals(machine.slots.filter(({ device }) => device !== undefined).length, 5);
 * assertEquals(machine.violations(), []);
 * ```
 */
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
  /** The machine as drivers see it. */
  readonly platform: Platform;
  readonly #cleanup: AsyncDisposableStack;

  private constructor(
    parts: Pick<
      EmulatedBoard,
      "machine" | "hub" | "disks" | "net" | "console" | "hostPort" | "extras" | "platform"
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
    this.platform = parts.platform;
    this.#cleanup = cleanup;
  }

  /**
   * Makes the board.
   *
   * @param emulate Makes the devices of `options.with`.
   * @param hooks What stands between them and their drivers; nothing by default.
   * @throws {VireoError} If an image or the tap device cannot be opened.
   */
  static async create(
    options: BoardOptions,
    emulate: Emulate,
    hooks: BoardHooks = {},
  ): Promise<EmulatedBoard> {
    await using cleanup = new AsyncDisposableStack();
    const disks = options.blk.map((blk) => makeDisk(blk, options.blkZoned, cleanup));
    const { hub, net } = makeNet(options.net ?? { kind: "hub" }, cleanup);
    const { console: con, host } = makeConsole();
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
    for (const model of models) hooks.model?.(model);
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
          ...hooks.ring,
        },
      }),
    );
    return new EmulatedBoard(
      {
        machine,
        hub,
        disks,
        net,
        console: con,
        hostPort: host,
        extras: new Map(extras),
        platform: hooks.platform?.(machine) ?? machine,
      },
      cleanup.move(),
    );
  }

  /** Stops the machine and closes images and wires. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}
