import { assertEquals } from "@std/assert";
import {
  MSIX_CAP,
  MSIX_ENTRY,
  PCI_CAP,
  PCI_CAP64,
  PCI_CFG_CAP,
  PCI_COMMON,
  PCI_LEGACY,
  PCI_LEGACY_MSIX,
  PCI_NOTIFY_CAP,
  PCI_TRANSITIONAL_DEVICE,
} from "./pci.ts";

const offsets = (table: object): [string, number][] =>
  Object.entries(table).flatMap(([name, field]) =>
    typeof field === "object" ? [[name, field.offset] as [string, number]] : []
  );

Deno.test("pci: the numbers of virtio 1.4 §4.1.4", () => {
  assertEquals(offsets(PCI_COMMON).map(([, offset]) => offset), [
    ...[0, 4, 8, 12, 16, 18, 20, 21, 22, 24, 26, 28, 30, 32, 40, 48, 56, 58, 60, 62],
  ]);
  assertEquals(PCI_CAP.cfg_type.offset, 3);
  assertEquals([PCI_CAP.bar.offset, PCI_CAP.id.offset], [4, 5]);
  assertEquals([PCI_CAP.offset.offset, PCI_CAP.length.offset], [8, 12]);
  assertEquals([PCI_CAP64.offset_hi.offset, PCI_CAP64.length_hi.offset], [16, 20]);
  assertEquals([PCI_NOTIFY_CAP.notify_off_multiplier.offset, PCI_CFG_CAP.pci_cfg_data.offset], [
    16,
    16,
  ]);
  assertEquals(offsets(PCI_LEGACY).map(([, offset]) => offset), [0, 4, 8, 12, 14, 16, 18, 19]);
  assertEquals(offsets(PCI_LEGACY_MSIX).map(([, offset]) => offset), [0, 2]);
  assertEquals([MSIX_CAP.control.offset, MSIX_CAP.table.offset, MSIX_CAP.pba.offset], [2, 4, 8]);
  assertEquals([MSIX_ENTRY.data.offset, MSIX_ENTRY.control.offset], [8, 12]);
  assertEquals(PCI_TRANSITIONAL_DEVICE[9], 0x1009);
});
