import type { Check } from "../../firmware/check/check.ts";
import {
  BlkDevice,
  ConsoleDevice,
  EmulatedMachine,
  GpuDevice,
  Hub,
  loopbackPort,
  MemoryDisk,
  NetDevice,
} from "@vireo/emu";
import { findClause } from "../../firmware/check/clauses.ts";
import type { Bench } from "../../firmware/check/run_checks.ts";
import { parseWith } from "../../firmware/devices/table.ts";
import { openBoard } from "../../firmware/target/open_board.ts";
import { type BoardOptions, DEFAULT_BOARD } from "../../firmware/target/options.ts";

/** The devices of `--with` that have a legacy interface on PCI too. */
const OLD = ["balloon", "scsi", "9p"] as const;
const NEW = ["rpmsg", "rproc-serial", "caif", "gpu", "input", "vsock", "crypto"] as const;

/** The emulated board with all 14 types of device, in some variant. */
export async function emulatorBench(variant: Partial<BoardOptions>): Promise<Bench> {
  const legacyPci = variant.transport === "pci" && variant.legacy === true;
  const names = legacyPci ? OLD : [...OLD, ...NEW];
  const board = await openBoard({ ...DEFAULT_BOARD, ...variant, with: names.map(parseWith) });
  return {
    platform: board.platform,
    [Symbol.asyncDispose]: () => board[Symbol.asyncDispose](),
  };
}

/** A disk with zones of each kind: conventional, empty, and on one that is host-managed read-only and offline. */
export function zonedDisk(model: "host-managed" | "host-aware" = "host-managed"): BlkDevice {
  const disk = new BlkDevice({
    disk: new MemoryDisk(1 << 20),
    zoned: {
      model,
      zoneSectors: 128,
      zoneCapacity: model === "host-managed" ? 96 : 128,
      conventional: 2,
      maxOpen: 2,
      maxActive: 3,
      maxAppendSectors: 16,
      ...model === "host-managed" ? { writeGranularity: 1024 } : {},
    },
  });
  if (model === "host-managed") {
    disk.zones!.fail(12, "read-only");
    disk.zones!.fail(13, "offline");
  }
  return disk;
}

/** Devices with what those of the board do not have: several queues, a read-only disk, an emergency write, SUSPEND. */
export function richBench(): Promise<Bench> {
  const machine = EmulatedMachine.create({
    ring: { suspend: true },
    devices: [
      new BlkDevice({ disk: new MemoryDisk(1 << 20), queues: 4 }),
      new BlkDevice({ disk: new MemoryDisk(1 << 20, { readOnly: true }), readOnly: true }),
      zonedDisk(),
      zonedDisk("host-aware"),
      new NetDevice({
        backend: new Hub().port(),
        mac: "52:54:00:00:00:01",
        queuePairs: 2,
        hashReport: true,
      }),
      new GpuDevice({ blob: true, blobAlignment: 65536 }),
      new ConsoleDevice({ ports: [{ backend: loopbackPort() }], emergency: () => {} }),
    ],
  });
  return Promise.resolve({
    platform: machine,
    [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose](),
  });
}

/** The clauses of devices that a check looks at; those of drivers it only breaks. */
export function deviceClauses({ clauses }: Check): string[] {
  return clauses.filter((id) => findClause(id)?.role === "device");
}
