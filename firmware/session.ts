import { type Blk, blkDriver } from "@vireo/drivers/blk";
import { Bus, type BusOptions, type RescanResult } from "@vireo/drivers/bus";
import { type Console, consoleDriver } from "@vireo/drivers/console";
import type { DriverInstance, VirtioDriver } from "@vireo/drivers/core";
import { type Net, netDriver } from "@vireo/drivers/net";
import { type Rng, rngDriver } from "@vireo/drivers/rng";
import { pause, timedOut, timeLeft, type WaitOptions, within } from "@vireo/drivers/wait";
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
import type { DeviceInspection } from "./inspect/inspect_board.ts";
import { type OpenBoard, openBoard } from "./target/open_board.ts";
import { OPEN_BUSES } from "./target/open_buses.ts";
import type { EmulatedBoard } from "./target/emulated_board.ts";
import type { Recorder } from "@vireo/drivers/record";
import type { RecordedProgram } from "./record/program.ts";
import { boardTrace, traceOptionWithoutTrace } from "./trace/board_trace.ts";
import { type BoardInput, checkBoard } from "./target/check_board.ts";
import type { BoardOptions } from "./target/options.ts";
import { watchPauses } from "./target/paused.ts";
import type { Vireo } from "./vireo.ts";

/** Options of {@linkcode openVireo} besides the board. */
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

/** Milliseconds between two looks at a machine whose Linux is about to find a device: one takes 30 ms in a guest. */
const LOOK_AGAIN = 200;

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
  const idle = options.trace === undefined ? traceOptionWithoutTrace(full) : undefined;
  if (idle !== undefined) {
    throw new TypeError(
      `Cannot open ${full.target} with ${idle} ${JSON.stringify(full[idle])}: ` +
        "there must be a trace or a traceFile too",
    );
  }
  return await openSession(full, await openBoard(full), options);
}

/**
 * Probes the bus of a board that is open, and binds the bundled drivers; the session owns the board.
 *
 * @throws {VireoError} If a device cannot be added.
 */
