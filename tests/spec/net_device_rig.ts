/**
 * A network device with a raw driver in front of it and its wire at hand, and frames: every number is typed from
 * virtio 1.4 §5.1.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { EmulatedMachine, NetDevice, type NetDeviceOptions } from "@vireo/emu";
import { MockDriver } from "@vireo/emu/testing";
import { FeatureSet } from "@vireo/hal";
import { Hub } from "../../emu/backends/hub.ts";
import { Accept, type NetBackend, NO_OFFLOAD, Offload } from "../../emu/backends/net_backend.ts";
import { fold, words } from "./checksum.ts";
import { at, le } from "./recorder.ts";

const VERSION_1 = 32;
/** Feature bits of the network device (virtio 1.4 §5.1.3). */
export const F = {
  CSUM: 0,
  GUEST_CSUM: 1,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  GUEST_UFO: 10,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  HASH_REPORT: 57,
  RSS: 60,
} as const;
/** All receive offloads. */
export const ALL: readonly number[] = [
  F.GUEST_CSUM,
  F.GUEST_TSO4,
  F.GUEST_TSO6,
  F.GUEST_ECN,
  F.GUEST_UFO,
];
/** The device's address. */
export const MAC: Uint8Array = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
/** Another one. */
export const OTHER: Uint8Array = Uint8Array.of(2, 0, 0, 0, 0, 9);

/** A device, a raw driver that accepts what it is told to, and the other end of the wire. */
export class Rig implements AsyncDisposable {
  readonly hub: Hub = new Hub();
  readonly wire: NetBackend = this.hub.port();
  readonly out: {
    readonly bytes: Uint8Array;
    readonly needsCsum: boolean;
    readonly valid: boolean;
  }[] = [];
  readonly model: NetDevice;
  readonly machine: EmulatedMachine;
  readonly driver: MockDriver;

  constructor(features: readonly number[], options: Partial<NetDeviceOptions> = {}) {
    this.model = new NetDevice({ backend: this.hub.port(), mac: MAC, ...options });
    this.wire.connect({
      accepts: Accept.ALL,
      flush: () => {},
      receive: (bytes, offset, length, { needsCsum, dataValid }) =>
        this.out.push({ bytes: bytes.slice(offset, offset + length), needsCsum, valid: dataValid }),
    });
    this.machine = EmulatedMachine.create({ devices: [this.model] });
    this.driver = new MockDriver(this.machine);
    this.init(features);
  }

  init(features: readonly number[]): void {
    assertEquals(this.driver.init(FeatureSet.of(VERSION_1, ...features)), 15);
  }

  /** A frame comes from the wire. */
  receive(bytes: Uint8Array, offload: Offload = NO_OFFLOAD): void {
    this.wire.send(bytes, 0, bytes.length, offload);
    this.wire.flush();
  }

  /** Sends frames through buffers of one size; what the driver sees, packet by packet. */
  async packets(
    bytes: Uint8Array,
    offload: Offload,
    size = 4096,
    count = 60,
  ): Promise<Uint8Array[]> {
    const queue = this.driver.queues[0]!;
    const buffers = Array.from({ length: count }, () => queue.add([{ write: size }]));
    queue.kick();
    this.receive(bytes, offload);
    const used = await this.driver.until(Promise.all(buffers.slice(0, queue.usedIndex)));
    const packets: Uint8Array[] = [];
    for (let i = 0; i < used.length;) {
      const parts = at(used[i]!.bytes[0]!, 10, 2);
      const pieces = used.slice(i, i += parts).map(({ bytes, written }) =>
        bytes[0]!.subarray(0, written)
      );
      packets.push(le(...pieces));
    }
    return packets;
  }

  /** A command; its ack. */
  async control(...bytes: number[]): Promise<number> {
    const index = this.driver.queues.length - 1;
    const used = await this.driver.request(index, [{ read: Uint8Array.from(bytes) }, { write: 1 }]);
    return used.bytes[0]![0]!;
  }

  /** Whether a frame reaches the driver. */
  passes(bytes: Uint8Array): boolean {
    const { rxFrames } = this.model.stats;
    const queue = this.driver.queues[0]!;
    void queue.add([{ write: 4096 }]);
    queue.kick();
    this.receive(bytes);
    return this.model.stats.rxFrames > rxFrames;
  }

  [Symbol.asyncDispose](): Promise<void> {
    assertEquals(this.machine.violations(), []);
    return this.machine[Symbol.asyncDispose]();
  }
}

/** A frame of an experimental type. */
export function frame(
  length: number,
  to: Uint8Array = MAC,
  type: number[] = [0x88, 0xb5],
): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => i * 7);
  bytes.set(to);
  bytes.set(OTHER, 6);
  bytes.set(type, 12);
  return bytes;
}

/** A large packet that the device must cut, and where its checksum begins. */
export function large(
  kind: "tcpv4" | "tcpv6" | "udp",
  payload: number,
): { bytes: Uint8Array; start: number } {
  const v4 = kind !== "tcpv6";
  const start = v4 ? 34 : 54;
  const header = kind === "udp" ? 8 : 20;
  const bytes = new Uint8Array(start + header + payload);
  bytes.set(MAC);
  bytes.set(OTHER, 6);
  const view = new DataView(bytes.buffer);
  view.setUint16(12, v4 ? 0x0800 : 0x86dd);
  const protocol = kind === "udp" ? 17 : 6;
  if (v4) {
    bytes.set([0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 14);
    view.setUint16(16, 20 + header + payload);
  } else {
    bytes.set([0x60, 0, 0, 0, 0, 0, protocol, 64], 14);
    view.setUint16(18, header + payload);
    bytes[53] = 2;
  }
  if (kind === "udp") view.setUint16(start + 4, 8 + payload);
  else bytes.set([0x10, 0, 0x20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x50, 0x18], start);
  for (let i = start + header; i < bytes.length; i++) bytes[i] = i * 11;
  view.setUint16(start + (kind === "udp" ? 6 : 16), fold(pseudo(bytes)));
  return { bytes, start };
}

const startOf = (bytes: Uint8Array): number => bytes[12] === 0x86 ? 54 : 34;

function pseudo(bytes: Uint8Array): number {
  const start = startOf(bytes);
  const protocol = start === 34 ? bytes[23]! : bytes[20]!;
  return words(bytes.subarray(start === 34 ? 26 : 22, start)) + protocol + bytes.length - start;
}

/** Whether the checksum of a TCP packet is right. */
export const sound = (bytes: Uint8Array): boolean =>
  fold(pseudo(bytes) + words(bytes.subarray(startOf(bytes)))) === 0xffff;

/** A checksum to complete, and how to cut the packet. */
export function offload(start: number, offset: number, gsoType = 0, gsoSize = 0): Offload {
  const work = new Offload();
  Object.assign(work, { needsCsum: true, csumStart: start, csumOffset: offset, gsoType, gsoSize });
  return work;
}
