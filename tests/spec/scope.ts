import type { Clause } from "../../firmware/check/clauses.ts";

/** Clauses that nothing here can keep or break, and why. */
interface OutOfScope {
  /** Ids, or what they start with if that ends in a full stop. */
  readonly ids: readonly string[];
  /** Why: most often the feature is neither offered by a model nor accepted by a driver. */
  readonly why: string;
}

const both = (...sections: string[]): string[] =>
  sections.flatMap((section) => [`drv.${section}.`, `dev.${section}.`]);
const some = (section: string, ...numbers: number[]): string[] =>
  numbers.map((number) => `${section}.${number}`);

/** Everything that is out of scope; each clause of it comes back in with its feature. */
export const OUT_OF_SCOPE: readonly OutOfScope[] = [
  {
    ids: some("drv.basic.reserved-features", 7),
    why: "ORDER_PLATFORM is not accepted: barriers are those of ordinary memory",
  },
  {
    ids: [
      ...some("drv.basic.reserved-features", 9),
      ...some("dev.basic.reserved-features", 4),
    ],
    why: "SR_IOV is neither offered nor accepted",
  },
  {
    ids: ["dev.pci.common-cfg.15", "drv.pci.common-cfg.8"],
    why: "ADMIN_VQ is neither offered nor accepted",
  },
  {
    ids: ["dev.gpu.init.5"],
    why: "The GPU has no shared memory: nothing is host visible",
  },
  {
    ids: ["dev.basic.shm.1"],
    why:
      "It binds the authors of device types; the types with shared memory are the specification's",
  },
  {
    ids: ["dev.balloon.legacy-stats.2"],
    why:
      "The first buffer of statistics answers nobody, but what it says is kept: it is no less true",
  },
  {
    ids: [
      ...some("drv.blk.legacy-operation", 4, 5),
      ...some("drv.blk.legacy-framing", 2),
      ...some("dev.blk.legacy-operation", 2, 3),
    ],
    why: "BARRIER and SCSI of legacy disks are neither offered nor accepted",
  },
  {
    ids: ["dev.pci.vendor-cap.", "drv.pci.vendor-cap."],
    why: "No function has vendor data, and no driver looks at it",
  },
  {
    ids: ["drv.pci.legacy-detection.3", "drv.pci.legacy-detection.4"],
    why: "The drivers are transitional",
  },
  {
    ids: both("net.rss-context", "net.inner-hash", "net.stats"),
    why: "RSS_CONTEXT, HASH_TUNNEL and statistics are neither offered nor accepted",
  },
  {
    ids: both("net.flow-filter", "net.ipsec", "crypto.ipsec"),
    why: "Flow filter and IPsec are neither offered nor accepted",
  },
  {
    ids: [
      ...some("drv.net.tx", 12, 13, 14, 16, 17, 18, 26, 27, 28, 29, 34, 35, 36),
      ...some("dev.net.tx", 3, 6, 8, 10),
      ...some("dev.net.rx", 15, 19, 20, 21, 24, 28, 29, 30, 31, 33, 34, 35, 36, 37),
      ...some("drv.net.rx", 2, 7, 9),
    ],
    why: "Tunnels, outer headers, RSC_EXT and IPsec are not negotiated",
  },
  {
    ids: [
      "drv.blk.init.6",
      "drv.blk.init.7",
    ],
    why: "The driver drives all zoned models",
  },
  {
    ids: ["drv.gpu.controlq-3d.1"],
    why: "The driver maps no blobs: nothing of the host is visible",
  },
];

/** Why a clause is out of scope; undefined if it is in. */
export function outOfScope({ id }: Clause): string | undefined {
  return OUT_OF_SCOPE.find(({ ids }) =>
    ids.some((known) => known.endsWith(".") ? id.startsWith(known) : id === known)
  )?.why;
}
