import { P9Type } from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import { FakeDevice } from "../testing/fake_blk.ts";
import { P9 } from "./driver.ts";

const T = P9Type;
/** Requests that are about no fid that there is. */
const FIDLESS: ReadonlySet<number> = new Set([T.VERSION, T.ATTACH, T.FLUSH]);

/** Little-endian bytes of a number. */
const u16 = (value: number): number[] => [value & 255, value >> 8];
export const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)];
export const u64 = (value: number): number[] => [...u32(value >>> 0), ...u32(value / 2 ** 32)];
export const text = (word: string): number[] => [
  ...u16(word.length),
  ...new TextEncoder().encode(word),
];

/** A request as the server has it. */
export interface ServedRequest {
  readonly type: number;
  readonly tag: number;
  /** The fields after the header. */
  readonly body: DataView;
  /** Does what the request asks for. */
  serve(): void;
  /** Answers with fields after the header. @param used Bytes that it claims to have written. */
  reply(body: readonly number[], used?: number): void;
  /** Answers with an error. */
  refuse(errno: number): void;
}

/**
 * A strict server: it knows of each fid and tag that is in use. The first letter of a name is the kind of the file:
 * `d` a directory, `l` a symbolic link, `f` a file, which all have the same contents; others are not there.
 */
export class P9Server {
  readonly fake: FakeDevice = new FakeDevice();
  /** The device as the driver that was opened last has it. */
  device!: VirtioDevice;
  readonly seen: ServedRequest[] = [];
  /** The broken rules. */
  readonly mistakes: string[] = [];
  /** The name of the file of each fid. */
  readonly fids: Map<number, string> = new Map();
  /** The largest fid so far. */
  highest = 0;
  /** Where links point to. */
  links: Readonly<Record<string, string>> = {};
  /** Whether it walks through links itself, which it must leave to the driver. */
  walksLinks = false;
  contents: Uint8Array = new Uint8Array(0);
  /** Size that it says the files have; that of the contents by default. */
  size: number | undefined;
  msize = 8192;
  ioUnit = 0;
  /** Most bytes of one read or write. */
  atOnce: number = Infinity;
  /** Is asked first; true if it answers itself, now or later. */
  script: ((request: ServedRequest) => boolean) | undefined;
  readonly #tags = new Set<number>();

  constructor() {
    const { config } = this.fake;
    config.setUint16(0, 2, true);
    config.setUint16(2, 0x6968, true);
    this.fake.script = (request) => {
      const bytes = request.readable;
      const view = new DataView(bytes.buffer);
      const [length, type, tag] = [view.getUint32(0, true), bytes[4]!, view.getUint16(5, true)];
      if (length !== bytes.length) this.mistakes.push(`length ${length}, not ${bytes.length}`);
      if (this.#tags.has(tag)) this.mistakes.push(`tag ${tag} is in use`);
      this.#tags.add(tag);
      const answer = (type: number, body: readonly number[], used = 7 + body.length): void => {
        this.#tags.delete(tag);
        request.fill(Uint8Array.from([...u32(7 + body.length), type, ...u16(tag), ...body]));
        request.complete(undefined, used);
        request.queue.interrupt();
      };
      const served: ServedRequest = {
        type,
        tag,
        body: new DataView(bytes.buffer, 7),
        serve: () => this.#serve(served),
        reply: (body, used) => answer(type + 1, body, used),
        refuse: (errno) => answer(T.LERROR + 1, u32(errno)),
      };
      this.seen.push(served);
      if (!FIDLESS.has(type)) this.#check(served.body.getUint32(0, true));
      if (!this.script?.(served)) served.serve();
    };
  }

  /** A driver of it. */
  open(): P9 {
    this.device = Object.assign(this.fake.device, { queues: this.fake.queues, ready() {} });
    return new P9(this.device);
  }

  /** How many requests of a type there were. */
  count(type: number): number {
    return this.seen.filter((request) => request.type === type).length;
  }

  /** Holds the next request of a type. */
  hold(type: number): Promise<ServedRequest> {
    return new Promise((resolve) => {
      this.script = (request) => {
        if (request.type !== type) return false;
        this.script = undefined;
        resolve(request);
        return true;
      };
    });
  }

  #check(fid: number): void {
    if (!this.fids.has(fid)) this.mistakes.push(`fid ${fid} is not known`);
  }

