/** One entry of a partition table. */
export interface Partition {
  /** Number as Linux counts: 1 is the first; logical partitions of an MBR start at 5. */
  readonly number: number;
  /** First byte. */
  readonly start: number;
  /** Length in bytes. */
  readonly length: number;
  /** Type: two hex digits (MBR) or a GUID (GPT). */
  readonly type: string;
  /** Name, for GPT. */
  readonly name: string;
  /** Whether it ends past the end of the disk. */
  readonly beyond: boolean;
}

/** What must be known of a disk to read its table. */
export interface DiskShape {
  /** Size in bytes. */
  readonly size: number;
  /** Logical block size in bytes, in which tables count. */
  readonly blockSize: number;
}

/** What a file system's superblock says of it. */
export interface FileSystem {
  /** Type as `mount` and `blkid` name it, for example `ext4`; of an image as `qemu-img` does, `qcow2`. */
  readonly type: string;
  /** Volume label, if there is one. */
  readonly label: string;
  /** Volume UUID or serial, if there is one. */
  readonly uuid: string;
  /** Size in bytes by the superblock, 0 if it does not say. */
  readonly size: number;
  /** Set for an image in a format of its own, which holds a disk but is none. */
  readonly image?: true;
}
