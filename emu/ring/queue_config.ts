/** Geometry of a queue that the driver writes; plain data, not a running queue. */
export interface QueueGeometry {
  /** Descriptors. */
  readonly size: number;
  /** Address of the descriptor table. */
  readonly desc: number;
  /** Address of the available ring. */
  readonly avail: number;
  /** Address of the used ring. */
  readonly used: number;
}

/**
 * A queue while the driver sets it up: it has setters and cannot run. Activation makes a running queue
 * of its geometry, which has none, so nothing changes the geometry of a running ring.
 */
export class QueueConfig {
  /** Largest size. */
  readonly maxSize: number;
  /** Size the driver chose. */
  size: number;
  /** Low and high words of the addresses of the parts. */
  readonly desc: [number, number] = [0, 0];
  /** Low and high word of the available ring's address. */
  readonly avail: [number, number] = [0, 0];
  /** Low and high word of the used ring's address. */
  readonly used: [number, number] = [0, 0];
  /** Version 1: QueueAlign in bytes and QueuePFN in guest pages. */
  align = 4096;
  /** Version 1: QueuePFN in guest pages. */
  pfn = 0;

  /** Makes a queue as it is after reset. */
  constructor(maxSize: number) {
    this.maxSize = maxSize;
    this.size = maxSize;
  }

  /** Puts it back as it is after reset. */
  reset(): void {
    this.size = this.maxSize;
    for (const part of [this.desc, this.avail, this.used]) part[0] = part[1] = 0;
    this.align = 4096;
    this.pfn = 0;
  }

  /** The geometry that the three addresses give. */
  geometry(): QueueGeometry {
    const join = ([lo, hi]: [number, number]): number => hi * 0x1_0000_0000 + lo;
    return {
      size: this.size,
      desc: join(this.desc),
      avail: join(this.avail),
      used: join(this.used),
    };
  }
}
