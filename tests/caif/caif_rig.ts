import {
  CaifDevice,
  type CaifDeviceOptions,
  EmuDma,
  EmulatedMachine,
  GuestMemory,
  type MachineOptions,
} from "@vireo/emu";
import { Bus, type BusOptions } from "../../drivers/bus/bus.ts";
import { type Caif, caifDriver } from "../../drivers/caif/driver.ts";
import { turn } from "../turn.ts";
import { bytesBy } from "../noise.ts";

/** A deadline that a test does not reach. */
export const SOON = { deadline: 5000 };

/** A modem in a machine, and the driver on its bus. */
interface Rig extends AsyncDisposable {
  readonly modem: CaifDevice;
  readonly machine: EmulatedMachine;
  readonly bus: Bus;
  readonly caif: Caif;
  readonly errors: Error[];
}

/** Makes a rig; the modem sends back what it gets unless told otherwise. */
export async function rig(
  options: Partial<CaifDeviceOptions> = {},
  machineOptions: Partial<MachineOptions> = {},
  busOptions: BusOptions = {},
): Promise<Rig> {
  const modem = new CaifDevice({ onFrame: (frame, self) => self.send(frame), ...options });
  const machine = EmulatedMachine.create({
    devices: [modem],
    memorySize: 4 << 20,
    ...machineOptions,
  });
  const errors: Error[] = [];
  const bus = new Bus({ onError: (error) => errors.push(error), ...busOptions });
  await bus.registerDriver(caifDriver);
  const [device] = await bus.addPlatform(machine);
  if (device!.error !== undefined) throw device!.error;
  return {
    modem,
    machine,
    bus,
    errors,
    caif: bus.get(caifDriver)!,
    async [Symbol.asyncDispose]() {
      await bus[Symbol.asyncDispose]();
      await machine[Symbol.asyncDispose]();
    },
  };
}

/** A frame that no other is like. */
export function frame(i: number): Uint8Array {
  return bytesBy(1 + i * 37 % 4032, (at) => at * 7 + i);
}

/** Waits until something holds, for 5 s at most. */
export async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + SOON.deadline;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`Never came true: ${holds}`);
    await turn();
  }
}

/** Memory of a machine that counts what is allocated. */
class CountingDma extends EmuDma {
  /** Regions that are allocated. */
  live = 0;

  override alloc(...args: Parameters<EmuDma["alloc"]>): ReturnType<EmuDma["alloc"]> {
    const region = super.alloc(...args);
    const dispose = region[Symbol.dispose].bind(region);
    let disposed = false;
    this.live++;
    region[Symbol.dispose] = () => {
      if (!disposed) this.live--;
      disposed = true;
      dispose();
    };
    return region;
  }
}

/** Memory of a machine, and what counts its regions. */
export function countedMemory(size: number): { memory: GuestMemory; dma: CountingDma } {
  const memory = new GuestMemory(size);
  return { memory, dma: new CountingDma(memory) };
}
