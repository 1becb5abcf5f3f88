import { assertEquals } from "@std/assert";
import { MsixTable, PBA_OFFSET } from "./msix.ts";

// Typed again from PCI 3.0 §6.8.2: message control, and the fields of an entry of 16 bytes.
const [ENABLE, MASK_ALL] = [0x8000, 0x4000];
const [ADDRESS, DATA, CONTROL] = [0, 8, 12];

/** A table whose vectors are masked, and what it sent. */
function table(size = 9): { msix: MsixTable; sent: [address: number, data: number][] } {
  const sent: [address: number, data: number][] = [];
  const msix = new MsixTable(size, (address, data) => sent.push([address, data]));
  for (let i = 0; i < size; i++) {
    msix.write(16 * i + ADDRESS, 4, 0x1000 + i);
    msix.write(16 * i + ADDRESS + 4, 4, 1);
    msix.write(16 * i + DATA, 4, 0x80000000 + i);
  }
  return { msix, sent };
}

const message = (vector: number): [number, number] => [
  2 ** 32 + 0x1000 + vector,
  0x80000000 + vector,
];

/** Vectors that are pending, by the bits that a driver reads. */
function pending(msix: MsixTable): number[] {
  const word = msix.read(PBA_OFFSET, 4);
  return Array.from({ length: 32 }, (_, i) => i).filter((i) => (word >>> i & 1) !== 0);
}

Deno.test("msix: a message waits for its vector, for all vectors and for bus mastering, and comes once", () => {
  /** What lets messages go, and what holds them back. */
  const gates = {
    vector: (msix: MsixTable, open: boolean) => {
      for (const i of [0, 8]) msix.write(16 * i + CONTROL, 4, open ? 0 : 1);
    },
    all: (msix: MsixTable, open: boolean) => msix.writeControl(ENABLE | (open ? 0 : MASK_ALL)),
    master: (msix: MsixTable, open: boolean) => msix.setBusMaster(open),
  };
  for (const [name, last] of Object.entries(gates)) {
    const { msix, sent } = table();
    for (const gate of Object.values(gates)) gate(msix, gate !== last);
    for (const vector of [0, 8, 0]) msix.fire(vector);
    assertEquals([sent, pending(msix)], [[], [0, 8]], name);
    last(msix, true);
    assertEquals([sent, pending(msix)], [[message(0), message(8)], []], name);
    msix.fire(8);
    assertEquals(sent.length, 3, name);
    last(msix, false);
    msix.fire(8);
    assertEquals([sent.length, pending(msix)], [3, [8]], name);
  }
});

Deno.test("msix: nothing comes while it is off, of vectors that are not there, or after a reset", () => {
  const { msix, sent } = table();
  const fresh = table();
  fresh.msix.writeControl(ENABLE);
  fresh.msix.write(CONTROL, 4, 0);
  fresh.msix.fire(0);
  assertEquals([fresh.sent, pending(fresh.msix)], [[], [0]], "bus mastering is off at first");
  msix.setBusMaster(true);
  msix.write(CONTROL, 4, 0);
  msix.fire(0);
  msix.writeControl(ENABLE);
  msix.fire(9);
  msix.fire(0xffff);
  assertEquals([sent, pending(msix)], [[], []]);
  msix.fire(1);
  assertEquals(pending(msix), [1]);
  msix.writeControl(0);
  msix.write(16 + CONTROL, 4, 0);
  assertEquals([sent, pending(msix)], [[], [1]], "it is off");
  msix.reset();
  msix.writeControl(ENABLE);
  msix.write(16 + CONTROL, 4, 0);
  assertEquals([sent, pending(msix)], [[], []]);
  assertEquals([0, 1, 8].map((i) => msix.read(16 * i + CONTROL, 4)), [1, 0, 1]);
});

Deno.test("msix: the table is written up to its last byte, pending bits are not, control keeps two bits", () => {
  const { msix } = table();
  msix.write(9 * 16 - 4, 4, 0xfffffffe);
  msix.write(9 * 16, 4, 0xffffffff);
  msix.write(9 * 16 - 2, 4, 0);
  msix.write(PBA_OFFSET, 4, 0xffffffff);
  const read = [9 * 16 - 4, 9 * 16, PBA_OFFSET].map((at) => msix.read(at, 4));
  assertEquals([...read, msix.read(9 * 16 + CONTROL, 4)], [0xfffffffe, 0, 0, 0]);
  msix.writeControl(0xffff);
  assertEquals([msix.control, msix.enabled], [ENABLE | MASK_ALL, true]);
  msix.writeControl(MASK_ALL);
  assertEquals([msix.control, msix.enabled], [MASK_ALL, false]);
  assertEquals(msix.capability(), [0, 0, 8, 0, 1, 0, 0, 0, 1, 8, 0, 0]);
});
