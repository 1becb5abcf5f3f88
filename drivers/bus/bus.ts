import type { WaitOptions } from "../wait/options.ts";
import {
  ANY_ID,
  asError,
  type DeviceNode,
  type Dma,
  FeatureSet,
  hex,
  MAX_QUEUE_SIZE,
  type Platform,
  VireoError,
} from "@vireo/hal";
import {
  BusDevice,
  type DeviceHost,
  type DeviceMachine,
  type OutstandingBuffers,
} from "./_bus_device.ts";
import * as lifecycle from "./_lifecycle.ts";
import { Places, type SlotError } from "./_places.ts";
import { type RecoverOptions, RecoveryPolicy } from "./_recovery.ts";
import type { VirtioDevice } from "../device.ts";
import type { DriverInstance, VirtioDriver } from "../driver.ts";
import { checkDriver } from "./_driver_shape.ts";
import { MmioTransport } from "../transport/mmio.ts";
import {
  isReservedPci,
  isVirtioPci,
  type PciProbeOptions,
  probePci,
} from "../transport/pci/probe.ts";
import type { Transport } from "../transport/transport.ts";
import { VhostUserTransport } from "../transport/vhost_user.ts";
import type { Tracer } from "../trace/tracer.ts";
import type { RingObserver } from "../virtqueue/observer.ts";
import { modalias, type UeventAction, type UeventSink } from "./uevent.ts";

export type { OutstandingBuffers } from "./_bus_device.ts";
export type { SlotError } from "./_places.ts";
export type { RecoverOptions } from "./_recovery.ts";

/** Upper bound of ring sizes unless told otherwise: as large as QEMU's largest. */
const DEFAULT_QUEUE_SIZE = 1024;

/** How a bus treats its devices. */
export interface BusOptions extends RecoverOptions, PciProbeOptions {
  /**
   * Feature bits that are never negotiated. Unlike Linux's debug filter, it also filters ring and transport
   * bits. See {@linkcode Bus.filter}.
   */
  readonly filter?: FeatureSet | undefined;
  /**
   * Upper bound of ring sizes in descriptors, 1 to 32768; 1024 by default, as a device's word alone would
   * size rings and the buffers of receive queues. A transport that fixes the size is not asked.
   */
  readonly queueSize?: number | undefined;
  /** Receives every device event. */
  readonly uevent?: UeventSink | undefined;
  /** Receives failures that no call returns, for example in a driver's config change. */
  readonly onError?: ((error: Error, device: VirtioDevice) => void) | undefined;
  /** Told of drivers that do not drive what they could. */
  readonly onBindNotice?: ((notice: BindNotice) => void) | undefined;
  /** Tracer that gets the events of the bus and its devices; tracing costs nothing without one. */
  readonly tracer?: Tracer | undefined;
  /** Sees every ring that is made, for example a recorder. */
  readonly rings?: RingObserver | undefined;
}

/** Why a driver that was registered does not drive a device. */
export type BindNotice =
  /** Its probe failed; the bus goes on with the next driver that matches. */
  | {
    readonly kind: "probe-failed";
    readonly driver: VirtioDriver;
    readonly device: VirtioDevice;
    readonly error: Error;
  }
  /** No device of the bus is one of those in its id table. */
  | { readonly kind: "no-match"; readonly driver: VirtioDriver }
  /** The devices that it matches have other drivers. */
  | {
    readonly kind: "held";
    readonly driver: VirtioDriver;
    readonly devices: readonly VirtioDevice[];
  };

/** How to register a driver. */
export interface RegisterOptions {
  /**
   * Whether it takes the devices that it matches from the drivers that have them: they are unbound, and it is
   * asked before the others from then on.
   */
  readonly replace?: boolean;
}

/** The parts of a machine that a bus needs to register its devices. */
export type BusPlatform =
  & Pick<Platform, "dma" | "nodes">
  & Partial<Pick<Platform, "openMemory" | "diagnose" | "rescan">>;

