/**
 * One element of a chain: bytes that the device reads, so many that count up from a first one, or
 * room for so many that it writes.
 */
export type Element =
  | { readonly read: readonly number[] }
  | { readonly count: number; readonly from: number }
  | { readonly write: number };

/** Mistakes of a driver about a chain. */
export type ChainFault = "loop" | "order" | "outside" | "head" | "jump" | "nested";

/** A request: a chain that is made available, and the notification. */
export interface RequestStep {
  readonly do: "request";
  readonly queue: number;
  readonly elements: readonly Element[];
  /** In a table of its own, if INDIRECT_DESC was negotiated. */
  readonly indirect?: boolean;
  /** Sets NO_INTERRUPT. */
  readonly quiet?: boolean;
  /** `used_event`, counted from the used index. */
  readonly event?: number;
  /** Its mistake, if it has one. */
  readonly wrong?: ChainFault | undefined;
}
