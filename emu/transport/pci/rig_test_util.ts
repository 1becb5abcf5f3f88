import type { Mmio, PciLease } from "@vireo/hal";
import { EmulatedMachine, type MachineDevice, type MachineOptions } from "../../machine.ts";
import type { PciDevice } from "./pci_device.ts";

/** A machine with one PCI function that decodes and may reach memory; its driver is the test. */
export interface PciRig {
  readonly machine: EmulatedMachine;
  readonly fn: PciDevice;
  readonly lease: PciLease;
  readonly config: Mmio;
  /** Opens a BAR. */
  bar(index: number): Mmio;
}

/** Makes the machine and opens its function. */
export function pciRig(device: MachineDevice, options: Partial<MachineOptions> = {}): PciRig {
  const machine = EmulatedMachine.create({
    bus: "pci",
    devices: [device],
    memorySize: 1 << 20,
    ...options,
  });
  const fn = machine.functions[0]!;
  const lease = fn.open();
  const { config } = lease;
  config.write16(4, 7);
  return { machine, fn, lease, config, bar: (index) => lease.openBar(index) };
}
