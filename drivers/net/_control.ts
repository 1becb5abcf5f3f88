import {
  type Dma,
  NET_CTRL_ANNOUNCE_ACK,
  NET_CTRL_GUEST_OFFLOADS_SET,
  NET_CTRL_MQ_VQ_PAIRS_SET,
  NetAck,
  NetCtrl,
  NetCtrlMac,
  VireoError,
} from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { SgList, type Virtqueue } from "../virtqueue/virtqueue.ts";

/** What the ack is before the device wrote it; no device writes this. */
const NO_ACK = 0xff;

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
    return this.command(NetCtrl.MQ, NET_CTRL_MQ_VQ_PAIRS_SET, [u16(pairs)], options);
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
    const size = data.reduce((sum, part) => sum + part.length, 2);
    const region = this.#dma.alloc(size + 1);
    const { bytes } = region;
    bytes[0] = group;
    bytes[1] = command;
    bytes[size] = NO_ACK;
    let at = 2;
    for (const part of data) {
      bytes.set(part, at);
      at += part.length;
    }
    // Only now: a machine that bounces copies at that moment.
    let address = region.share(0, size, "to-device");
    const chain = new SgList(data.length + 2);
    if (this.#split) {
      chain.addReadable(address, 2);
      address += 2;
      for (const part of data) {
        chain.addReadable(address, part.length);
        address += part.length;
      }
    } else {
      chain.addReadable(address, size);
    }
    chain.addWritable(region.share(size, 1, "both"), 1);
    let owners = 2;
    const release = (): void => {
      if (--owners === 0) region[Symbol.dispose]();
    };
    try {
      await this.#requests.submit(chain, { ...options, onReturned: release });
      region.unshare(0, size, "to-device");
      region.unshare(size, 1, "both");
      const ack = bytes[size]!;
      if (ack === NetAck.OK) return;
      throw new VireoError("COMMAND_REFUSED", `Command ${group}.${command} was refused`, {
        device: this.#device,
        queue: this.#queue.index,
        seen: ack,
        base: 16,
        expected: NetAck.OK,
      });
    } finally {
      release();
    }
  }
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >>> 8);
}

function macTable(macs: readonly Uint8Array[]): Uint8Array {
  const table = new Uint8Array(4 + 6 * macs.length);
  new DataView(table.buffer).setUint32(0, macs.length, true);
  macs.forEach((mac, i) => table.set(mac, 4 + 6 * i));
  return table;
}
