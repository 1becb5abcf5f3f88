import { counted, hex, nameIn } from "@vireo/hal";
import {
  CONFIG_RANGE,
  INFLIGHT,
  MEM_REGION,
  MEM_SLOT,
  MEM_TABLE,
  readBits,
  readU32,
  VHOST_USER_NO_FD,
  VhostUserFeature,
  VhostUserRequest as Request,
  VRING_ADDR,
  VRING_STATE,
} from "@vireo/hal/vhost-user";

/**
 * A request of a front end in words; its size is right, its contents are whatever the front end says.
 *
 * @param request Its number.
 * @param payload Its contents.
 * @param fds How many descriptors came with it.
 */
export function requestText(request: number, payload: Uint8Array, fds: number): string {
  switch (request as Request) {
    case Request.SET_FEATURES:
      return big(payload, 0);
    case Request.SET_PROTOCOL_FEATURES:
      return protocolText(payload);
    case Request.SET_MEM_TABLE: {
      const said = readU32(payload, MEM_TABLE.regions.offset);
      const room = Math.floor((payload.length - MEM_TABLE.SIZE) / MEM_REGION.SIZE);
      const regions = Array.from(
        { length: Math.min(said, room) },
        (_, i) => regionText(payload, MEM_TABLE.SIZE + i * MEM_REGION.SIZE),
      );
      return [counted(said, "region"), ...regions].join(", ");
    }
    case Request.ADD_MEM_REG:
    case Request.REM_MEM_REG:
      return regionText(payload, MEM_SLOT.SIZE);
    case Request.SET_VRING_NUM:
      return `${stateText(payload)} descriptors`;
    case Request.SET_VRING_BASE:
      return stateText(payload);
    case Request.SET_VRING_ENABLE:
      return `queue ${index(payload)} ${number(payload) === 0 ? "off" : "on"}`;
    case Request.GET_VRING_BASE:
      return `queue ${index(payload)}`;
    case Request.SET_VRING_ADDR: {
      const at = (part: "desc" | "avail" | "used"): string => big(payload, VRING_ADDR[part].offset);
      return `queue ${readU32(payload, VRING_ADDR.index.offset)}, in the front end at ` +
        `${at("desc")}, ${at("avail")} and ${at("used")}`;
    }
    case Request.SET_VRING_KICK:
    case Request.SET_VRING_CALL:
    case Request.SET_VRING_ERR: {
      const value = readU32(payload, 0);
      return `queue ${value % VHOST_USER_NO_FD}${fds === 0 ? ", without a descriptor" : ""}`;
    }
    case Request.GET_CONFIG:
    case Request.SET_CONFIG: {
      const [at, size] = [CONFIG_RANGE.offset, CONFIG_RANGE.size].map(({ offset }) =>
        readU32(payload, offset)
      );
      return `${counted(size!, "byte")} at ${at}`;
    }
    case Request.SET_STATUS:
      return hex(readU32(payload, 0));
    case Request.GET_INFLIGHT_FD:
    case Request.SET_INFLIGHT_FD: {
      const queues = readU32(payload, INFLIGHT.queues.offset);
      return `${counted(queues & 0xffff, "queue")} of ${queues >>> 16} descriptors`;
    }
    default:
      return "";
  }
}

/** The answer to a request in words. */
export function answerText(request: number, payload: Uint8Array): string {
  switch (request as Request) {
    case Request.GET_FEATURES:
      return big(payload, 0);
    case Request.GET_PROTOCOL_FEATURES:
      return protocolText(payload);
    case Request.GET_QUEUE_NUM:
    case Request.GET_MAX_MEM_SLOTS:
      return `${readU32(payload, 0)}`;
    case Request.GET_VRING_BASE:
      return `${number(payload)}`;
    case Request.GET_STATUS:
      return hex(readU32(payload, 0));
    case Request.GET_CONFIG:
      return payload.length === 0 ? "refused" : payload.subarray(CONFIG_RANGE.SIZE).toHex();
    default:
      return counted(payload.length, "byte");
  }
}

/** A 64-bit number, which need not be one that JavaScript has. */
function word(payload: Uint8Array, at: number): bigint {
  return new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getBigUint64(
    at,
    true,
  );
}

function big(payload: Uint8Array, at: number): string {
  return `0x${word(payload, at).toString(16)}`;
}

function protocolText(payload: Uint8Array): string {
  const names = [...readBits(payload)].map((bit) => nameIn(VhostUserFeature, bit) ?? `bit ${bit}`);
  return names.join(" ") || "nothing";
}

function regionText(payload: Uint8Array, at: number): string {
  const size = word(payload, at + MEM_REGION.size.offset);
  return `${big(payload, at + MEM_REGION.guest.offset)}+0x${size.toString(16)}`;
}

function index(payload: Uint8Array): number {
  return readU32(payload, VRING_STATE.index.offset);
}

function number(payload: Uint8Array): number {
  return readU32(payload, VRING_STATE.num.offset);
}

function stateText(payload: Uint8Array): string {
  return `queue ${index(payload)}, ${number(payload)}`;
}
