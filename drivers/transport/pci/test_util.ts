import type { Dma, VireoError } from "@vireo/hal";
import { type PciScript, ScriptedPci } from "../../testing/scripted_pci.ts";
import { PciFunction } from "./function.ts";
import { PciLegacyTransport } from "./legacy.ts";
import { PciModernTransport } from "./modern.ts";

/** The transports allocate nothing themselves. */
export const dma: Dma = {
  alloc() {
    throw new Error("Not expected");
  },
};

/** A modern transport over a scripted function, its log empty. */
export function modern(script: PciScript = {}): [ScriptedPci, PciModernTransport] {
  const fn = new ScriptedPci(script);
  const transport = PciModernTransport.probe(PciFunction.open(fn), dma);
  fn.takeLog();
  return [fn, transport];
}

/** A legacy transport over a scripted function, its log empty. */
export function legacy(script: PciScript = {}): [ScriptedPci, PciLegacyTransport] {
  const fn = new ScriptedPci({ device: 0x1000, ...script });
  const transport = PciLegacyTransport.probe(PciFunction.open(fn), dma);
  fn.takeLog();
  return [fn, transport];
}

/** The fields of an error that scripts match on. */
export function fields(error: VireoError): Record<string, unknown> {
  const { code, register, queue, seen, expected } = error;
  return { code, register, queue, seen, expected };
}

/** A ring of 8 with its parts apart. */
export const RING = {
  size: 8,
  desc: 0x1_0000_1000,
  driver: 0x1_0000_2000,
  device: 0x1_0000_3000,
} as const;
/** A legacy ring of 8 from 0x5000: avail at 0x5080, used on the next page. */
export const BLOCK = { size: 8, desc: 0x5000, driver: 0x5080, device: 0x6000 } as const;
