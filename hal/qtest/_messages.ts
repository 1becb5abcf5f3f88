import { VireoError } from "../errors.ts";
import type { PciMessage } from "../pci.ts";
import type { InterruptLines } from "./_interrupts.ts";
import type { Registers } from "./_windows.ts";

/** A board's interrupt messages. */
export interface Messages {
  /** Takes `count` free messages; undefined if fewer are free. */
  take(count: number): readonly PciMessage[] | undefined;
  /** Gives them back. */
  give(messages: readonly PciMessage[]): void;
}

/** The interrupt lines of a board, for functions and their messages. */
export type Lines = Pick<
  InterruptLines,
  "line" | "watch" | "pulse" | "openPulsed" | "closePulsed"
>;

/** Registers of a GICv2m frame (Server Base System Architecture, appendix E). */
const V2M = { TYPER: 0x008, SETSPI: 0x040 } as const;
/** The GIC counts shared interrupts from here; its inputs start with the first of them. */
const FIRST_SPI = 32;

/** Messages to a GICv2m frame: the data is the number of the interrupt, and its input is pulsed. */
export function gicv2mMessages(
  frame: number,
  channel: Registers,
  lines: Lines,
): Messages {
  const type = channel.read(4, frame + V2M.TYPER);
  const first = type >>> 16 & 0x3ff;
  return pool(type & 0x3ff, lines, (i) => {
    return { address: frame + V2M.SETSPI, data: first + i, input: first + i - FIRST_SPI };
  });
}

/** Registers of QEMU's `edu` device (docs/specs/edu.txt), and how many causes it holds. */
const EDU = { STATUS: 0x24, RAISE: 0x60, ACK: 0x64, CAUSES: 32 } as const;
/** The first number for messages that are not inputs of the interrupt controller. */
const DOORBELL_INPUT = 0x1_0000;

/**
 * Messages to QEMU's `edu` device, for machines whose message controller belongs to the parked
 * processor. The data is a bit that `edu` adds to its causes before it raises its INTx.
 *
 * @param base Where its registers are.
 * @param input The input of the interrupt controller that its INTx is wired to.
 */
export function doorbellMessages(
  base: number,
  input: number,
  channel: Registers,
  lines: Lines,
): Messages {
  lines.watch(input, () => {
    try {
      for (let causes = channel.read(4, base + EDU.STATUS); causes !== 0;) {
        channel.write(4, base + EDU.ACK, causes);
        for (let i = 0; i < EDU.CAUSES; i++) {
          if ((causes >>> i & 1) === 1) lines.pulse(DOORBELL_INPUT + i);
        }
        causes = channel.read(4, base + EDU.STATUS);
      }
    } catch (error) {
      // The channel has reported the error to all waiters.
      if (!(error instanceof VireoError)) throw error;
    }
  });
  return pool(EDU.CAUSES, lines, (i) => {
    return { address: base + EDU.RAISE, data: (1 << i) >>> 0, input: DOORBELL_INPUT + i };
  });
}

function pool(
  count: number,
  lines: Lines,
  describe: (i: number) => { address: number; data: number; input: number },
): Messages {
  const free = Array.from({ length: count }, (_, i) => i);
  const taken = new Map<PciMessage, { i: number; input: number }>();
  return {
    take(wanted) {
      if (wanted > free.length) return undefined;
      return free.splice(0, wanted).map((i) => {
        const { address, data, input } = describe(i);
        const message = { address, data, interrupt: lines.openPulsed(input) };
        taken.set(message, { i, input });
        return message;
      });
    },
    give(messages) {
      for (const message of messages) {
        const { i, input } = taken.get(message)!;
        taken.delete(message);
        lines.closePulsed(input);
        free.push(i);
      }
    },
  };
}
