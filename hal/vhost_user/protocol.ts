import { type Layout, layout } from "../layout.ts";

/** The version that messages carry in the low bits of their flags. */
export const VHOST_USER_VERSION = 1;
/** The feature bit of either side that says that there are protocol features; no feature of virtio. */
export const VHOST_USER_PROTOCOL_FEATURES = 30;
/** The feature bit by which a front end asks for a log of written pages; no feature of virtio. */
export const VHOST_LOG_ALL = 26;
/** Most regions in one table of guest memory. */
export const VHOST_USER_MAX_REGIONS = 8;
/** Most bytes of configuration in one message. */
export const VHOST_USER_MAX_CONFIG = 256;
/** In the payload of SET_VRING_KICK, CALL and ERR: no descriptor comes with the message. */
export const VHOST_USER_NO_FD = 0x100;

/** Bits of a message's flags. */
export const VhostUserFlag = {
  /** The version's part. */
  VERSION: 3,
  /** The message is an answer. */
  REPLY: 4,
  /** REPLY_ACK: the sender waits for an answer, 0 if the request was carried out. */
  NEED_REPLY: 8,
} as const;

/** Requests of a front end to a back end. */
export const VhostUserRequest = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SEND_RARP: 19,
  NET_SET_MTU: 20,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  GPU_SET_SOCKET: 33,
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const;
/** A request of a front end. */
export type VhostUserRequest = typeof VhostUserRequest[keyof typeof VhostUserRequest];

/** Requests of a back end to a front end, on the socket of SET_BACKEND_REQ_FD. */
export const VhostUserBackendRequest = {
  CONFIG_CHANGE: 2,
} as const;
/** A request of a back end. */
export type VhostUserBackendRequest =
  typeof VhostUserBackendRequest[keyof typeof VhostUserBackendRequest];

/** Protocol features, by bit. */
export const VhostUserFeature = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  MTU: 4,
  BACKEND_REQ: 5,
  CONFIG: 9,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
} as const;
/** A protocol feature. */
export type VhostUserFeature = typeof VhostUserFeature[keyof typeof VhostUserFeature];

/** Header of every message. */
export const VHOST_USER_HEADER: Layout<"request" | "flags" | "size"> = layout({
  request: "u32",
  flags: "u32",
  size: "u32",
}, 12);
/** A queue's index and a number. */
export const VRING_STATE: Layout<"index" | "num"> = layout({ index: "u32", num: "u32" }, 8);
/** Where a queue's parts are, as addresses of the front end's process. */
export const VRING_ADDR: Layout<"index" | "flags" | "desc" | "used" | "avail" | "log"> = layout({
  index: "u32",
  flags: "u32",
  desc: "u64",
  used: "u64",
  avail: "u64",
  log: "u64",
}, 40);
/** Start of a table of guest memory. */
export const MEM_TABLE: Layout<"regions" | "padding"> = layout(
  { regions: "u32", padding: "u32" },
  8,
);
/** A region of guest memory: its guest address, its address in the front end, and its place in the file. */
export const MEM_REGION: Layout<"guest" | "size" | "user" | "offset"> = layout({
  guest: "u64",
  size: "u64",
  user: "u64",
  offset: "u64",
}, 32);
/** Start of a message with one region. */
export const MEM_SLOT: Layout<"padding"> = layout({ padding: "u64" }, 8);
/** Start of a message with configuration bytes. */
export const CONFIG_RANGE: Layout<"offset" | "size" | "flags"> = layout({
  offset: "u32",
  size: "u32",
  flags: "u32",
}, 12);
/** The memory in which a back end notes the requests that it works on. */
export const INFLIGHT: Layout<"size" | "offset" | "queues" | "queueSize"> = layout({
  size: "u64",
  offset: "u64",
  queues: "u16",
  queueSize: "u16",
}, 20);

/** Head of the notes of a split queue's requests; {@linkcode INFLIGHT_SPLIT_ENTRY} by head follows. */
export const INFLIGHT_SPLIT: Layout<
  "features" | "version" | "desc_num" | "last_batch_head" | "used_idx"
> = layout({
  features: "u64",
  version: "u16",
  desc_num: "u16",
  last_batch_head: "u16",
  used_idx: "u16",
}, 16);
/** A note of a split queue: whether the head is in flight, and when it was taken. */
export const INFLIGHT_SPLIT_ENTRY: Layout<"inflight" | "padding" | "next" | "counter"> = layout({
  inflight: "u8",
  padding: { bytes: 5 },
  next: "u16",
  counter: "u64",
}, 16);
/** Head of the notes of a packed queue's requests; a list of {@linkcode INFLIGHT_PACKED_ENTRY} follows. */
export const INFLIGHT_PACKED: Layout<
  | "features"
  | "version"
  | "desc_num"
  | "free_head"
  | "old_free_head"
  | "used_idx"
  | "old_used_idx"
  | "used_wrap_counter"
  | "old_used_wrap_counter"
  | "padding"
> = layout({
  features: "u64",
  version: "u16",
  desc_num: "u16",
  free_head: "u16",
  old_free_head: "u16",
  used_idx: "u16",
  old_used_idx: "u16",
  used_wrap_counter: "u8",
  old_used_wrap_counter: "u8",
  padding: { bytes: 10 },
}, 32);
/** A descriptor of a packed queue's request, and of the first one, whether the request is in flight. */
export const INFLIGHT_PACKED_ENTRY: Layout<
  "inflight" | "padding" | "next" | "last" | "num" | "counter" | "id" | "flags" | "len" | "addr"
