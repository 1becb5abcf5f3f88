/** Where a virtio-mmio slot is. */
export interface MmioSlot {
  /** Physical address of the first register. */
  readonly base: number;
  /** Size of the window in bytes. */
  readonly size: number;
  /** Interrupt number as the source counts them, if it tells. */
  readonly irq: number | undefined;
}
