import {
  type Blk,
  blkDriver,
  Bus,
  type BusOptions,
  type Console,
  consoleDriver,
  type DriverInstance,
  type Net,
  netDriver,
  type Rng,
  rngDriver,
  type VirtioDriver,
} from "@vireo/drivers";
import {
  deviceName,
  Feature,
  FeatureSet,
  type Platform,
  type TraceSink,
  VireoError,
} from "@vireo/hal";
import type { Qmp } from "@vireo/hal/qtest";
import type { StreamPort } from "@vireo/emu";
import type { QtestSession } from "./target/qtest_session.ts";
import type { SocketBoard } from "./target/socket_board.ts";
import { BOARD_DEVICES, emulateDevice } from "./devices/table.ts";
import { inGuest } from "./terminal/environment.ts";
import { OPEN_BUSES } from "./target/open_buses.ts";
import { OwnMachine } from "./target/own_machine.ts";
import { parseTarget } from "./target/target.ts";
import type { EmulatedBoard } from "./target/emulated_board.ts";
import type { OpenTrace } from "./trace/open.ts";
import { type BoardInput, checkBoard } from "./target/check_board.ts";
import type { BoardOptions } from "./target/options.ts";
import { NeedsGuest } from "./terminal/usage.ts";
import type { Vireo } from "./vireo.ts";

/** What {@linkcode openVireo} takes besides the board. */
export interface VireoOptions {
  /** Arguments for the script. */
  readonly args?: readonly string[];
  /** Drivers to register besides the bundled ones, before devices are probed: they are asked first. */
  readonly drivers?: readonly VirtioDriver[];
  /** Told of failures that no call returns, as `BusOptions.onError`. */
  readonly onError?: BusOptions["onError"];
  /** Told of drivers that do not drive what they could, as `BusOptions.onBindNotice`. */
  readonly onBindNotice?: BusOptions["onBindNotice"];
  /** Told of each event, where the board has no file for its trace. */
  readonly trace?: TraceSink;
}

const OPTIONS: readonly string[] = ["args", "drivers", "onError", "onBindNotice", "trace"];

/**
 * Makes a board, probes its bus and binds the bundled drivers.
 *
 * @param board What the board is made of; the default one has all four devices.
 * @throws {TypeError} If an option is unknown, of another type, or not for the target.
 * @throws {RangeError} If a number is out of its range.
 * @throws {VireoError} If the board cannot be made; a slot that fails is in `bus.slotErrors`.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo();
 * const bytes = await vireo.rng.read(16);
 * assertEquals(bytes.length, 16);
 * ```
 */
export async function openVireo(
  board: BoardInput = {},
  options: VireoOptions = {},
): Promise<Vireo> {
  const full = checkBoard(board);
  for (const key of Object.keys(options)) {
    if (OPTIONS.includes(key)) continue;
    throw new TypeError(
      `Cannot open a board with the option '${key}' beside it: expected ${OPTIONS.join(", ")}`,
    );
  }
  await using cleanup = new AsyncDisposableStack();
  const machine = cleanup.use(await openBoard(full));
  const trace = await traceOf(full, options);
  if (trace !== undefined) cleanup.use(trace);
  const bus = cleanup.use(
    new Bus({
      ...busOptions(full),
      tracer: trace?.tracer,
      onError: options.onError,
      onBindNotice: options.onBindNotice,
    }),
  );
  OPEN_BUSES.add(bus);
  cleanup.defer(() => void OPEN_BUSES.delete(bus));
  for (const driver of options.drivers ?? []) await bus.registerDriver(driver);
  for (const driver of [netDriver, blkDriver, consoleDriver, rngDriver]) {
    await bus.registerDriver(driver);
  }
  await bus.addPlatform(machine.platform);
  await loadDrivers(bus);
  return new Session(full.target, bus, machine, options.args ?? [], cleanup.move());
}

/** Imports the drivers of devices that have none yet, as Linux does when it sees a device's modalias. */
async function loadDrivers(bus: Bus): Promise<void> {
  const missing = bus.devices.filter((device) => device.driver === undefined && !device.error);
  const ids = new Set(missing.map((device) => device.deviceId));
  for (const entry of BOARD_DEVICES) {
    if (ids.has(entry.deviceId)) await bus.registerDriver(await entry.driver());
  }
}

