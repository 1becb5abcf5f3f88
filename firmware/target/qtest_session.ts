import { QtestPlatform } from "@vireo/hal/qtest";
import type { StreamPort } from "@vireo/emu";
import type { Board } from "../boards/mod.ts";
import { ServedDevices } from "../serve/served_devices.ts";
import type { BoardOptions } from "./options.ts";
import { HostPorts } from "./host_ports.ts";
import { requireQemu } from "./qemu_program.ts";
import { deviceInterfaces, isOnPci, qemuArguments } from "./qemu_arguments.ts";

/** A QEMU board without a guest, and the host's ends of its console ports. */
export class QtestSession implements AsyncDisposable {
  /** The machine. */
  readonly platform: QtestPlatform;
  /** The host's end of the port named `host`. */
  readonly hostPort: StreamPort;
  readonly #cleanup: AsyncDisposableStack;

  private constructor(platform: QtestPlatform, host: StreamPort, cleanup: AsyncDisposableStack) {
    this.platform = platform;
    this.hostPort = host;
    this.#cleanup = cleanup;
  }

  /**
   * Starts QEMU with the devices that the options ask for.
   *
   * @param access Milliseconds of QEMU's processor time until a register access fails because it loops.
   * @throws {VireoError} `HOST_ERROR` with QEMU's own words if it does not start.
   */
  static async create(
    board: Board,
    options: BoardOptions,
    access: { readonly busyDeadline?: number } = {},
  ): Promise<QtestSession> {
    await requireQemu(board, options.qemu);
    await using cleanup = new AsyncDisposableStack();
    const ports = cleanup.use(await HostPorts.listen());
    // Disposed of after QEMU, which must not miss its devices.
    const served = cleanup.use(await ServedDevices.start(options, isOnPci(options)));
    const { backends, devices } = qemuArguments(options, ports.ports, served);
    const platform = cleanup.use(
      await QtestPlatform.start({
        board,
        ...access,
        devices,
        ...deviceInterfaces(options),
        extraArgs: backends,
        ...(options.qemu === undefined ? {} : { qemu: options.qemu }),
      }),
    );
    const host = await ports.connect();
    return new QtestSession(platform, host, cleanup.move());
  }

  /** Ends QEMU. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}
