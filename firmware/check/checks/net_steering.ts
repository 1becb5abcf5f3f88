import { join, u16, u32, zeroes } from "../bytes.ts";
import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { TYPE } from "../requests.ts";

const NET = { devices: [TYPE.NET] } as const;
const CTRL_VQ = 17;
const MQ = 22;
const HASH_REPORT = 57;
const RSS = 60;
const OK = 0;
const ERR = 1;
const CLASS_MQ = 4;
const RSS_CONFIG = 1;
const HASH_CONFIG = 2;
const KEY_SIZE = 40;

const maxPairs = (c: CheckContext): number => c.device.config(8, 2);
const types = (c: CheckContext): number => c.device.config(20, 4);

/** Brings the device up with its control queue. @returns The queue's index. */
async function control(c: CheckContext, ...features: number[]): Promise<number> {
  const several = features.includes(MQ) || features.includes(RSS);
  const queue = several ? 2 * maxPairs(c) : 2;
  await c.init({ features: [CTRL_VQ, ...features], queues: [0, 1, queue] });
  return queue;
}

/** A control command's answer. */
async function command(
  c: CheckContext,
  queue: number,
  code: number,
  data: Uint8Array,
): Promise<number> {
  const { bytes } = await c.ask(queue, [Uint8Array.of(CLASS_MQ, code), data], [1]);
  return bytes[0]!;
}

/** Settings that RSS_CONFIG may have. */
interface Config {
  readonly types?: number;
  readonly table?: readonly number[];
  readonly mask?: number;
  readonly unclassified?: number;
  readonly transmit?: number;
  readonly key?: number;
}

/** The data of RSS_CONFIG: a table of one entry that names the first queue, and a key of ones, if not said. */
function rss(c: CheckContext, config: Config = {}): Uint8Array {
  const { table = [0], unclassified = 0, transmit = 1, key = KEY_SIZE } = config;
  const { mask = table.length - 1 } = config;
  return join(
    u32(config.types ?? types(c)),
    u16(mask, unclassified, ...table, transmit),
    [key],
    zeroes(key).fill(1),
  );
}

/** The data of HASH_CONFIG. */
const hash = (c: CheckContext, key: number = KEY_SIZE): Uint8Array =>
  join(u32(types(c)), zeroes(8), [key], zeroes(key).fill(1));

const limits: Check[] = [
  ...([["rss", RSS], ["hash-report", HASH_REPORT]] as const).map(([name, bit]): Check => ({
    id: `net.key-size.${name}`,
    clauses: ["dev.net.config.7"],
    done: "rss_max_key_size is read where the feature is offered",
    expected: "40 or more",
    offers: [bit],
    scope: NET,
    run(c) {
      const size = c.device.config(17, 1);
      c.expect("rss_max_key_size", size >= KEY_SIZE, size, "40 or more");
    },
  })),
  {
    id: "net.rss-table-length",
    clauses: ["dev.net.config.8"],
    done: "rss_max_indirection_table_length is read where RSS is offered",
    expected: "128 or more",
    offers: [RSS],
    scope: NET,
    run(c) {
      const length = c.device.config(18, 2);
      c.expect("rss_max_indirection_table_length", length >= 128, length, "128 or more");
    },
  },
  {
    id: "net.hash-report-with-control",
    clauses: ["dev.net.config.12"],
    done: "the offer is read",
    expected: "HASH_REPORT is offered only with CTRL_VQ",
    offers: [HASH_REPORT],
    scope: NET,
    run: (c) => c.equal("CTRL_VQ is offered", c.offered().has(CTRL_VQ), true),
  },
];

type Command = readonly [
  name: string,
  feature: number,
  code: number,
  data: (c: CheckContext) => Uint8Array,
];

const accepted: Check[] = ([
  ["rss-config", RSS, RSS_CONFIG, (c) => rss(c)],
  ["rss-config-of-128", RSS, RSS_CONFIG, (c) => rss(c, { table: new Array(128).fill(0) })],
  ["rss-config-without-types", RSS, RSS_CONFIG, (c) => rss(c, { types: 0 })],
  ["hash-config", HASH_REPORT, HASH_CONFIG, (c) => hash(c)],
] satisfies Command[]).map(([name, feature, code, data]) => ({
  id: `net.command.${name}`,
  clauses: feature === RSS ? ["dev.net.rss.1"] : ["virtio 1.4 §5.1.9.5.6.4"],
  done: `the control command ${CLASS_MQ}, ${code} is sent, and VQ_PAIRS_SET where there is MQ`,
  expected: "OK",
  offers: [CTRL_VQ, feature],
  scope: NET,
  async run(c) {
    const mq = c.offered().has(MQ) ? [MQ] : [];
    const queue = await control(c, feature, ...mq);
    c.equal("ack", await command(c, queue, code, data(c)), OK);
    if (mq.length > 0) c.equal("ack of pairs", await command(c, queue, 0, u16(1)), OK);
  },
}));

/** Settings that a device must refuse. */
const refused: Check[] = ([
  ["rss-mask-of-3-entries", RSS, RSS_CONFIG, (c) => rss(c, { table: [0, 0, 0] })],
  ["rss-mask-65535", RSS, RSS_CONFIG, (c) => rss(c, { mask: 0xffff })],
  ["rss-table-cut", RSS, RSS_CONFIG, (c) => rss(c, { mask: 63 })],
  ["rss-unclassified-beyond", RSS, RSS_CONFIG, (c) => rss(c, { unclassified: maxPairs(c) })],
  ["rss-transmit-0", RSS, RSS_CONFIG, (c) => rss(c, { transmit: 0 })],
  ["rss-transmit-beyond", RSS, RSS_CONFIG, (c) => rss(c, { transmit: maxPairs(c) + 1 })],
  ["rss-key-255", RSS, RSS_CONFIG, (c) => rss(c, { key: 255 })],
  ["rss-without-key", RSS, RSS_CONFIG, (c) => rss(c, { key: 0 })],
  ["rss-empty", RSS, RSS_CONFIG, () => zeroes(0)],
  ["hash-key-255", HASH_REPORT, HASH_CONFIG, (c) => hash(c, 255)],
  ["hash-without-key", HASH_REPORT, HASH_CONFIG, (c) => hash(c, 0)],
  ["hash-cut", HASH_REPORT, HASH_CONFIG, (c) => hash(c).subarray(0, 20)],
] satisfies Command[]).map(([name, feature, code, data]) => ({
  id: `net.hostile.${name}`,
  clauses: ["virtio 1.4 §5.1.9.5.7.1"],
  done: `the control command ${CLASS_MQ}, ${code} is sent with data that makes no sense`,
  expected: "ERR",
  hostile: true,
  offers: [CTRL_VQ, feature],
  scope: NET,
  async run(c) {
    const queue = await control(c, feature);
    const bytes = data(c);
    const parts = bytes.length === 0 ? [] : [bytes];
    const reply = await c.ask(queue, [Uint8Array.of(CLASS_MQ, code), ...parts], [1]);
    c.equal("ack", reply.bytes[0], ERR);
  },
}));

/** How network devices hash and steer what they receive. */
export const NET_STEERING_CHECKS: readonly Check[] = [...limits, ...accepted, ...refused];
