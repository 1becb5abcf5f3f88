import { type Layout, layout } from "../layout.ts";

/** Feature bits of the traditional memory balloon (virtio 1.4 §5.5.3). */
export const BalloonFeature = {
  MUST_TELL_HOST: 0,
  STATS_VQ: 1,
  DEFLATE_ON_OOM: 2,
  FREE_PAGE_HINT: 3,
  PAGE_POISON: 4,
  PAGE_REPORTING: 5,
} as const;
/** A feature bit of the balloon. */
export type BalloonFeature = typeof BalloonFeature[keyof typeof BalloonFeature];

/** `struct virtio_balloon_config` (virtio 1.4 §5.5.4); little-endian on legacy devices too. */
export const BALLOON_CONFIG: Layout<
  "num_pages" | "actual" | "free_page_hint_cmd_id" | "poison_val"
> = layout({
  num_pages: "u32",
  actual: "u32",
  free_page_hint_cmd_id: "u32",
  poison_val: "u32",
}, 16);

/** Bytes of a balloon page, whatever the guest's page size (virtio 1.4 §5.5.6). */
export const BALLOON_PAGE_SIZE = 4096;

/** `struct virtio_balloon_stat` (virtio 1.4 §5.5.6.3). */
export const BALLOON_STAT: Layout<"tag" | "val"> = layout({ tag: "u16", val: "u64" }, 10);

/** Tags of statistics (virtio 1.4 §5.5.6.4); the values are bytes, except where a comment says otherwise. */
export const BalloonStat = {
  SWAP_IN: 0,
  SWAP_OUT: 1,
  /** A count. */
  MAJOR_FAULTS: 2,
  /** A count. */
  MINOR_FAULTS: 3,
  FREE: 4,
  TOTAL: 5,
  AVAILABLE: 6,
  CACHES: 7,
  /** A count. */
  HUGETLB_ALLOCATIONS: 8,
  /** A count. */
  HUGETLB_FAILURES: 9,
} as const;
/** A tag of a statistic. */
export type BalloonStat = typeof BalloonStat[keyof typeof BalloonStat];

/** Command ids of free page hinting that do not name a round (virtio 1.4 §5.5.6.6). */
export const BalloonHint = { STOP: 0, DONE: 1 } as const;
/** A command id of free page hinting that does not name a round. */
export type BalloonHint = typeof BalloonHint[keyof typeof BalloonHint];

/** The queues of a balloon in order; a queue whose feature is not offered has no index. */
export const BALLOON_QUEUES: readonly {
  /** Linux's name. */
  readonly name: "inflate" | "deflate" | "stats" | "free_page" | "reporting";
  /** The feature that the queue depends on. */
  readonly feature: BalloonFeature | undefined;
}[] = [
  { name: "inflate", feature: undefined },
  { name: "deflate", feature: undefined },
  { name: "stats", feature: BalloonFeature.STATS_VQ },
  { name: "free_page", feature: BalloonFeature.FREE_PAGE_HINT },
  { name: "reporting", feature: BalloonFeature.PAGE_REPORTING },
];
