import {
  type Dma,
  joinBytes,
  NET_CTRL_ANNOUNCE_ACK,
  NET_CTRL_GUEST_OFFLOADS_SET,
  NetAck,
  NetCtrl,
  NetCtrlMac,
  NetCtrlMq,
  VireoError,
} from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import { exchange } from "../virtqueue/exchange.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import type { Virtqueue } from "../virtqueue/virtqueue.ts";
import type { HashConfig, RssConfig } from "./receive_hash.ts";

/** The control queue: one command is one chain of header, data and ack (virtio 1.4 §5.1.6.5). */
export class Control {
  readonly #requests: RequestQueue;
  readonly #queue: Virtqueue;
  readonly #dma: Dma;
  readonly #device: string;
  readonly #split: boolean;

  /** `split` demands a descriptor for each part, as the legacy interface does. */
  constructor(
    queue: Virtqueue,
    requests: RequestQueue,
    dma: Dma,
    device: string,
    split: boolean,
  ) {
    this.#split = split;
    this.#queue = queue;
    this.#requests = requests;
    this.#dma = dma;
    this.#device = device;
  }

  /** An interrupt: takes the acks. */
  drain(): void {
    this.#requests.drain();
  }

  /** Rejects the commands that wait. */
  failAll(error: Error): void {
    this.#requests.failAll(error);
  }

  /** Frees what the device had; only after it was reset. */
  detachAll(): void {
    this.#requests.detachAll();
  }

  setRxMode(command: number, on: boolean, options?: WaitOptions): Promise<void> {
    return this.command(NetCtrl.RX, command, [Uint8Array.of(on ? 1 : 0)], options);
  }

  setMac(mac: Uint8Array, options?: WaitOptions): Promise<void> {
    return this.command(NetCtrl.MAC, NetCtrlMac.ADDR_SET, [mac], options);
  }

  /** Two tables in two descriptors, as the legacy interface demands (virtio 1.4 §5.1.6.5.2.3). */
  setMacTable(
    unicast: readonly Uint8Array[],
    multicast: readonly Uint8Array[],
    options?: WaitOptions,
  ): Promise<void> {
    const tables = [macTable(unicast), macTable(multicast)];
    return this.command(NetCtrl.MAC, NetCtrlMac.TABLE_SET, tables, options);
  }

  setVlan(command: number, id: number, options?: WaitOptions): Promise<void> {
    return this.command(NetCtrl.VLAN, command, [u16(id)], options);
  }

  ackAnnounce(options?: WaitOptions): Promise<void> {
    return this.command(NetCtrl.ANNOUNCE, NET_CTRL_ANNOUNCE_ACK, [], options);
  }

  setPairs(pairs: number, options?: WaitOptions): Promise<void> {
    return this.command(NetCtrl.MQ, NetCtrlMq.VQ_PAIRS_SET, [u16(pairs)], options);
  }

  setRss(config: RssConfig, options?: WaitOptions): Promise<void> {
    const { types, key, table, unclassified, pairs } = config;
    const data = joinBytes(
      u32(types),
      u16(table.length - 1),
      u16(unclassified),
      ...table.map(u16),
      u16(pairs),
      Uint8Array.of(key.length),
      key,
    );
    return this.command(NetCtrl.MQ, NetCtrlMq.RSS_CONFIG, [data], options);
  }

  setHash({ types, key }: HashConfig, options?: WaitOptions): Promise<void> {
    const data = joinBytes(u32(types), new Uint8Array(8), Uint8Array.of(key.length), key);
    return this.command(NetCtrl.MQ, NetCtrlMq.HASH_CONFIG, [data], options);
  }

  setOffloads(bits: number, options?: WaitOptions): Promise<void> {
    const mask = new Uint8Array(8);
    new DataView(mask.buffer).setUint32(0, bits, true);
    return this.command(NetCtrl.GUEST_OFFLOADS, NET_CTRL_GUEST_OFFLOADS_SET, [mask], options);
  }

  async command(
    group: number,
    command: number,
    data: readonly Uint8Array[],
    options: WaitOptions = {},
  ): Promise<void> {
    const header = Uint8Array.of(group, command);
    // The ack is a trailer, whose value does not hang on the length that the device tells.
    const { trailer } = await exchange(
      this.#dma,
      this.#requests,
      this.#split ? [header, ...data] : [joinBytes(header, ...data)],
      0,
      { ...options, trailer: 1 },
    );
    if (trailer[0] === NetAck.OK) return;
    throw new VireoError("COMMAND_REFUSED", `Command ${group}.${command} was refused`, {
      device: this.#device,
      queue: this.#queue.index,
      seen: trailer[0],
      base: 16,
      expected: NetAck.OK,
    });
  }
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >>> 8);
}

function u32(value: number): Uint8Array {
  return joinBytes(u16(value & 0xffff), u16(value >>> 16));
}

function macTable(macs: readonly Uint8Array[]): Uint8Array {
  const table = new Uint8Array(4 + 6 * macs.length);
  new DataView(table.buffer).setUint32(0, macs.length, true);
  macs.forEach((mac, i) => table.set(mac, 4 + 6 * i));
  return table;
}
