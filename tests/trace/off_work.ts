// Requests on a bus without a trace, which `off_cost.ts` has of two trees in one process.
import { blkDriver, Bus, netDriver, rngDriver } from "@vireo/drivers";
import { EmulatedMachine, RngDevice } from "@vireo/emu";
import { loadDevices } from "./trace_load.ts";

/** Some milliseconds of requests of one kind. */
export interface OffWork {
  /** How many requests a call of `run` makes. */
  readonly requests: number;
  /** Makes them. */
  readonly run: () => Promise<void> | void;
}

/** Opens a machine, and returns the works by their kinds. */
export async function openWorks(): Promise<Readonly<Record<string, OffWork>>> {
  const random = (into: Uint8Array): Uint8Array => into.fill(7);
  const machine = EmulatedMachine.create({
    devices: [...loadDevices(), { model: new RngDevice({ random }) }],
  });
  const bus = new Bus();
  await bus.registerDriver(blkDriver);
  await bus.registerDriver(netDriver);
  await bus.registerDriver(rngDriver);
  await bus.addPlatform(machine);
  const [blk, net, rng] = [bus.get(blkDriver)!, bus.get(netDriver)!, bus.get(rngDriver)!];
  const bytes = new Uint8Array(4096);
  const batch = blk.batch(32, 512);
  const tx = net.tx();
  for (const frame of tx.frames) frame.set([...net.mac, ...net.mac, 0x88, 0xb5]);
  net.onFrame = () => {};
  return {
    "blk": {
      requests: 300,
      run: async () => {
        for (let i = 0; i < 300; i++) await blk.read((i & 63) * 8, bytes);
      },
    },
    "blk batch": {
      requests: 32 * 60,
      run: () => {
        for (let i = 0; i < 60; i++) {
          for (let slot = 0; slot < 32; slot++) {
            batch.prepareRead(slot, slot);
            batch.submit(slot);
          }
          batch.kick();
          while (batch.poll() >= 0);
        }
      },
    },
    "rng": {
      requests: 600,
      run: async () => {
        for (let i = 0; i < 600; i++) await rng.read(64);
      },
    },
    "net": {
      requests: 64 * 50,
      run: () => {
        for (let i = 0; i < 50; i++) {
          for (let n = 0; n < 64; n++) tx.submit(tx.reserve(), 64);
          tx.kick();
          net.poll();
          tx.reclaim();
        }
      },
    },
  };
}