  #add(fid: number, name: string): void {
    if (this.fids.has(fid)) this.mistakes.push(`fid ${fid} is in use`);
    this.fids.set(fid, name);
    this.highest = Math.max(this.highest, fid);
  }

  #serve(request: ServedRequest): void {
    const { type, body, reply, refuse } = request;
    const fid = type === T.FLUSH ? 0 : body.getUint32(0, true);
    const name = this.fids.get(fid) ?? "";
    switch (type) {
      case T.VERSION:
        return reply([...u32(Math.min(fid, this.msize)), ...text("9P2000.L")]);
      case T.ATTACH:
        this.#add(fid, "d");
        return reply(qid("d"));
      case T.WALK:
        return this.#walk(request);
      case T.CLUNK:
        this.fids.delete(fid);
        return reply([]);
      case T.XATTRWALK:
        this.#add(body.getUint32(4, true), "f");
        return reply(u64(this.contents.length));
      case T.READ:
      case T.READDIR: {
        const offset = type === T.READ ? body.getUint32(4, true) : this.contents.length;
        const most = Math.min(body.getUint32(12, true), this.atOnce);
        const data = this.contents.slice(offset, offset + most);
        return reply([...u32(data.length), ...data]);
      }
      case T.WRITE: {
        const offset = body.getUint32(4, true);
        const data = new Uint8Array(body.buffer, 7 + 16).slice(0, this.atOnce);
        const all = new Uint8Array(Math.max(this.contents.length, offset + data.length));
        all.set(this.contents);
        all.set(data, offset);
        this.contents = all;
        return reply(u32(data.length));
      }
      case T.READLINK: {
        const target = this.links[name];
        return target === undefined ? refuse(22) : reply(text(target));
      }
    }
    const bodies: Readonly<Record<number, readonly number[]>> = {
      [T.LOPEN]: [...qid(name), ...u32(this.ioUnit)],
      [T.LCREATE]: [...qid(name), ...u32(this.ioUnit)],
      [T.SYMLINK]: qid("l"),
      [T.MKDIR]: qid("d"),
      [T.GETATTR]: [
        ...[...u64(0), ...qid(name), ...Array<number>(28).fill(0)],
        ...[...u64(this.size ?? this.contents.length), ...Array<number>(96).fill(0)],
      ],
    };
    reply(bodies[type] ?? []);
  }

  #walk({ body, reply, refuse }: ServedRequest): void {
    const [from, to] = [body.getUint32(0, true), body.getUint32(4, true)];
    let name = this.fids.get(from) ?? "";
    const count = body.getUint16(8, true);
    const qids: number[][] = [];
    let at = 10;
    for (let i = 0; i < count; i++) {
      const length = body.getUint16(at, true);
      if (name[0] !== "d" && !(this.walksLinks && name[0] === "l")) break;
      const next = new TextDecoder().decode(
        new Uint8Array(body.buffer, body.byteOffset + at + 2, length),
      );
      if (!/^[dfl]/.test(next)) break;
      at += 2 + length;
      qids.push(qid(name = next));
    }
    if (count > 0 && qids.length === 0) return refuse(name[0] === "d" ? 2 : 20);
    if (qids.length === count) {
      if (from === to) this.fids.set(to, name);
      else this.#add(to, name);
    }
    reply([...u16(qids.length), ...qids.flat()]);
  }
}

/** The qid of a file by its name. */
export function qid(name: string): number[] {
  const kind = name[0] === "d" ? 0x80 : name[0] === "l" ? 2 : 0;
  return [kind, ...Array<number>(12).fill(1)];
}
