/**
 * Hostile drivers of every device model, as named cases with a seed.
 *
 * @module
 */
import { BALLOON } from "./balloon.ts";
import { BLK } from "./blk.ts";
import { CRYPTO } from "./crypto.ts";
import { GPU } from "./gpu.ts";
import { P9 } from "./p9.ts";
import type { HostileSuite } from "./rig.ts";
import { SCSI } from "./scsi.ts";
import { CAIF, CONSOLE, INPUT, NET, RNG, RPMSG, RPROC_SERIAL } from "./streams.ts";
import { VSOCK } from "./vsock.ts";

export type { HostileCase, HostileSuite } from "./rig.ts";

/** The suites of all models. */
export const SUITES: readonly HostileSuite[] = [
  BALLOON,
  BLK,
  CAIF,
  CONSOLE,
  CRYPTO,
  GPU,
  INPUT,
  NET,
  P9,
  RNG,
  RPMSG,
  RPROC_SERIAL,
  SCSI,
  VSOCK,
];
