import { VireoError } from "@vireo/hal";
import type { RecordingHeader } from "./format.ts";

/**
 * Refuses a recording of another version than this program reads.
 *
 * @throws {VireoError} `BAD_MESSAGE` If it is of another.
 */
export function checkVersion(seen: unknown, expected: number): void {
  if (seen === expected) return;
  const what = "Cannot replay a recording of this version";
  throw new VireoError("BAD_MESSAGE", what, { seen: String(seen), expected });
}

type Json = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Whether a value is absent, or passes. */
function may(value: unknown, passes: (value: unknown) => boolean): boolean {
  return value === undefined || passes(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isFlag(value: unknown): value is boolean {
  return typeof value === "boolean";
}

function isNode(value: unknown): boolean {
  if (!isObject(value) || !isText(value["name"])) return false;
  if (value["kind"] === "pci") {
    const at = value["address"];
    return isCount(value["vendor"]) && isCount(value["device"]) && isObject(at) &&
      [at["segment"], at["bus"], at["device"], at["function"]].every(isCount);
  }
  return value["kind"] === "mmio" && isCount(value["size"]);
}

/** Whether a header says what a recorder writes: a machine and its nodes. */
export function isHeader(value: unknown): value is RecordingHeader {
  return isObject(value) && isText(value["platform"]) && may(value["access"], isText) &&
    Array.isArray(value["nodes"]) && value["nodes"].every(isNode) && "program" in value;
}

/** Most windows, rings and interrupts of a machine. */
const MOST = 1 << 20;

function isIndex(value: unknown): boolean {
  return isCount(value) && value < MOST;
}

function isMessage(value: unknown): boolean {
  return isObject(value) && isCount(value["address"]) && isCount(value["data"]) &&
    isFlag(value["polled"]) && isIndex(value["source"]);
}

function isWindow(value: unknown): boolean {
  return isObject(value) && isText(value["name"]) && isCount(value["size"]);
}

/** Whether a META record is one that a recorder writes. */
export function isMeta(value: unknown): value is Json {
  if (!isObject(value)) return false;
  const { op, node, window, source, polled, bars, config, given } = value;
  switch (op) {
    case "open": {
      // A function has both, a slot of virtio-mmio none.
      const pci = Array.isArray(bars) && bars.every(isObject) && isWindow(config);
      return isText(node) && isIndex(window) && may(source, isIndex) && may(polled, isFlag) &&
        (pci || (bars === undefined && config === undefined && isIndex(source)));
    }
    case "bar":
      return isText(node) && isIndex(window) && isCount(value["index"]) && isWindow(value);
    case "messages":
      return isText(node) && isCount(value["count"]) &&
        (given === null || (Array.isArray(given) && given.every(isMessage)));
    case "ring":
      return isText(value["slot"]) && isCount(value["queue"]) && isIndex(value["ring"]) &&
        isWindow(value);
    default:
      return false;
  }
}

/** Whether a DIAGNOSIS record is one that a recorder writes. */
export function isDiagnosis(value: unknown): value is Json {
  return isObject(value) && isText(value["node"]) && may(value["code"], isText) &&
    (value["message"] === null || isText(value["message"]));
}
