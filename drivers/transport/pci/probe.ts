import {
  type Dma,
  PCI_DEVICE_FIRST,
  PCI_DEVICE_LAST,
  PCI_DEVICE_TABLE_LAST,
  PCI_VENDOR_VIRTIO,
  type PciNode,
  VireoError,
  type VireoErrorCode,
} from "@vireo/hal";
import { PciFunction } from "./function.ts";
import { PciLegacyTransport } from "./legacy.ts";
import { PciModernTransport } from "./modern.ts";
import type { Transport } from "../transport.ts";

/** How to choose between the interfaces of a PCI function. */
export interface PciProbeOptions {
  /** Whether to try the legacy interface first, as Linux's module parameter `force_legacy`. */
  readonly forceLegacy?: boolean | undefined;
}

/**
 * Whether a function is a virtio device, by its ids: Linux's table of virtio-pci.
 *
 * @example
 * ```ts
 * import { isVirtioPci } from "@vireo/drivers/transport";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(isVirtioPci({ vendor: 0x1af4, device: 0x1041 }), true);
 * assertEquals(isVirtioPci({ vendor: 0x8086, device: 0x100e }), false);
 * ```
 */
export function isVirtioPci({ vendor, device }: Pick<PciNode, "vendor" | "device">): boolean {
  return vendor === PCI_VENDOR_VIRTIO && device >= PCI_DEVICE_FIRST && device <= PCI_DEVICE_LAST;
}

/**
 * Whether a function has an id that is set aside for virtio and that no device has: {@linkcode probePci} refuses
 * it with a word, as Linux does.
 *
 * @example
 * ```ts
 * import { isReservedPci, isVirtioPci } from "@vireo/drivers/transport";
 * import { assertEquals } from "@std/assert";
 *
 * const ids = { vendor: 0x1af4, device: 0x1080 };
 * assertEquals([isReservedPci(ids), isVirtioPci(ids)], [true, false]);
 * ```
 */
export function isReservedPci({ vendor, device }: Pick<PciNode, "vendor" | "device">): boolean {
  return vendor === PCI_VENDOR_VIRTIO && device > PCI_DEVICE_LAST &&
    device <= PCI_DEVICE_TABLE_LAST;
}

/**
 * Makes the transport of a virtio function, as Linux's `virtio_pci_probe`: for the modern interface if the
 * function has one, otherwise for the legacy one, or in the other order.
 *
 * @param node The function.
 * @param dma Memory that its device can reach.
 * @throws {VireoError} `NO_DEVICE` If it has neither; `BAD_CAPABILITY` If its modern interface is malformed,
 * in which case the legacy one is not tried; the error of opening it.
 *
 * @example
 * ```ts
 * import { probePci } from "@vireo/drivers/transport";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new EchoModel()], bus: "pci" });
 * using transport = probePci(machine.functions[0]!, machine.dma)!;
 * assertEquals([transport.legacy, transport.queueMaxSize(0) > 0], [false, true]);
 * ```
 */
export function probePci(
  node: PciNode,
  dma: Dma,
  { forceLegacy = false }: PciProbeOptions = {},
): Transport {
  if (!isVirtioPci(node)) {
    throw new VireoError("NO_DEVICE", "Cannot use the function: it must be a virtio device", {
      device: node.name,
      seen: `${node.vendor.toString(16)}:${node.device.toString(16)}`,
      expected: "1af4:1000 to 1af4:107f",
    });
  }
  using cleanup = new DisposableStack();
  const fn = cleanup.use(PciFunction.open(node));
  const transport = choose(fn, dma, forceLegacy);
  fn.setMaster();
  cleanup.move();
  return transport;
}

function choose(
  fn: PciFunction,
  dma: Dma,
  forceLegacy: boolean,
): Transport {
  if (forceLegacy) {
    try {
      return PciLegacyTransport.probe(fn, dma, "the legacy interface was asked for");
    } catch (error) {
      const why = reason(error, ["NO_DEVICE", "OUT_OF_MEMORY"]);
      return PciModernTransport.probe(fn, dma, `legacy was asked for, but: ${why}`);
    }
  }
  try {
    return PciModernTransport.probe(fn, dma);
  } catch (error) {
    const why = reason(error, ["NO_DEVICE"]);
    return PciLegacyTransport.probe(fn, dma, why);
  }
}

/** Why the first choice failed. @throws The error, if the other choice must not be tried. */
function reason(error: unknown, codes: readonly VireoErrorCode[]): string {
  if (error instanceof VireoError && codes.includes(error.code)) return error.message;
  throw error;
}
