import type { CheckContext } from "./context.ts";
import type { BusName } from "./raw/device.ts";

/** Where a check makes sense. */
interface Scope {
  /** The bus; any by default. */
  readonly bus?: BusName;
  /** The interface; either by default. */
  readonly face?: "modern" | "legacy";
  /** Virtio ids of the devices; all by default. */
  readonly devices?: readonly number[];
}

/** One thing that is looked at on a device: a row of the table. */
export interface Check {
  /** Group and name, `mmio.magic`; ids are stable. */
  readonly id: string;
  /** The clauses, by id, or `virtio 1.4 §N` where the specification has no statement with a keyword. */
  readonly clauses: readonly string[];
  /** Action of the check. */
  readonly done: string;
  /** Result that must be seen. */
  readonly expected: string;
  /** Whether it breaks rules that drivers must keep; a clean request after a reset follows. */
  readonly hostile?: true;
  /** Where it makes sense. */
  readonly scope?: Scope;
  /** Features that the device must offer, or it is skipped. */
  readonly offers?: readonly number[];
  /** Whether it needs a request that is known to work on this type of device. */
  readonly request?: true;
  /** Does it. @throws {CheckFailure} If the device does not keep the clause. @throws {CheckSkip} If it cannot be looked at here. */
  run(context: CheckContext): Promise<void> | void;
}
