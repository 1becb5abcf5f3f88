import type { Check } from "./check.ts";

/** Where a check failed. */
export interface Surroundings {
  /** The device. */
  readonly device: { readonly id: number; readonly bus: string; readonly face: string };
  /** Version of the QEMU behind it, if it is one. */
  readonly qemu: string | undefined;
}

/** A clause that a device is known not to keep. */
export interface Deviation {
  /** Ids of the checks that show it, or what they start with if that ends in a full stop. */
  readonly checks: readonly string[];
  /** Virtio ids of the devices; all by default. */
  readonly devices?: readonly number[];
  /** The bus; either by default. */
  readonly bus?: "mmio" | "pci";
  /** The interface; either by default. */
  readonly face?: "modern" | "legacy";
  /** Major versions of QEMU that show it. */
  readonly qemu: readonly number[];
  /** Clauses that are not kept. */
  readonly clauses: readonly string[];
  /** What the failure says. */
  readonly seen?: RegExp;
  /** What the device does instead, and where that was seen. */
  readonly reason: string;
}

/** What QEMU is known to do otherwise than virtio 1.4 demands. */
export const DEVIATIONS: readonly Deviation[] = [];

/** The deviation that a failure is an instance of. */
export function findDeviation(
  { id }: Check,
  { device, qemu }: Surroundings,
  message: string,
): Deviation | undefined {
  if (qemu === undefined) return undefined;
  const major = Number.parseInt(qemu);
  return DEVIATIONS.find((known) =>
    known.qemu.includes(major) &&
    known.checks.some((check) => check.endsWith(".") ? id.startsWith(check) : check === id) &&
    (known.devices?.includes(device.id) ?? true) &&
    (known.bus ?? device.bus) === device.bus &&
    (known.face ?? device.face) === device.face &&
    (known.seen?.test(message) ?? true)
  );
}
