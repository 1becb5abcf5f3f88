import type { Check } from "../check.ts";
import { BLK_CHECKS } from "./blk.ts";
import { BLK_ZONED_CHECKS } from "./blk_zoned.ts";
import { CONFIG_CHECKS } from "./config.ts";
import { CRYPTO_CHAIN_CHECKS } from "./crypto_chain.ts";
import { FEATURE_CHECKS } from "./features.ts";
import { MMIO_CHECKS } from "./mmio.ts";
import { NET_CHECKS } from "./net.ts";
import { NET_COALESCING_CHECKS } from "./net_coalescing.ts";
import { NET_STEERING_CHECKS } from "./net_steering.ts";
import { OTHER_CHECKS } from "./others.ts";
import { PACKED_CHECKS } from "./packed.ts";
import { PCI_CHECKS } from "./pci.ts";
import { QUEUE_CHECKS } from "./queues.ts";
import { REQUEST_CHECKS } from "./requests.ts";
import { SPLIT_CHECKS } from "./split.ts";
import { STATUS_CHECKS } from "./status.ts";
import { SUSPEND_CHECKS } from "./suspend.ts";

/** Every check, in the order in which they run. */
export const CHECKS: readonly Check[] = [
  ...MMIO_CHECKS,
  ...PCI_CHECKS,
  ...STATUS_CHECKS,
  ...SUSPEND_CHECKS,
  ...FEATURE_CHECKS,
  ...CONFIG_CHECKS,
  ...QUEUE_CHECKS,
  ...SPLIT_CHECKS,
  ...PACKED_CHECKS,
  ...REQUEST_CHECKS,
  ...BLK_CHECKS,
  ...BLK_ZONED_CHECKS,
  ...NET_CHECKS,
  ...NET_STEERING_CHECKS,
  ...NET_COALESCING_CHECKS,
  ...OTHER_CHECKS,
  ...CRYPTO_CHAIN_CHECKS,
];
