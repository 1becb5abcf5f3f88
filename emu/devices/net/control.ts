import {
  NET_CTRL_ANNOUNCE_ACK,
  NET_CTRL_GUEST_OFFLOADS_SET,
  NET_GUEST_OFFLOADS,
  NetAck,
  NetCtrl,
  NetCtrlMac,
  NetCtrlMq,
  NetCtrlRx,
  NetCtrlVlan,
  NetFeature,
} from "@vireo/hal";
import type { Chain, DeviceContext } from "../../device.ts";
import { macNumber, MAX_FILTER_ADDRESSES, type RxFilter } from "./filter.ts";

/** The parts of a device that control commands change. */
export interface ControlTarget {
  readonly filter: RxFilter;
  readonly maxPairs: number;
  setMac(mac: Uint8Array): void;
  setPairs(pairs: number): void;
  /** Takes RSS_CONFIG; false if something is out of range. */
  setRss(chain: Chain): boolean;
  /** Takes HASH_CONFIG, as `setRss` does. */
  setHash(chain: Chain): boolean;
  setOffloads(bits: number): void;
  ackAnnounce(): void;
}

const MAC_SIZE = 6;

/**
 * Runs one control command (virtio 1.4 §5.1.6.5).
 *
 * @returns The ack; what a command changes has changed before the chain is returned.
 */
export function runControl(chain: Chain, context: DeviceContext, target: ControlTarget): NetAck {
  const group = chain.readU8();
  const command = chain.readU8();
  const has = (bit: number): boolean => context.features.has(bit);
  let done = false;
  switch (group) {
    case NetCtrl.RX:
      done = runRx(chain, command, has, target);
      break;
    case NetCtrl.MAC:
      done = runMac(chain, command, has, target);
      break;
    case NetCtrl.VLAN:
      done = has(NetFeature.CTRL_VLAN) && chain.readableLeft === 2 &&
        (command === NetCtrlVlan.ADD || command === NetCtrlVlan.DEL) &&
        target.filter.setVlan(chain.readU16(), command === NetCtrlVlan.ADD);
      break;
    case NetCtrl.ANNOUNCE:
      done = has(NetFeature.GUEST_ANNOUNCE) && command === NET_CTRL_ANNOUNCE_ACK;
      if (done) target.ackAnnounce();
      break;
    case NetCtrl.MQ:
      done = runMq(chain, command, has, target);
      break;
    case NetCtrl.GUEST_OFFLOADS:
      done = has(NetFeature.CTRL_GUEST_OFFLOADS) && command === NET_CTRL_GUEST_OFFLOADS_SET &&
        runOffloads(chain, has, target);
      break;
  }
  return done ? NetAck.OK : NetAck.ERR;
}

type Has = (bit: number) => boolean;

function runRx(chain: Chain, command: number, has: Has, target: ControlTarget): boolean {
  const needed = command <= NetCtrlRx.ALLMULTI ? NetFeature.CTRL_RX : NetFeature.CTRL_RX_EXTRA;
  if (!has(needed) || chain.readableLeft !== 1) return false;
  return target.filter.setMode(command, chain.readU8() !== 0);
}

function runMac(chain: Chain, command: number, has: Has, target: ControlTarget): boolean {
  if (command === NetCtrlMac.ADDR_SET) {
    if (!has(NetFeature.CTRL_MAC_ADDR) || chain.readableLeft !== MAC_SIZE) return false;
    const mac = new Uint8Array(MAC_SIZE);
    chain.read(mac);
    target.setMac(mac);
    return true;
  }
  if (command !== NetCtrlMac.TABLE_SET || !has(NetFeature.CTRL_RX)) return false;
  const unicast = readTable(chain);
  const multicast = unicast === undefined ? undefined : readTable(chain);
  if (unicast === undefined || multicast === undefined || chain.readableLeft !== 0) return false;
  target.filter.setTable(unicast, multicast);
  return true;
}

function readTable(chain: Chain): number[] | undefined {
  if (chain.readableLeft < 4) return undefined;
  const entries = chain.readU32();
  if (entries > MAX_FILTER_ADDRESSES || chain.readableLeft < entries * MAC_SIZE) return undefined;
  const mac = new Uint8Array(MAC_SIZE);
  const table: number[] = [];
  for (let i = 0; i < entries; i++) {
    chain.read(mac);
    table.push(macNumber(mac, 0));
  }
  return table;
}

function runMq(chain: Chain, command: number, has: Has, target: ControlTarget): boolean {
  switch (command) {
    case NetCtrlMq.VQ_PAIRS_SET:
      return has(NetFeature.MQ) && runPairs(chain, target);
    case NetCtrlMq.RSS_CONFIG:
      return has(NetFeature.RSS) && target.setRss(chain);
    case NetCtrlMq.HASH_CONFIG:
      return has(NetFeature.HASH_REPORT) && target.setHash(chain);
  }
  return false;
}

function runPairs(chain: Chain, target: ControlTarget): boolean {
  if (chain.readableLeft !== 2) return false;
  const pairs = chain.readU16();
  if (pairs < 1 || pairs > target.maxPairs) return false;
  target.setPairs(pairs);
  return true;
}

function runOffloads(chain: Chain, has: Has, target: ControlTarget): boolean {
  if (chain.readableLeft !== 8) return false;
  const low = chain.readU32();
  const high = chain.readU32();
  let known = 0;
  for (const bit of NET_GUEST_OFFLOADS) if (has(bit)) known |= 1 << bit;
  if (high !== 0 || (low & ~known) !== 0) return false;
  target.setOffloads(low);
  return true;
}
