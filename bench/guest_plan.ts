/** One way to read the disk. */
export interface BlockTest {
  /** Name in the report. */
  readonly name: string;
  /** Bytes of one read. */
  readonly bytes: number;
  /** Reads in flight. */
  readonly depth: number;
  /** Reads in all. */
  readonly count: number;
  /** Whether in random order. */
  readonly random: boolean;
}

/** Request of the host to the program in the guest. */
export interface Plan {
  /** How often everything is measured, by turns. */
  readonly rounds: number;
  /** The reads. */
  readonly blocks: readonly BlockTest[];
  /** Echo requests a round. */
  readonly pings: number;
  /** Size of the disk in bytes. */
  readonly diskBytes: number;
  /** Linux's modules, in the order in which they are loaded. */
  readonly modules: readonly string[];
}

/** Measurements of one turn. */
export interface Sample {
  /** How long all of it took. */
  readonly seconds: number;
  /** The median of one request, in microseconds. */
  readonly p50: number;
  /** The 99th percentile of one request, in microseconds. */
  readonly p99: number;
}

/** A line from the guest: `batch` is our interface without allocations. */
export interface Measurement extends Sample {
  readonly side: "ours" | "batch" | "linux";
  readonly test: string;
  readonly round: number;
}