/** What the board's events go to: the caller's own sink, or where the options of the board say. */
async function traceOf(
  board: BoardOptions,
  { trace }: VireoOptions,
): Promise<OpenTrace | undefined> {
  const { traceFile, traceData: data, traceDevices: names } = board;
  if (trace === undefined && board.trace === undefined && traceFile === undefined) return undefined;
  const { openTrace } = await import("./trace/open.ts");
  const devices = names.length === 0 ? undefined : names;
  return openTrace({ groups: board.trace, devices, data, file: traceFile, sink: trace });
}

/** The machine of a target, with its host side if it has one in this process. */
type OpenBoard = EmulatedBoard | QtestSession | OwnMachine | SocketBoard;

/** Makes the machine of a target; a guest need not read the others, which takes it long. */
async function openBoard(options: BoardOptions): Promise<OpenBoard> {
  const target = parseTarget(options.target);
  switch (target.kind) {
    case "emu":
      return (await import("./target/emulated_board.ts")).EmulatedBoard.create(
        options,
        emulateDevice,
      );
    case "qtest":
      return await (await import("./target/qtest_session.ts")).QtestSession.create(
        target.board,
        options,
      );
    case "devmem":
      return await OwnMachine.open(options);
    case "vhost-user":
      return new (await import("./target/socket_board.ts")).SocketBoard(target.sockets);
    case "qemu":
      // The command line moves whole programs into the guest; there the board is the machine itself.
      if (inGuest()) return await OwnMachine.open(options);
      throw new NeedsGuest(
        `Cannot open ${options.target} from the host: run the script with 'vireo run --target'`,
      );
  }
}

function busOptions(board: BoardOptions): BusOptions {
  const off: number[] = [];
  if (!board.indirect) off.push(Feature.INDIRECT_DESC);
  if (!board.eventIdx) off.push(Feature.EVENT_IDX);
  const filter = FeatureSet.of(...off);
  return { filter, queueSize: board.queueSize, forceLegacy: board.forceLegacy };
}

class Session implements Vireo {
  readonly target: string;
  readonly bus: Bus;
  readonly #machine: OpenBoard;
  readonly args: readonly string[];
  readonly #abort = new AbortController();
  readonly #cleanup: AsyncDisposableStack;

  constructor(
    target: string,
    bus: Bus,
    machine: OpenBoard,
    args: readonly string[],
    cleanup: AsyncDisposableStack,
  ) {
    this.target = target;
    this.bus = bus;
    this.#machine = machine;
    this.args = args;
    this.#cleanup = cleanup;
  }

  get platform(): Platform {
    return this.#machine.platform;
  }

  get emulated(): EmulatedBoard | undefined {
    return "machine" in this.#machine ? this.#machine : undefined;
  }

  get qmp(): Qmp | undefined {
    if ("qmp" in this.#machine) return this.#machine.qmp;
    const { platform } = this.#machine;
    return "qmp" in platform ? platform.qmp : undefined;
  }

  get hostPort(): StreamPort | undefined {
    return this.#machine.hostPort;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  abort(reason: Error): void {
    this.#abort.abort(reason);
  }

  get blk(): Blk {
    return this.get(blkDriver);
  }

  get net(): Net {
    return this.get(netDriver);
  }

  get console(): Console {
    return this.get(consoleDriver);
  }

  get rng(): Rng {
    return this.get(rngDriver);
  }

  async use<T extends DriverInstance>(driver: VirtioDriver<T>): Promise<T> {
    await this.bus.registerDriver(driver, { replace: true });
    return this.get(driver);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }

  get<T extends DriverInstance>(driver: VirtioDriver<T>): T {
    const instance = this.bus.get(driver);
    if (instance !== undefined) return instance;
    const ids = new Set(driver.ids.map(({ device }) => device));
    // A device that is there but failed to probe says more than "none".
    const failed = this.bus.devices.find((device) => device.error && ids.has(device.deviceId));
    const error = failed?.error ?? this.bus.slotErrors[0]?.error;
    if (error !== undefined) throw error;
    const what = [...ids].map(deviceName).join(" or ");
    throw new VireoError("NO_DEVICE", `No ${what} device on the board`, { device: this.target });
  }
}
