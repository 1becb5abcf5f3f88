/**
 * A device and its driver whose chains and configuration accesses are recorded, for tests of clauses.
 *
 * @module
 */
import type { DeviceModel, EmulatedMachine } from "@vireo/emu";
import { assertEquals } from "@std/assert";
import type { DriverInstance, VirtioDriver } from "../../drivers/driver.ts";
import { bootMachine, type MachineRig, type MachineRigOptions } from "../machine/machine_rig.ts";
import { record, type Recording } from "./recorder.ts";

/** A running device, and what its driver does to it. */
export type RecordedRig<K extends string, M extends DeviceModel, D> =
  & MachineRig<K, M, D>
  & { readonly seen: Recording };

/** Options of {@linkcode bootRecorded}. */
interface RecordedOptions extends Omit<MachineRigOptions, "made"> {
  /** The reason of faults that the test causes itself: at the end there must be no other violation. */
  readonly injected?: string;
}

/** Binds a driver to a recorded device; at the end the driver must have broken no rule. */
export async function bootRecorded<
  const K extends string,
  M extends DeviceModel,
  D extends DriverInstance,
>(
  name: K,
  model: M,
  driver: VirtioDriver<D>,
  { injected, ...options }: RecordedOptions = {},
): Promise<RecordedRig<K, M, D>> {
  let machine!: EmulatedMachine;
  const seen = record(model, () => machine.memory);
  const made = (one: EmulatedMachine): void => void (machine = one);
  const rig = await bootMachine(name, model, driver, { ...options, made });
  return {
    ...rig,
    seen,
    async [Symbol.asyncDispose]() {
      await rig.bus[Symbol.asyncDispose]();
      assertEquals(machine.violations().filter(({ reason }) => reason !== injected), []);
      await machine[Symbol.asyncDispose]();
    },
  };
}