/** Devices that {@linkcode Bus.rescan} found new, gone or reset. */
export interface RescanResult {
  /** Devices that are new. */
  readonly added: readonly VirtioDevice[];
  /** Devices that are on the bus no more. */
  readonly removed: readonly VirtioDevice[];
  /** Devices that the machine had reset, and whose driver has them again. */
  readonly recovered: readonly VirtioDevice[];
}

/** The five attributes of a device, as files in Linux's sysfs; each ends in a newline. */
export interface DeviceAttributes {
  /** `0x%04x` */
  readonly device: string;
  /** `0x%04x` */
  readonly vendor: string;
  /** `0x%08x`, read from the device now. */
  readonly status: string;
  /** One digit a bit, bit 0 first, of the negotiated set. */
  readonly features: string;
  /** `virtio:d%08Xv%08X` */
  readonly modalias: string;
}

/**
 * Where devices and drivers meet, as on Linux's virtio bus (`drivers/virtio/virtio.c`).
 *
 * Each step of a device's life (probe, remove, freeze, restore, recovery) ends before the next one begins,
 * whatever the order of the calls.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rngDriver } from "@vireo/drivers/rng";
 * import { systemRandom } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RngDevice } from "@vireo/emu/rng";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new RngDevice({ random: systemRandom() });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(rngDriver);
 * const [found] = await bus.addPlatform(machine);
 * assertEquals([found!.driver, bus.all(rngDriver).length], [rngDriver, 1]);
 * await bus.unbind(found!);
 * assertEquals(bus.all(rngDriver).length, 0);
 * ```
 */
export class Bus implements AsyncDisposable {
  /**
   * Feature bits that are never negotiated; a change takes effect when a device is bound again.
   */
  filter: FeatureSet;
  readonly #places = new Places();
  readonly #devices: BusDevice[] = [];
  readonly #drivers: VirtioDriver[] = [];
  readonly #indices = new Set<number>();
  readonly #uevent: UeventSink | undefined;
  readonly #onError: BusOptions["onError"];
  /** Devices that were reported to be gone. */
  readonly #gone = new WeakSet<VirtioDevice>();
  readonly #onBindNotice: BusOptions["onBindNotice"];
  readonly #host: DeviceHost;
  readonly #policy: RecoveryPolicy;
  readonly #pci: PciProbeOptions;
  #sequence = 0;
  /** Ends with the last {@linkcode Bus.rescan} so far. */
  #rescans: Promise<unknown> = Promise.resolve();

  /**
   * Makes an empty bus.
   *
   * @throws {RangeError} If the queue size is not an integer from 1 to 32768.
   */
  constructor(options: BusOptions = {}) {
    const queueSize = options.queueSize ?? DEFAULT_QUEUE_SIZE;
    if (!Number.isInteger(queueSize) || queueSize < 1 || queueSize > MAX_QUEUE_SIZE) {
      throw new RangeError(
        `Cannot use queue size ${queueSize}: expected an integer from 1 to 32768`,
      );
    }
    this.filter = options.filter ?? FeatureSet.NONE;
    this.#uevent = options.uevent;
    this.#onError = options.onError;
    this.#onBindNotice = options.onBindNotice;
    this.#policy = new RecoveryPolicy(options);
    this.#pci = { forceLegacy: options.forceLegacy };
    this.#host = {
      queueSize,
      tracer: options.tracer,
      rings: options.rings,
      report: (device, error) => this.#report(error, device),
      configChanged: (device) => this.#emit("change", device),
      needsReset: (device) => {
        // During a recovery its own loop sees the fault.
        const idle = device.instance !== undefined && !device.recovering;
        if (this.#policy.auto && idle) this.#recoverLater(device);
      },
    };
  }

  /** Slots that could not be used when their machine was last looked at. */
  get slotErrors(): readonly SlotError[] {
    return this.#places.errors;
  }

  /** The devices, in the order of their registration. */
  get devices(): readonly VirtioDevice[] {
    return this.#devices;
  }

