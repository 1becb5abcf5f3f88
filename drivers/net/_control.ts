import {
  type Dma,
  type FeatureSet,
  joinBytes,
  NET_CTRL_ANNOUNCE_ACK,
  NET_CTRL_GUEST_OFFLOADS_SET,
  NetAck,
  NetCtrl,
  NetCtrlCoal,
  NetCtrlMac,
  NetCtrlMq,
  VireoError,
} from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import { exchange } from "../virtqueue/exchange.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import type { Virtqueue } from "../virtqueue/virtqueue.ts";
import type { CoalescingParameters, QueueKind } from "./coalescing.ts";
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

  setOffloads(features: FeatureSet, options?: WaitOptions): Promise<void> {
    const mask = joinBytes(u32(features.word(0)), u32(features.word(1)));
    return this.command(NetCtrl.GUEST_OFFLOADS, NET_CTRL_GUEST_OFFLOADS_SET, [mask], options);
  }

  setCoalescing(
    kind: QueueKind,
    parameters: CoalescingParameters,
    options?: WaitOptions,
  ): Promise<void> {
    const command = kind === "tx" ? NetCtrlCoal.TX_SET : NetCtrlCoal.RX_SET;
    return this.command(NetCtrl.NOTF_COAL, command, [coalescing(parameters)], options);
  }

  setQueueCoalescing(
    index: number,
    parameters: CoalescingParameters,
    options?: WaitOptions,
  ): Promise<void> {
    const data = joinBytes(u16(index), u16(0), coalescing(parameters));
    return this.command(NetCtrl.NOTF_COAL, NetCtrlCoal.VQ_SET, [data], options);
  }

  /** The device writes the result behind the ack, so that neither is a trailer. */
  async queueCoalescing(index: number, options?: WaitOptions): Promise<CoalescingParameters> {
    const { NOTF_COAL } = NetCtrl;
    const { VQ_GET } = NetCtrlCoal;
    const command = joinBytes(Uint8Array.of(NOTF_COAL, VQ_GET), u16(index), u16(0));
    const { bytes } = await exchange(this.#dma, this.#requests, [command], [1, 8], options);
    if (bytes[0] !== NetAck.OK) throw this.#refused(NOTF_COAL, VQ_GET, bytes[0]);
    if (bytes.length < 9) {
      throw new VireoError("BAD_LENGTH", "Device answered with too few coalescing parameters", {
        device: this.#device,
        queue: this.#queue.index,
        seen: bytes.length,
        expected: 9,
      });
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return { maxPackets: view.getUint32(1, true), maxUsecs: view.getUint32(5, true) };
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
    throw this.#refused(group, command, trailer[0]);
  }

  #refused(group: number, command: number, seen: number | undefined): VireoError {
    return new VireoError("COMMAND_REFUSED", `Command ${group}.${command} was refused`, {
      device: this.#device,
      queue: this.#queue.index,
      ...seen === undefined ? {} : { seen, base: 16 },
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

function coalescing({ maxPackets, maxUsecs }: CoalescingParameters): Uint8Array {
  return joinBytes(u32(maxPackets), u32(maxUsecs));
}

function macTable(macs: readonly Uint8Array[]): Uint8Array {
  const table = new Uint8Array(4 + 6 * macs.length);
  new DataView(table.buffer).setUint32(0, macs.length, true);
  macs.forEach((mac, i) => table.set(mac, 4 + 6 * i));
  return table;
}
