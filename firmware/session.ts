import { blkDriver } from "@vireo/drivers/blk";
import { Bus } from "@vireo/drivers/bus";
import { consoleDriver } from "@vireo/drivers/console";
import { netDriver } from "@vireo/drivers/net";
import { rngDriver } from "@vireo/drivers/rng";
import type {
  Blk,
  BusOptions,
  Console,
  DriverInstance,
  Net,
  Rng,
  VirtioDriver,
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
import { BOARD_DEVICES } from "./devices/table.ts";
import { type OpenBoard, openBoard } from "./target/open_board.ts";
import { OPEN_BUSES } from "./target/open_buses.ts";
import type { EmulatedBoard } from "./target/emulated_board.ts";
import type { OpenTrace } from "./trace/open.ts";
import { type BoardInput, checkBoard } from "./target/check_board.ts";
import type { BoardOptions } from "./target/options.ts";
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
  if ("qmp" in machine.platform) {
    const { qmp } = machine.platform;
    // Ends with the monitor.
    void failPaused(qmp, bus);
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

function busOptions(board: BoardOptions): BusOptions {
  const off: number[] = [];
  if (!board.indirect) off.push(Feature.INDIRECT_DESC);
  if (!board.eventIdx) off.push(Feature.EVENT_IDX);
  const filter = FeatureSet.of(...off);
  return { filter, queueSize: board.queueSize, forceLegacy: board.forceLegacy };
}

/** Milliseconds that a machine may be paused by a disk's error before requests to its devices fail. */
const PAUSE_GRACE = 1000;

/**
 * Fails what waits for the devices of a QEMU that paused because of a disk's error: it stays so until somebody
 * removes the cause and tells its monitor to go on, which a program may do within {@linkcode PAUSE_GRACE}.
 */
async function failPaused(qmp: Qmp, bus: Bus): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  for await (const { event, data } of qmp.events("BLOCK_IO_ERROR", "RESUME")) {
    clearTimeout(timer);
    if (event !== "BLOCK_IO_ERROR" || data.action !== "stop") continue;
    timer = setTimeout(() => {
      const error = qmp.diagnose();
      if (error !== undefined) { for (const device of bus.devices) device.break(error); }
    }, PAUSE_GRACE);
  }
  clearTimeout(timer);
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
    const held = this.bus.devices.find((device) => ids.has(device.deviceId) && device.driver);
    if (held !== undefined) {
      throw new VireoError("NO_DEVICE", `${driver.name} has no device`, {
        device: this.target,
        seen: `${held.name}, which ${held.driver?.name} has`,
        expected: "'await vireo.use(driver)', which takes it",
      });
    }
    const what = [...ids].map(deviceName).join(" or ");
    throw new VireoError("NO_DEVICE", `No ${what} device on the board`, { device: this.target });
  }
}