  /** The drivers, in the order of their registration. */
  get drivers(): readonly VirtioDriver[] {
    return this.#drivers;
  }

  /**
   * Adds a driver and binds it to every device that it matches and that has none, or with `replace` to every
   * device that it matches.
   *
   * @returns When the devices that are there were tried; a failure is in their `error`.
   * @throws {TypeError} If it is no driver, or is registered already.
   * @throws {AggregateError} If a device could not be taken from its driver in order.
   */
  async registerDriver(driver: VirtioDriver, options: RegisterOptions = {}): Promise<void> {
    checkDriver(driver);
    if (this.#drivers.includes(driver)) {
      throw new TypeError(`Cannot register ${driver.name}: it is already registered`);
    }
    if (options.replace === true) this.#drivers.unshift(driver);
    else this.#drivers.push(driver);
    const errors = await Promise.all(this.#devices.map((device) =>
      device.serial(async () => {
        if (!this.#drivers.includes(driver)) return [];
        const takes = options.replace === true && matches(driver, device);
        const errors = takes ? await this.#detach(device) : [];
        await this.#attach(device, [driver]);
        return errors;
      })
    ));
    this.#noticeUnbound(driver);
    throwAll(errors.flat(), `Cannot take all devices for ${driver.name}`);
  }

  #noticeUnbound(driver: VirtioDriver): void {
    if (this.#onBindNotice === undefined || this.#devices.length === 0) return;
    const devices = this.#devices.filter((device) => matches(driver, device));
    if (devices.length === 0) return this.#onBindNotice({ kind: "no-match", driver });
    if (devices.some((device) => device.driver === driver)) return;
    const held = devices.filter((device) => device.driver !== undefined);
    if (held.length > 0) this.#onBindNotice({ kind: "held", driver, devices: held });
  }

  /**
   * Unbinds a driver from all its devices and removes it from the bus; the devices stay.
   *
   * @throws {AggregateError} If a device could not be released in order.
   */
  async unregisterDriver(driver: VirtioDriver): Promise<void> {
    const at = this.#drivers.indexOf(driver);
    if (at < 0) throw new TypeError(`Cannot unregister ${driver.name}: it is not registered`);
    this.#drivers.splice(at, 1);
    const errors = await Promise.all(
      this.#devices.map((device) =>
        device.serial(async () => device.driver === driver ? await this.#detach(device) : [])
      ),
    );
    throwAll(errors.flat(), `Cannot release all devices of ${driver.name}`);
  }

  /**
   * Registers a device: resets and acknowledges it, and binds the first driver that matches and can
   * drive it (Linux `register_virtio_device`). The bus then owns the transport, even if this fails.
   *
   * @param openMemory Opens the device's shared memory, as a `Platform` does.
   * @param diagnose Says why the device failed or does not answer, as a `Platform` may.
   * @returns The device; if a driver failed on it, its `error` has the reason.
   * @throws {VireoError} `RESET_TIMEOUT` If the device does not answer; it is then not on the bus.
   */
  addDevice(
    transport: Transport,
    openMemory?: Platform["openMemory"],
    diagnose?: () => VireoError | undefined,
  ): Promise<VirtioDevice> {
    return this.#add(transport, { openMemory, diagnose });
  }

  async #add(transport: Transport, machine: DeviceMachine): Promise<BusDevice> {
    const index = this.#takeIndex();
    const device = new BusDevice(index, transport, this.#host, machine);
    return await device.serial(async () => {
      try {
        await lifecycle.acknowledge(device);
      } catch (error) {
        lifecycle.setFailed(device, error as Error);
        this.#indices.delete(index);
        transport[Symbol.dispose]();
        throw error;
      }
      this.#devices.push(device);
      this.#emit("add", device);
      await this.#attach(device, this.#drivers);
      return device;
    });
  }

