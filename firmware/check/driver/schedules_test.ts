import { assertEquals } from "@std/assert";
import { SCHEDULES } from "./schedules.ts";

/** Options of each schedule, those that are switched off with `no` before them. */
const OPTIONS: Readonly<Record<string, string>> = {
  plain: "",
  "mmio-1": "legacy",
  pci: "transport pci",
  "pci-transitional": "transport pci, transitional",
  "pci-legacy": "transport pci, legacy",
  packed: "packed",
  "packed-pci": "transport pci, packed, notificationData",
  "in-order": "inOrder, batchUsed",
  "packed-in-order": "packed, inOrder, batchUsed",
  "notification-data": "notificationData",
  "no-indirect": "no indirect",
  "no-event-idx": "no eventIdx",
  "packed-bare": "packed, no indirect, no eventIdx",
  "access-platform": "platformIommu",
  small: "maxQueueSize 4",
  "small-bare": "maxQueueSize 4, no indirect",
  "small-packed": "packed, maxQueueSize 4, no indirect",
  late: "late",
  "late-packed": "transport pci, packed, late",
  reorder: "late, reorder",
  "reorder-packed": "packed, late, reorder",
  partial: "partial",
  changes: "changes",
  "changes-pci": "transport pci, changes",
  "changes-late": "legacy, changes, late",
  suppress: "no eventIdx, poll",
  "suppress-event": "poll",
  "suppress-packed": "packed, poll",
  spurious: "spurious",
  "spurious-pci": "transport pci, spurious",
  "slow-reset": "slowReset",
  "slow-reset-pci": "transport pci, slowReset",
  "unknown-features": "unknownFeatures",
  refuse: "refuse, may fail",
  "needs-reset": "needsReset 0, may fail",
  "needs-reset-later": "needsReset 4, late, may fail",
  "needs-reset-packed": "transport pci, packed, needsReset 2, may fail",
};

Deno.test("schedules: each changes of the board, its rings and its devices what its name says", () => {
  const words = (options: object): string[] =>
    Object.entries(options).map(([name, value]) =>
      value === true ? name : value === false ? `no ${name}` : `${name} ${value}`
    );
  const seen = SCHEDULES.map(({ name, board = {}, ring = {}, temper = {}, mayFail }) => [
    name,
    [...words(board), ...words(ring), ...words(temper), ...mayFail ? ["may fail"] : []].join(", "),
  ]);
  assertEquals(Object.fromEntries(seen), { ...OPTIONS });
});
