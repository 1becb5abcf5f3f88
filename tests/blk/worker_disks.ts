import { BlkDevice, type BlkOrder, type MachineDevice, MemoryDisk } from "@vireo/emu";

/** Message to the worker of the integrity test. */
export interface WorkerDisk {
  readonly bytes: number;
  readonly queues: number;
  readonly version: 1 | 2;
  readonly order: BlkOrder;
}

/** Makes the disk of the integrity test in a worker. */
export default function make(
  { bytes, queues, version, order }: WorkerDisk,
): readonly MachineDevice[] {
  const model = new BlkDevice({ disk: new MemoryDisk(bytes), queues, order });
  return [{ model, version }];
}