  /**
   * Registers the device of every slot of a machine. It skips empty slots and PCI functions that are not
   * virtio devices, slots whose device is on the bus already, and lists slots that cannot be used in
   * {@linkcode Bus.slotErrors}.
   *
   * @returns The devices that were added.
   */
  async addPlatform(platform: BusPlatform): Promise<readonly VirtioDevice[]> {
    const found: VirtioDevice[] = [];
    this.#places.forgetErrors(platform);
    for (const [key, node] of Places.keyed(platform.nodes())) {
      if (!this.#places.claim(platform, key)) continue;
      let device: BusDevice | undefined;
      try {
        device = await this.#addNode(platform, key, node);
      } catch (error) {
        this.#places.fail(platform, node, error as Error);
      }
      if (device === undefined) this.#places.release(platform, key);
      else found.push(device);
    }
    return found;
  }

  async #addNode(
    platform: BusPlatform,
    key: string,
    node: DeviceNode,
  ): Promise<BusDevice | undefined> {
    const { tracer } = this.#host;
    const dma = tracer?.dma(platform.dma) ?? platform.dma;
    const transport = this.#open(tracer?.node(node) ?? node, dma);
    if (transport === undefined) return undefined;
    const device = await this.#add(transport, {
      openMemory: platform.openMemory?.bind(platform),
      diagnose: () => platform.diagnose?.(node.name),
      removed: () => this.#places.release(platform, key),
    });
    // Another step may have removed it already.
    if (this.#devices.includes(device)) this.#places.fill(platform, key, device);
    return device;
  }

  /**
   * Looks at a machine again after devices were plugged or unplugged, or the machine was reset: removes the devices
   * that are gone or asked to go, whose pending requests fail with `DEVICE_REMOVED`; recovers those that were
   * reset, whose pending requests fail with `DEVICE_NEEDS_RESET`; and registers the new ones. Calls take turns.
   *
   * A device that cannot be recovered stays, with the reason in its `error`; failures are told to
   * {@linkcode BusOptions.onError}.
   *
   * @throws {VireoError} `HOST_ERROR` If the machine does not answer.
   *
   * @example
   * ```ts
   * import { Bus } from "@vireo/drivers/bus";
   * import { rngDriver } from "@vireo/drivers/rng";
   * import { systemRandom } from "@vireo/emu/backends";
   * import { EmulatedMachine } from "@vireo/emu/core";
   * import { RngDevice } from "@vireo/emu/rng";
   * import { assertEquals } from "@std/assert";
   *
   * await using machine = EmulatedMachine.create({ devices: [] });
   * await using bus = new Bus();
   * await bus.registerDriver(rngDriver);
   * await bus.addPlatform(machine);
   * const slot = machine.plug(new RngDevice({ random: systemRandom() }));
   * const { added } = await bus.rescan(machine);
   * assertEquals([added.length, bus.all(rngDriver).length], [1, 1]);
   * machine.unplug(slot);
   * assertEquals((await bus.rescan(machine)).removed, added);
   * ```
   */
  async rescan(platform: BusPlatform): Promise<RescanResult> {
    const turn = this.#rescans.then(() => this.#rescan(platform));
    this.#rescans = turn.catch(() => {});
    return await turn;
  }

  async #rescan(platform: BusPlatform): Promise<RescanResult> {
    await platform.rescan?.();
    const nodes = Places.keyed(platform.nodes());
    const known = this.#places.of(platform);
    const gone = known.filter(([, { transport }]) => !transport.isPresent());
    for (const [, device] of gone) device.break(lifecycle.removed(device));
    const leaving = known.filter((entry) => gone.includes(entry) || !nodes.has(entry[0]));
    const removed = leaving.map(([, device]) => device);
    await Promise.all(
      removed.map((device) =>
        this.removeDevice(device).catch((error) => this.#report(error, device))
      ),
    );
    const recovered: VirtioDevice[] = [];
    for (const [, device] of known) {
      if (!removed.includes(device) && await this.#revive(device)) recovered.push(device);
    }
    const added = await this.addPlatform(platform);
    return { added, removed, recovered };
  }

  /** Recovers a device whose state is gone, because its machine was reset. */
  async #revive(device: BusDevice): Promise<boolean> {
    return await device.serial(async () => {
      if (!this.#devices.includes(device)) return false;
      try {
        device.transport.enable?.();
        if (device.transport.readStatus() !== 0) return false;
        // Without a driver a device is acknowledged. One that is frozen is reset.
        if (device.instance === undefined) await lifecycle.acknowledge(device);
        if (!device.running) return false;
        device.break(
          new VireoError("DEVICE_NEEDS_RESET", "The machine reset the device", {
            device: device.name,
          }),
        );
        this.#policy.forget(device);
        await this.#recover(device);
        return true;
      } catch (error) {
        device.error = error as Error;
        this.#report(error as Error, device);
        return false;
      }
    });
  }

  async #removeAll(devices: readonly BusDevice[]): Promise<Error[]> {
    const results = await Promise.allSettled(devices.map((device) => this.removeDevice(device)));
    return results.flatMap((r) => r.status === "rejected" ? [r.reason as Error] : []);
  }

  #open(node: DeviceNode, dma: Dma): Transport | undefined {
    if (node.kind === "mmio") return MmioTransport.probe(node, dma);
    if (node.kind === "vhost-user") return new VhostUserTransport(node, dma);
    return isVirtioPci(node) || isReservedPci(node) ? probePci(node, dma, this.#pci) : undefined;
  }

  /** Reports a failure that no call returns; that a device is gone only once, however many accesses show it. */
  #report(error: Error, device: VirtioDevice): void {
    if (error instanceof VireoError && error.code === "DEVICE_REMOVED") {
      if (this.#gone.has(device)) return;
      this.#gone.add(device);
    }
    this.#onError?.(error, device);
  }

  /**
   * Removes the devices that no longer answer because they were unplugged; pending requests fail with
   * `DEVICE_REMOVED`. Call this after a hot-unplug.
   *
   * @returns The removed devices.
   * @throws The errors on the way; the devices are removed in any case.
   */
  async removeMissing(): Promise<readonly VirtioDevice[]> {
    const missing = this.#devices.filter(({ transport }) => !transport.isPresent());
    // Break all queues before a driver is removed, as in Linux's virtio_pci_remove.
    for (const device of missing) device.break(lifecycle.removed(device));
    throwAll(await this.#removeAll(missing), "Cannot remove all missing devices in order");
    return missing;
  }

  /**
   * Removes a device from the bus and unbinds its driver; pending requests fail with `DEVICE_REMOVED`.
   *
   * @throws {VireoError} The error on the way; the device is removed in any case.
   */
  async removeDevice(device: VirtioDevice): Promise<void> {
    const own = this.#own(device);
    const errors = await own.serial(async () => {
      if (!this.#devices.includes(own)) return [];
      const errors = await this.#detach(own);
      this.#devices.splice(this.#devices.indexOf(own), 1);
      this.#indices.delete(own.index);
      own.waiters.fail(lifecycle.removed(own));
      this.#emit("remove", own);
      try {
        own.transport[Symbol.dispose]();
      } catch (error) {
        errors.push(error as Error);
      } finally {
        own.removed?.();
      }
      return errors;
    });
    throwAll(errors, `Cannot remove ${device.name} in order`);
  }

  /**
   * Binds the first matching driver to a device that has none, after a reset if the device had failed.
   *
   * @returns Whether a driver is bound; if not, the device's `error` may have the reason.
   */
  async bind(device: VirtioDevice): Promise<boolean> {
    const own = this.#own(device);
    return await own.serial(() => this.#attach(own, this.#drivers));
  }

  /**
   * Unbinds the driver of a device; the device stays on the bus, acknowledged.
   *
   * @throws {VireoError} The error on the way; the driver is unbound in any case.
   */
  async unbind(device: VirtioDevice): Promise<void> {
    const own = this.#own(device);
    throwAll(await own.serial(() => this.#detach(own)), `Cannot unbind ${device.name} in order`);
  }

  /** The result of a driver's `probe` for its first device. */
  get<T extends DriverInstance>(driver: VirtioDriver<T>): T | undefined {
    return this.all(driver)[0];
  }

  /** The results of a driver's `probe` for all its devices. */
  all<T extends DriverInstance>(driver: VirtioDriver<T>): T[] {
    return this.#devices.filter((device) => device.driver === driver && device.instance)
      .map((device) => device.instance as T);
  }

  /**
   * The queues whose devices have buffers that they should return: not those on which a driver
   * {@linkcode QueueRequest.receives}. It only looks at memory.
   */
  outstanding(): OutstandingBuffers[] {
    return this.#devices.flatMap((device) => device.outstanding());
  }

  /** A number that is another one after a driver took a buffer back, or a device came. It only looks at memory. */
  progress(): number {
    return this.#devices.reduce((sum, device) => sum + 1 + device.progress(), 0);
  }

  /** The device's attributes in Linux's text forms; reads its status. */
  attributes(device: VirtioDevice): DeviceAttributes {
    return {
      device: `${hex(device.deviceId, 4)}\n`,
      vendor: `${hex(device.vendorId, 4)}\n`,
      status: `${hex(device.transport.readStatus(), 8)}\n`,
      features: `${device.features.toBitString()}\n`,
      modalias: `${modalias(device.deviceId, device.vendorId)}\n`,
    };
  }

  /**
   * Prepares devices for suspend: their drivers freeze and they are reset.
   *
   * @param device One device; all by default, until the first that fails.
   * @throws The error of a driver's `freeze`; that device keeps running.
   */
  async freeze(device?: VirtioDevice): Promise<void> {
    for (const own of this.#some(device)) await own.serial(() => lifecycle.freeze(own));
  }

  /**
   * Restores devices after {@linkcode Bus.freeze}, with the same features.
   *
   * @param device One device; all by default.
   * @throws The error of the failed step; that device has FAILED set.
   */
  async restore(device?: VirtioDevice): Promise<void> {
    for (const own of this.#some(device)) await own.serial(() => lifecycle.restore(own));
  }

  /**
   * Suspends devices where they stand, without a reset (SUSPEND, virtio 1.4 §3.4): requests that the device has
   * are answered first, those that are made meanwhile wait, and nothing is notified.
   *
   * @param device One device; all by default, until the first that fails.
   * @throws {VireoError} `UNSUPPORTED` If the device does not offer SUSPEND; `DEVICE_STATE` If it does not run;
   * `DEVICE_NEEDS_RESET` If it cannot, and is recovered then; `TIMEOUT` If it has not within a second or the
   * deadline: it may be suspended later, and {@linkcode Bus.resume} is safe.
   */
  async suspend(device?: VirtioDevice, options?: WaitOptions): Promise<void> {
    for (const own of this.#some(device)) await own.serial(() => own.suspend(options));
  }

  /**
   * Lets devices go on after {@linkcode Bus.suspend}; does nothing to those that run.
   *
   * @param device One device; all by default, until the first that fails.
   * @throws {VireoError} `DEVICE_NEEDS_RESET` or `TIMEOUT`, as {@linkcode Bus.suspend}.
   */
  async resume(device?: VirtioDevice, options?: WaitOptions): Promise<void> {
    for (const own of this.#some(device)) await own.serial(() => own.resume(options));
  }

  /** Prepares for the machine's end: breaks all queues and resets all devices that have a driver. */
  async shutdown(): Promise<void> {
    const errors: Error[] = [];
    for (const device of [...this.#devices]) {
      try {
        await device.serial(() => lifecycle.shutdown(device));
      } catch (error) {
        errors.push(error as Error);
      }
    }
    throwAll(errors, "Cannot shut all devices down");
  }

  /**
   * Resets a device and restores it with the same features, whether or not it set NEEDS_RESET; pending
   * requests fail with `DEVICE_NEEDS_RESET`.
   *
   * @throws The error of the failed step; the device then has FAILED set.
   */
  async recover(device: VirtioDevice): Promise<void> {
    const own = this.#own(device);
    await own.serial(async () => {
      if (own.instance === undefined) {
        throw new TypeError(`Cannot recover ${own.name}: it must have a driver`);
      }
      if (own.fault === undefined) {
        own.break(
          new VireoError("DEVICE_NEEDS_RESET", "Device is reset for recovery", {
            device: own.name,
          }),
        );
      }
      this.#policy.forget(own);
      await this.#recover(own);
    });
  }

  /**
   * Removes all devices, after a {@linkcode Bus.rescan} that is under way.
   *
   * @throws The errors on the way; the bus is empty in any case.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rescans;
    throwAll(await this.#removeAll([...this.#devices]), "Cannot remove all devices in order");
  }

  async #attach(device: BusDevice, drivers: readonly VirtioDriver[]): Promise<boolean> {
    if (!this.#devices.includes(device)) return false;
    if (device.driver !== undefined) return true;
    for (const driver of [...drivers]) {
      if (!matches(driver, device)) continue;
      try {
        await lifecycle.probe(device, driver, this.filter);
      } catch (cause) {
        const error = cause as Error;
        this.#onBindNotice?.({ kind: "probe-failed", driver, device, error });
        this.#report(error, device);
        continue;
      }
      this.#emit("bind", device);
      // A fault during the probe could not be recovered before the instance existed.
      if (device.fault !== undefined && this.#policy.auto) this.#recoverLater(device);
      return true;
    }
    return false;
  }

  async #detach(device: BusDevice): Promise<Error[]> {
    if (device.driver === undefined) return [];
    const errors = await lifecycle.remove(device);
    this.#policy.forget(device);
    this.#emit("unbind", device);
    return errors;
  }

  #recoverLater(device: BusDevice): void {
    const recovery = device.serial(async () => {
      if (device.fault !== undefined && device.instance !== undefined) await this.#recover(device);
    });
    recovery.catch((error) => this.#report(error, device));
  }

  async #recover(device: BusDevice): Promise<void> {
    device.recovering = true;
    const { fault } = device;
    try {
      await this.#policy.run(device, () => lifecycle.recoverOnce(device));
    } catch (cause) {
      const error = asError(cause);
      // The fault says more than the failure to recover from it.
      lifecycle.explain(error, fault);
      device.gate.setCore(false);
      lifecycle.setFailed(device, error);
      device.tell(error);
      device.waiters.fail(error);
      throw error;
    } finally {
      device.recovering = false;
    }
    this.#emit("change", device);
    device.waiters.done();
    if (device.fault !== undefined && this.#policy.auto) this.#recoverLater(device);
  }

  #takeIndex(): number {
    let index = 0;
    while (this.#indices.has(index)) index++;
    this.#indices.add(index);
    return index;
  }

  #own(device: VirtioDevice): BusDevice {
    const own = this.#devices.find((other) => other === device);
    if (own === undefined) throw new TypeError(`Cannot use ${device.name}: it must be on this bus`);
    return own;
  }

  #some(device: VirtioDevice | undefined): readonly BusDevice[] {
    return device === undefined ? [...this.#devices] : [this.#own(device)];
  }

  #emit(action: UeventAction, device: BusDevice): void {
    if (this.#uevent === undefined) return;
    const driver = device.driver === undefined ? "" : `DRIVER=${device.driver.name}\n`;
    const text = `ACTION=${action}\nDEVPATH=/devices/${device.transport.name}/${device.name}\n` +
      `SUBSYSTEM=virtio\n${driver}MODALIAS=${modalias(device.deviceId, device.vendorId)}\n` +
      `SEQNUM=${++this.#sequence}\n`;
    this.#uevent({ action, device: device.name, text });
  }
}

/** Linux's `virtio_dev_match`. */
function matches(driver: VirtioDriver, device: VirtioDevice): boolean {
  return driver.ids.some((id) =>
    (id.device === device.deviceId || id.device === ANY_ID) &&
    (id.vendor === device.vendorId || id.vendor === ANY_ID)
  );
}

function throwAll(errors: readonly Error[], what: string): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, what);
}
