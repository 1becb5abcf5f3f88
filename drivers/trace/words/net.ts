import {
  counted,
  NET_CTRL_ANNOUNCE_ACK,
  NET_CTRL_GUEST_OFFLOADS_SET,
  NetAck,
  NetCtrl,
  NetCtrlCoal,
  NetCtrlMac,
  NetCtrlMq,
  NetCtrlRx,
  NetCtrlVlan,
  NetFeature,
  NetHashType,
  netHeaderSize,
} from "@vireo/hal";
import { describeFrame } from "../frames.ts";
import { bitsOf, nameOf } from "./names.ts";
import type { DeviceWords, QueuePlace } from "./places.ts";

/** The commands of each class (virtio 1.4 §5.1.9.5). */
const COMMANDS: Readonly<Record<number, Readonly<Record<string, number>>>> = {
  [NetCtrl.RX]: NetCtrlRx,
  [NetCtrl.MAC]: NetCtrlMac,
  [NetCtrl.VLAN]: NetCtrlVlan,
  [NetCtrl.ANNOUNCE]: { ACK: NET_CTRL_ANNOUNCE_ACK },
  [NetCtrl.MQ]: NetCtrlMq,
  [NetCtrl.GUEST_OFFLOADS]: { SET: NET_CTRL_GUEST_OFFLOADS_SET },
  [NetCtrl.NOTF_COAL]: NetCtrlCoal,
};
/** Class and command. */
const HEADER = 2;

/** Words of the network device (virtio 1.4 §5.1.6). */
export const NET_WORDS: DeviceWords = {
  request: (request, view) => {
    if (request.readable === 0) return undefined;
    if (isControl(request)) return control(view);
    return `net ${describeFrame(request.bytes.subarray(netHeaderSize(request.features)))}`;
  },
  answer: (answer, view) => {
    const { request, bytes, last } = answer;
    if (request === undefined) {
      return `net ${describeFrame(bytes.subarray(netHeaderSize(answer.features)))}`;
    }
    if (!isControl(answer)) return `${request}: sent`;
    // VQ_GET has its result behind the ack.
    const ack = request.startsWith(VQ_GET) ? bytes[0] : last;
    const text = `${request}: ${ack === undefined ? "no ack" : nameOf(NetAck, ack)}`;
    return request.startsWith(VQ_GET) && ack === NetAck.OK && bytes.length >= 9
      ? `${text}, ${coalescing(view, 1)}`
      : text;
  },
};

const VQ_GET = "net control NOTF_COAL VQ_GET ";

function isControl({ name }: QueuePlace): boolean {
  return name === "control" || name === "controlq";
}

function control(view: DataView): string {
  if (view.byteLength < HEADER) return "net control";
  const [type, code] = [view.getUint8(0), view.getUint8(1)];
  const text = `net control ${nameOf(NetCtrl, type)} ${nameOf(COMMANDS[type] ?? {}, code)}`;
  const fields = commandFields(type, code, view);
  return fields === undefined ? text : `${text} ${fields}`;
}

/** Puts the data of a command into words; undefined if it has none, or is too short for it. */
function commandFields(type: number, code: number, view: DataView): string | undefined {
  const size = view.byteLength - HEADER;
  const u16 = (at: number): number => view.getUint16(HEADER + at, true);
  const u32 = (at: number): number => view.getUint32(HEADER + at, true);
  switch (type) {
    case NetCtrl.RX:
      return size < 1 ? undefined : view.getUint8(HEADER) === 0 ? "off" : "on";
    case NetCtrl.MAC: {
      if (code === NetCtrlMac.ADDR_SET) return size < 6 ? undefined : macText(view, HEADER);
      if (size < 4) return undefined;
      const [unicast, second] = [u32(0), 4 + 6 * u32(0)];
      const multicast = second + 4 > size ? "" : ` and ${u32(second)} multicast`;
      return `${unicast} unicast${multicast}`;
    }
    case NetCtrl.VLAN:
      return size < 2 ? undefined : `${u16(0)}`;
    case NetCtrl.MQ: {
      if (code === NetCtrlMq.VQ_PAIRS_SET) return size < 2 ? undefined : `${u16(0)}`;
      if (size < 8) return undefined;
      const types = bitsOf(NetHashType, u32(0)) || "no hash";
      if (code === NetCtrlMq.HASH_CONFIG) return types;
      const table = u16(4) + 1;
      const pairs = size < 10 + 2 * table
        ? ""
        : `, ${counted(u16(8 + 2 * table), "transmit queue")}`;
      return `${types}, table of ${table}, else queue ${u16(6)}${pairs}`;
    }
    case NetCtrl.GUEST_OFFLOADS:
      return size < 8 ? undefined : offloads([u32(0), u32(4)]);
    case NetCtrl.NOTF_COAL: {
      const all = code === NetCtrlCoal.TX_SET || code === NetCtrlCoal.RX_SET;
      if (all) return size < 8 ? undefined : coalescing(view, HEADER);
      if (size < 4) return undefined;
      return size < 12 ? `queue ${u16(0)}` : `queue ${u16(0)} ${coalescing(view, HEADER + 4)}`;
    }
    default:
      return undefined;
  }
}

function offloads(words: readonly [number, number]): string {
  const names = Object.entries(NetFeature)
    .filter(([, bit]) => (words[bit >> 5]! >>> (bit & 31) & 1) === 1)
    .map(([name]) => name);
  return names.join("|") || "none";
}

function coalescing(view: DataView, at: number): string {
  const packets = view.getUint32(at, true);
  return `${counted(packets, "packet")} ${view.getUint32(at + 4, true)} us`;
}

function macText(view: DataView, at: number): string {
  const bytes = [0, 1, 2, 3, 4, 5].map((i) => view.getUint8(at + i));
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
