/** Where a virtio-mmio slot is. */
export interface MmioSlot {
  /** Physical address of the first register. */
  readonly base: number;
  /** Size of the window in bytes. */
  readonly size: number;
  /** Interrupt number in the source's own count, if the source gives one. */
  readonly irq: number | undefined;
}
