/**
 * Notes which chains of one queue a device model holds, so that a device that comes after it can go on. A
 * queue calls it at these points; it must not throw.
 */
export interface InflightLog {
  /**
   * The model takes a chain.
   *
   * @param id Its head (split), or its buffer id (packed).
   * @param start Packed: place of its first descriptor in the ring.
   * @param descriptors Packed: number of its descriptors in the ring.
   */
  taken(id: number, start: number, descriptors: number): void;
  /** A chain has its used entry, which the driver does not see yet. */
  used(id: number): void;
  /**
   * All used entries so far of a packed ring are about to be published.
   *
   * @param position The place after them, its wrap counter in bit 15.
   */
  publishing?(position: number): void;
  /**
   * They are published.
   *
   * @param position Split: the used index after them. Packed: as for {@linkcode InflightLog.publishing}.
   */
  published(position: number): void;
}
