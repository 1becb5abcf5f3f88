import type { CheckContext } from "../context.ts";

/** Feature bits of the network device that decide about its control queue. */
export const NET_CONTROL = { CTRL_VQ: 17, MQ: 22, RSS: 60 } as const;
/** The ack of a control command. */
export const ACK = { OK: 0, ERR: 1 } as const;

/** Queue pairs that a network device with MQ or RSS has. */
export function maxPairs(c: CheckContext): number {
  return c.device.config(8, 2);
}

/** Brings a network device up with its control queue. @returns The queue's index. */
export async function control(c: CheckContext, ...features: number[]): Promise<number> {
  const { CTRL_VQ, MQ, RSS } = NET_CONTROL;
  const queue = features.includes(MQ) || features.includes(RSS) ? 2 * maxPairs(c) : 2;
  await c.init({ features: [CTRL_VQ, ...features], queues: [0, 1, queue] });
  return queue;
}

/** A control command's answer, of its ack alone. */
export async function command(
  c: CheckContext,
  queue: number,
  group: number,
  code: number,
  ...data: Uint8Array[]
): Promise<number> {
  const { bytes } = await c.ask(queue, [Uint8Array.of(group, code), ...data], [1]);
  return bytes[0]!;
}
