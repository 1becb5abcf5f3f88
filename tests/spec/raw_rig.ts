/**
 * A device model with a raw driver in front of it, for tests of clauses of devices.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type DeviceModel, EmulatedMachine } from "@vireo/emu";
import { MockDriver } from "@vireo/emu/testing";
import { FeatureSet } from "@vireo/hal";

const VERSION_1 = 32;

/** A running device and its raw driver, which must have broken no rule at the end. */
export class RawRig<M extends DeviceModel> implements AsyncDisposable {
  readonly model: M;
  readonly machine: EmulatedMachine;
  readonly driver: MockDriver;

  /** Accepts VERSION_1 and the features, as the device must; without a list what {@linkcode MockDriver.init} does. */
  constructor(model: M, features?: readonly number[]) {
    this.model = model;
    this.machine = EmulatedMachine.create({ devices: [model] });
    this.driver = new MockDriver(this.machine);
    if (features === undefined) this.driver.init();
    else assertEquals(this.driver.init(FeatureSet.of(VERSION_1, ...features)), 15);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    assertEquals(this.machine.violations(), []);
    await this.machine[Symbol.asyncDispose]();
  }
}
