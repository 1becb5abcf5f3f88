/** Where a board's virtio-mmio slots are. */
export interface SlotMap {
  /** Number of slots. */
  readonly count: number;
  /** Physical address of slot 0. */
  readonly base: number;
  /** Size of a slot's register window in bytes; slots follow each other without gaps. */
  readonly size: number;
  /** Interrupt number of slot 0, as the machine counts them; slot n has the n-th after it. */
  readonly firstIrq: number;
}

/** A board's memory, and the part of it that the DMA allocator may use. */
export interface RamMap {
  /** Physical address of the first byte. */
  readonly base: number;
  /** Bytes when nothing else is asked for. */
  readonly defaultSize: number;
  /** Bytes at the start that QEMU writes at a reset (parked code, device tree). */
  readonly reservedLow: number;
  /** Bytes at the end that QEMU writes at a reset. */
  readonly reservedHigh: number;
}

/** Where QEMU's interrupt lines can be listened to. */
export interface InterceptPoint {
  /** QOM type of the controller, looked up among the machine's unattached devices. */
  readonly type: string;
  /** Input of the controller to which slot 0 is wired; slot n uses the n-th after it. */
  readonly firstInput: number;
}

/** Everything the qtest target needs to know about a machine that QEMU has. */
export interface QtestBoard {
  /** Name, for example `riscv64-virt`. */
  readonly name: string;
  /** The program that emulates it, without a path. */
  readonly qemu: string;
  /** Argument of `-M`, without the memory backend. */
  readonly machine: string;
  /** Further arguments; those that put a loop of "wait for interrupt" where the CPU starts. */
  readonly args: readonly string[];
  /** A firmware image for `-bios`, if the machine parks its CPU that way. */
  readonly firmware?: Uint8Array;
  /** The virtio-mmio slots. */
  readonly slots: SlotMap;
  /** The memory. */
  readonly ram: RamMap;
  /** The interrupt controller. */
  readonly interrupts: InterceptPoint;
}