export async function openSession(
  full: BoardOptions,
  board: OpenBoard,
  options: VireoOptions = {},
): Promise<Vireo> {
  await using cleanup = new AsyncDisposableStack();
  const machine = cleanup.use(board);
  const trace = await boardTrace(full, { sink: options.trace });
  if (trace !== undefined) cleanup.use(trace);
  const recorder = await recorderOf(full, machine);
  if (recorder !== undefined) cleanup.use(recorder);
  const replay = "program" in machine ? machine : undefined;
  const seed = recorder?.seed ?? replay?.program.seed;
  if (seed !== undefined) {
    cleanup.use((await import("./record/seeded_random.ts")).seedRandom(seed));
  }
  const platform = recorder?.platform ?? machine.platform;
  const bus = cleanup.use(
    new Bus({
      ...busOptions(replay?.program.board ?? full),
      tracer: trace?.tracer,
      rings: recorder?.platform ?? replay?.platform,
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
  if (replay !== undefined) {
    replay.platform.onDiverged = (error) => {
      for (const device of bus.devices) device.break(error);
      replay.hostPort?.fail(error);
    };
  }
  await bus.addPlatform(platform);
  await loadDrivers(bus);
  const session = new Session(
    full.target,
    bus,
    { machine, platform, hostPort: recorder?.hostPort ?? machine.hostPort },
    options.args ?? [],
    cleanup.move(),
  );
  if ("qmp" in machine.platform) {
    const { qmp } = machine.platform;
    // Both end with the monitor.
    void watchPauses(qmp, {
      failed: (error) => bus.devices.forEach((device) => device.break(error)),
    });
    void followResets(qmp, session);
  }
  return session;
}

/** Imports the drivers of devices that have none yet, as Linux does when it sees a device's modalias. */
async function loadDrivers(bus: Bus): Promise<void> {
  const missing = bus.devices.filter((device) => device.driver === undefined && !device.error);
  const ids = new Set(missing.map((device) => device.deviceId));
  for (const entry of BOARD_DEVICES) {
    if (!ids.has(entry.deviceId)) continue;
    const driver = await entry.driver();
    if (!bus.drivers.includes(driver)) await bus.registerDriver(driver);
  }
}

/** A recording that is being made. */
interface OpenRecording extends Disposable {
  readonly platform: Recorder;
  /** Seed of the program's random numbers. */
  readonly seed: number;
  /** The host's end of a console port, if there is one. */
  readonly hostPort: StreamPort | undefined;
}

async function recorderOf(
  board: BoardOptions,
  { platform, hostPort }: OpenBoard,
): Promise<OpenRecording | undefined> {
  if (board.record === undefined) return undefined;
  const [{ Recorder }, { TraceFile }, { programOf }, { recordedHostPort }] = await Promise.all([
    import("@vireo/drivers/record"),
    import("./trace/file.ts"),
    import("./record/program.ts"),
    import("./record/host_port.ts"),
  ]);
  const file = new TraceFile(board.record, "recording");
  const program = programOf(board, hostPort !== undefined);
  const recorder = new Recorder(platform, (bytes) => file.write(bytes), program);
  return {
    platform: recorder,
    seed: program.seed,
    hostPort: hostPort && recordedHostPort(hostPort, recorder),
    [Symbol.dispose]: () => {
      recorder.close();
      file[Symbol.dispose]();
    },
  };
}

function busOptions(board: RecordedProgram["board"]): BusOptions {
  const off: number[] = [];
  if (!board.indirect) off.push(Feature.INDIRECT_DESC);
  if (!board.eventIdx) off.push(Feature.EVENT_IDX);
  const filter = FeatureSet.of(...off);
  return { filter, queueSize: board.queueSize, forceLegacy: board.forceLegacy };
}

/** Recovers the devices of a QEMU that was reset. */
async function followResets(qmp: Qmp, vireo: Vireo): Promise<void> {
  for await (const _ of qmp.events("RESET")) {
    // A QEMU that does not answer any more fails all requests, which says it.
    await vireo.rescan().catch(() => {});
  }
}

class Session implements Vireo {
  readonly target: string;
  readonly bus: Bus;
  readonly #machine: OpenBoard;
  readonly platform: Platform;
  readonly hostPort: StreamPort | undefined;
  readonly args: readonly string[];
  readonly #abort = new AbortController();
  readonly #cleanup: AsyncDisposableStack;
  #closed = false;

  constructor(
    target: string,
    bus: Bus,
    { machine, platform, hostPort }: Pick<Session, "platform" | "hostPort"> & {
      readonly machine: OpenBoard;
    },
    args: readonly string[],
    cleanup: AsyncDisposableStack,
  ) {
    this.target = target;
    this.bus = bus;
    this.#machine = machine;
    this.platform = platform;
    this.hostPort = hostPort;
    this.args = args;
    this.#cleanup = cleanup;
  }

  get emulated(): EmulatedBoard | undefined {
    return "machine" in this.#machine ? this.#machine : undefined;
  }

  get qmp(): Qmp | undefined {
    if ("qmp" in this.#machine) return this.#machine.qmp;
    const { platform } = this.#machine;
    return "qmp" in platform ? platform.qmp : undefined;
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

  async inspect(): Promise<readonly DeviceInspection[]> {
    return await (await import("./inspect/inspect_board.ts")).inspectBoard(this);
  }

  async rescan(wait?: WaitOptions): Promise<RescanResult> {
    const call = within(wait ?? {});
    for (;;) {
      call.signal?.throwIfAborted();
      if (this.#closed) throw new TypeError("Cannot look at the board again: it was closed");
      const result = await this.bus.rescan(this.platform);
      await loadDrivers(this.bus);
      const { added, removed, recovered } = result;
      if (wait === undefined || added.length + removed.length + recovered.length > 0) return result;
      const left = timeLeft(call);
      if (left === 0) {
        throw timedOut("a device to come, go or be reset", call.deadline, { device: this.target });
      }
      await pause(Math.min(left, LOOK_AGAIN), call.signal);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
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
