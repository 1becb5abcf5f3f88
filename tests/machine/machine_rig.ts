/**
 * One emulated device on a machine, and its driver on a bus: what tests of a driver and a device model start from.
 *
 * @module
 */
import { FeatureSet } from "@vireo/hal";
import {
  type DeviceModel,
  EmulatedMachine,
  type MachineDevice,
  type MachineOptions,
} from "@vireo/emu";
import { assertEquals } from "@std/assert";
import { Bus } from "../../drivers/bus/bus.ts";
import type { DriverInstance, VirtioDriver } from "../../drivers/driver.ts";

/** A running device; the driver's object has the name that the test gave it. */
export type MachineRig<K extends string, M extends DeviceModel, D> =
  & AsyncDisposable
  & { readonly model: M; readonly machine: EmulatedMachine; readonly bus: Bus }
  & { readonly [Name in K]: D };

/** Options of {@linkcode bootMachine}. */
export interface MachineRigOptions extends Omit<MachineDevice, "model"> {
  /** Features that the bus does not negotiate, by bit. */
  readonly without?: readonly number[];
  /** The machine around the device. */
  readonly machine?: Omit<MachineOptions, "devices">;
  /** Receives the machine before it has a driver. */
  readonly made?: (machine: EmulatedMachine) => void;
}

/** Makes a machine of one device and binds its driver; a probe that fails fails the test. */
export async function bootMachine<
  const K extends string,
  M extends DeviceModel,
  D extends DriverInstance,
>(
  name: K,
  model: M,
  driver: VirtioDriver<D>,
  options: MachineRigOptions = {},
): Promise<MachineRig<K, M, D>> {
  const { without = [], machine: around = {}, made, ...device } = options;
  const machine = EmulatedMachine.create({ ...around, devices: [{ ...device, model }] });
  made?.(machine);
  const bus = new Bus({ filter: FeatureSet.of(...without) });
  await bus.registerDriver(driver);
  await bus.addPlatform(machine);
  assertEquals(bus.devices[0]?.error, undefined);
  const parts = {
    model,
    machine,
    bus,
    async [Symbol.asyncDispose](): Promise<void> {
      await bus[Symbol.asyncDispose]();
      await machine[Symbol.asyncDispose]();
    },
  };
  return { ...parts, [name]: bus.get(driver)! } as MachineRig<K, M, D>;
}
