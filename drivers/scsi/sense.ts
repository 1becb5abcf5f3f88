import { SCSI_SENSE_KEYS } from "@vireo/hal";

/** Reason of a logical unit for a command that failed (SPC-4 §4.5). */
export interface ScsiSense {
  /** Sense key, 0 to 15. */
  readonly key: number;
  /** Its name. */
  readonly name: string;
  /** Additional sense code. */
  readonly asc: number;
  /** Its qualifier. */
  readonly ascq: number;
  /** Whether it is of an earlier command. */
  readonly deferred: boolean;
}

/** Additional sense codes that people meet. */
const TEXTS: Readonly<Record<string, string>> = {
  "04/00": "not ready, cause not reportable",
  "0c/00": "write error",
  "11/00": "unrecovered read error",
  "1a/00": "parameter list length error",
  "20/00": "invalid command operation code",
  "21/00": "logical block address out of range",
  "24/00": "invalid field in CDB",
  "25/00": "logical unit not supported",
  "26/00": "invalid field in parameter list",
  "27/00": "write protected",
  "28/00": "medium may have changed",
  "29/00": "power on, reset, or bus device reset occurred",
  "2a/09": "capacity data has changed",
  "3a/00": "medium not present",
  "3f/0e": "reported luns data has changed",
};

/**
 * Reads sense data, of the fixed or the descriptor format.
 *
 * @returns Nothing if it is too short, or of another format.
 *
 * @example
 * ```ts
 * import { decodeSense } from "@vireo/drivers/scsi";
 * import { assertEquals } from "@std/assert";
 *
 * // The descriptor format: key 5, then the additional codes.
 * const sense = decodeSense(Uint8Array.of(0x72, 5, 0x24, 0));
 * assertEquals([sense?.name, sense?.asc], ["ILLEGAL REQUEST", 0x24]);
 * assertEquals(decodeSense(Uint8Array.of(0x72)), undefined);
 * ```
 */
export function decodeSense(bytes: Uint8Array): ScsiSense | undefined {
  const code = (bytes[0] ?? 0) & 0x7f;
  const fixed = code === 0x70 || code === 0x71;
  if (!(fixed && bytes.length >= 3) && !((code === 0x72 || code === 0x73) && bytes.length >= 4)) {
    return undefined;
  }
  const key = bytes[fixed ? 2 : 1]! & 0xf;
  return {
    key,
    name: SCSI_SENSE_KEYS[key]!,
    asc: bytes[fixed ? 12 : 2] ?? 0,
    ascq: bytes[fixed ? 13 : 3] ?? 0,
    deferred: (code & 1) !== 0,
  };
}

/**
 * Says sense data in words: `ILLEGAL REQUEST, invalid field in CDB (24/00)`.
 *
 * @example
 * ```ts
 * import { decodeSense, senseText } from "@vireo/drivers/scsi";
 * import { assertEquals } from "@std/assert";
 *
 * const sense = decodeSense(Uint8Array.of(0x72, 5, 0x24, 0))!;
 * assertEquals(senseText(sense), "ILLEGAL REQUEST, invalid field in CDB (24/00)");
 * ```
 */
export function senseText({ name, asc, ascq }: ScsiSense): string {
  const code = [asc, ascq].map((byte) => byte.toString(16).padStart(2, "0")).join("/");
  const text = TEXTS[code];
  return `${name}${text === undefined ? "" : `, ${text}`} (${code})`;
}
