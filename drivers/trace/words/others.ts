import {
  BALLOON_STAT,
  BalloonHint,
  BalloonStat,
  CaifQueue,
  counted,
  INPUT_EVENT,
  InputSyn,
  InputType,
  RPMSG_HDR,
  RPMSG_NS,
  RPMSG_NS_ADDRESS,
  RpmsgNs,
} from "@vireo/hal";
import { bytesText, nameOf, textOf } from "./names.ts";
import type { DeviceWords } from "./places.ts";

/** Words of the entropy device (virtio 1.4 §5.4). */
export const RNG_WORDS: DeviceWords = {
  request: ({ writable }) => `rng ${bytesText(writable)}`,
  answer: ({ length }) => `rng gave ${bytesText(length)}`,
};

/** Words of the balloon (virtio 1.4 §5.5.6). */
export const BALLOON_WORDS: DeviceWords = {
  request: ({ name, readable, writable }, view) => {
    if (name === "inflate" || name === "deflate") {
      return `balloon ${name} ${counted(readable >> 2, "page")}`;
    }
    if (name === "stats") return readable === 0 ? undefined : `balloon stats${stats(view)}`;
    // Ranges of free pages: the device may throw their contents away.
    if (readable === 0) return `balloon ${name} ${bytesText(writable)}`;
    if (view.byteLength < 4) return `balloon ${name}`;
    const command = view.getUint32(0, true);
    return `balloon ${name} ${
      command === BalloonHint.STOP || command === BalloonHint.DONE
        ? nameOf(BalloonHint, command)
        : `round ${command}`
    }`;
  },
  answer: ({ request }) => request && `${request}: taken`,
};

function stats(view: DataView): string {
  let text = "";
  for (let at = 0; at + BALLOON_STAT.SIZE <= view.byteLength; at += BALLOON_STAT.SIZE) {
    const value = view.getBigUint64(at + BALLOON_STAT.val.offset, true);
    const tag = view.getUint16(at + BALLOON_STAT.tag.offset, true);
    text += ` ${nameOf(BalloonStat, tag)} ${value}`;
  }
  return text;
}

/** Words of the input device (virtio 1.4 §5.8.6). */
export const INPUT_WORDS: DeviceWords = {
  request: ({ readable }, view) => readable === 0 ? undefined : inputEvent(view),
  answer: ({ request }, view) => request === undefined ? inputEvent(view) : `${request}: taken`,
};

function inputEvent(view: DataView): string | undefined {
  if (view.byteLength < INPUT_EVENT.SIZE) return undefined;
  const type = view.getUint16(INPUT_EVENT.type.offset, true);
  const code = view.getUint16(INPUT_EVENT.code.offset, true);
  const value = view.getInt32(INPUT_EVENT.value.offset, true);
  if (type === InputType.SYN) return `input SYN ${nameOf(InputSyn, code)}`;
  return `input ${nameOf(InputType, type)} code ${code} value ${value}`;
}

/** Words of the messages of remote processors (Linux `virtio_rpmsg_bus.c`). */
export const RPMSG_WORDS: DeviceWords = {
  request: ({ bytes, readable }, view) => message(bytes, readable, view),
  answer: ({ bytes, request, length }, view) =>
    request === undefined ? message(bytes, length, view) : `${request}: sent`,
};

function message(bytes: Uint8Array, length: number, view: DataView): string | undefined {
  if (length < RPMSG_HDR.SIZE || view.byteLength < RPMSG_HDR.SIZE) return undefined;
  const u32 = (at: number): number => view.getUint32(at, true);
  const [source, target] = [u32(RPMSG_HDR.src.offset), u32(RPMSG_HDR.dst.offset)];
  const end = RPMSG_HDR.SIZE + RPMSG_NS.SIZE;
  if (target !== RPMSG_NS_ADDRESS || view.byteLength < end) {
    const size = bytesText(view.getUint16(RPMSG_HDR.len.offset, true));
    return `rpmsg message ${source} > ${target} ${size}`;
  }
  const at = (field: number): number => RPMSG_HDR.SIZE + field;
  const name = textOf(bytes.subarray(at(RPMSG_NS.name.offset), at(RPMSG_NS.addr.offset)));
  const what = nameOf(RpmsgNs, u32(at(RPMSG_NS.flags.offset)));
  return `rpmsg name ${what} ${name} at ${u32(at(RPMSG_NS.addr.offset))}`;
}

/** Words of the CAIF device (Linux `virtio_caif.h`). */
export const CAIF_WORDS: DeviceWords = {
  request: ({ readable }) => readable === 0 ? undefined : `caif frame in ${bytesText(readable)}`,
  answer: ({ request, queue }) =>
    request && `${request}: ${queue === CaifQueue.RECEIVE ? "received" : "sent"}`,
};
