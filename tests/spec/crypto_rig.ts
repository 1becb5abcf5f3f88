/**
 * A crypto device with one data queue that is driven by raw requests.
 *
 * @module
 */
import { CryptoDevice, type CryptoDeviceOptions } from "@vireo/emu";
import { RawRig } from "./raw_rig.ts";
import { at, le } from "./recorder.ts";

/** Bytes that count up from a number. */
export const bytes = (length: number, from = 1): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length }, (_, i) => from + i);

/** Numbers of 4 bytes and bytes, with zeroes up to a length. */
export const padded = (size: number, ...parts: readonly (number | Uint8Array)[]): Uint8Array => {
  const whole = new Uint8Array(size);
  whole.set(le(...parts));
  return whole;
};

/** A data request: the words of its header, its fixed part, the readable rest, and the rooms of the results. */
interface CryptoAsk {
  readonly opcode: number;
  readonly algo: number;
  readonly id: number;
  readonly flag: number;
  readonly fixed: Uint8Array;
  readonly rest: Uint8Array;
  readonly rooms: readonly number[];
}

/** The device and its raw driver. */
export class CryptoRig extends RawRig<CryptoDevice> {
  constructor(options: CryptoDeviceOptions = {}) {
    super(new CryptoDevice(options));
  }

  /** Creates a session: its status and id. */
  async create(
    opcode: number,
    algo: number,
    fixed: Uint8Array,
    key: Uint8Array = le(),
  ): Promise<{ id: number; status: number }> {
    const read = le(opcode, algo, 0, 0, fixed, key);
    const { bytes } = await this.driver.request(1, [{ read }, { write: 16 }]);
    return { id: at(bytes[0]!, 0, 8), status: at(bytes[0]!, 8) };
  }

  /** Makes a data request: its status and results. */
  async ask(
    { opcode, algo, id, flag, fixed, rest, rooms }: CryptoAsk,
  ): Promise<{ status: number; results: readonly Uint8Array[] }> {
    const read = le(opcode, algo, [id, 8], flag, 0, fixed, rest);
    const { bytes } = await this.driver.request(0, [
      { read },
      ...rooms.map((write) => ({ write })),
      { write: 1 },
    ]);
    return { status: bytes.at(-1)![0]!, results: bytes.slice(0, -1) };
  }
}