> = layout({
  inflight: "u8",
  padding: "u8",
  next: "u16",
  last: "u16",
  num: "u16",
  counter: "u64",
  id: "u16",
  flags: "u16",
  len: "u32",
  addr: "u64",
}, 32);

/** Bytes and descriptors that a message may have. */
export interface PayloadRule {
  /** Fewest bytes. */
  readonly min: number;
  /** Most bytes. */
  readonly max: number;
  /** Fewest descriptors; 0 by default. */
  readonly minFds?: number;
  /** Most descriptors; 0 by default. */
  readonly maxFds?: number;
}

/** Rules that a message must keep. */
export interface MessageRule extends PayloadRule {
  /** Its name in the specification. */
  readonly name: string;
  /** Rules of its answer, if it always has one. */
  readonly reply?: PayloadRule;
}

const bytes = (size: number): PayloadRule => ({ min: size, max: size });
const fds = (size: number, min: number, max: number): PayloadRule => (
  { min: size, max: size, minFds: min, maxFds: max }
);
const NOTHING = bytes(0);
const U64 = bytes(8);
const STATE = bytes(VRING_STATE.SIZE);
/** Payload of GET_CONFIG and SET_CONFIG; an answer without bytes is a refusal. */
const CONFIG: PayloadRule = {
  min: CONFIG_RANGE.SIZE,
  max: CONFIG_RANGE.SIZE + VHOST_USER_MAX_CONFIG,
};
/** QEMU's structure ends in four bytes of padding. */
const INFLIGHT_PADDED = INFLIGHT.SIZE + 4;

const R = VhostUserRequest;
const RULES: readonly (readonly [VhostUserRequest, PayloadRule, PayloadRule?])[] = [
  [R.GET_FEATURES, NOTHING, U64],
  [R.SET_FEATURES, U64],
  [R.SET_OWNER, NOTHING],
  [R.RESET_OWNER, NOTHING],
  [R.SET_MEM_TABLE, {
    min: MEM_TABLE.SIZE,
    max: MEM_TABLE.SIZE + VHOST_USER_MAX_REGIONS * MEM_REGION.SIZE,
    maxFds: VHOST_USER_MAX_REGIONS,
  }],
  [R.SET_LOG_BASE, { min: 8, max: 16, maxFds: 1 }],
  [R.SET_LOG_FD, { min: 0, max: 8, maxFds: 1 }],
  [R.SET_VRING_NUM, STATE],
  [R.SET_VRING_ADDR, bytes(VRING_ADDR.SIZE)],
  [R.SET_VRING_BASE, STATE],
  [R.GET_VRING_BASE, STATE, STATE],
  [R.SET_VRING_KICK, fds(8, 0, 1)],
  [R.SET_VRING_CALL, fds(8, 0, 1)],
  [R.SET_VRING_ERR, fds(8, 0, 1)],
  [R.GET_PROTOCOL_FEATURES, NOTHING, U64],
  [R.SET_PROTOCOL_FEATURES, U64],
  [R.GET_QUEUE_NUM, NOTHING, U64],
  [R.SET_VRING_ENABLE, STATE],
  [R.SEND_RARP, U64],
  [R.NET_SET_MTU, U64],
  [R.SET_BACKEND_REQ_FD, { min: 0, max: 8, minFds: 1, maxFds: 1 }],
  [R.GET_CONFIG, CONFIG, { min: 0, max: CONFIG.max }],
  [R.SET_CONFIG, CONFIG],
  [R.GET_INFLIGHT_FD, { min: INFLIGHT.SIZE, max: INFLIGHT_PADDED }, {
    min: INFLIGHT.SIZE,
    max: INFLIGHT_PADDED,
    maxFds: 1,
  }],
  [R.SET_INFLIGHT_FD, { min: INFLIGHT.SIZE, max: INFLIGHT_PADDED, minFds: 1, maxFds: 1 }],
  [R.GPU_SET_SOCKET, { min: 0, max: 8, minFds: 1, maxFds: 1 }],
  [R.RESET_DEVICE, NOTHING],
  [R.GET_MAX_MEM_SLOTS, NOTHING, U64],
  [R.ADD_MEM_REG, fds(MEM_SLOT.SIZE + MEM_REGION.SIZE, 1, 1)],
  [R.REM_MEM_REG, fds(MEM_SLOT.SIZE + MEM_REGION.SIZE, 0, 1)],
  [R.SET_STATUS, U64],
  [R.GET_STATUS, NOTHING, U64],
];

const NAMES = new Map<number, string>(
  Object.entries(VhostUserRequest).map(([name, value]) => [value, name]),
);

/** Rules of each request of a front end, by its number. */
export const VHOST_USER_MESSAGES: ReadonlyMap<number, MessageRule> = new Map(
  RULES.map(([request, rule, reply]): [number, MessageRule] => [
    request,
    { name: NAMES.get(request)!, ...rule, ...reply === undefined ? {} : { reply } },
  ]),
);

/** Rules of each request of a back end, by its number. */
export const VHOST_USER_BACKEND_MESSAGES: ReadonlyMap<number, MessageRule> = new Map([
  [VhostUserBackendRequest.CONFIG_CHANGE, {
    name: "BACKEND_CONFIG_CHANGE_MSG",
    min: 0,
    max: CONFIG.max,
  }],
]);

/** The answer to a request that asked for one by NEED_REPLY. */
export const VHOST_USER_ACK: PayloadRule = U64;
