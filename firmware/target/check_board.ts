import { TRACE_GROUPS } from "@vireo/hal/trace";
import { boardDevice } from "../devices/table.ts";
import type { WithOption } from "../devices/board_device.ts";
import type { BlkOption, NetOption } from "./option_values.ts";
import {
  BOARD_OPTIONS,
  type BoardOption,
  type BoardOptions,
  DEFAULT_BOARD,
  LEAST_MEMORY,
} from "./options.ts";
import { SERVED_NAMES } from "../serve/front_ends.ts";
import { parseTarget, targetBus } from "./target.ts";

/** A board of a caller, who may leave out any option, and all of a disk or device but its name. */
export type BoardInput =
  & { readonly [K in Exclude<keyof BoardOptions, "blk" | "with">]?: BoardOptions[K] | undefined }
  & {
    /** The disks; one memory disk if it is left out. */
    readonly blk?: readonly Partial<BlkOption>[] | undefined;
    /** The devices that the board has besides disks, wire, console and entropy. */
    readonly with?: readonly (Pick<WithOption, "name"> & Partial<WithOption>)[] | undefined;
  };

/** Checks a value: the condition that it must meet, or undefined if it does. */
type Check = (value: unknown) => string | undefined;

const flag: Check = (value) => typeof value === "boolean" ? undefined : "a boolean";
const text: Check = (value) => typeof value === "string" ? undefined : "text";
const optional = (check: Check): Check => (value) => value === undefined ? undefined : check(value);
const oneOf = (...values: readonly unknown[]): Check => (value) =>
  values.includes(value) ? undefined : values.map((one) => JSON.stringify(one)).join(" or ");
const filled: Check = (value) =>
  typeof value === "string" && value !== "" ? undefined : "text that is not empty";
const count = (min: number, max: number): Check => (value) =>
  Number.isInteger(value) && Number(value) >= min && Number(value) <= max
    ? undefined
    : `an integer from ${min} to ${max}`;
const powerOfTwo = (min: number, max: number): Check => (value) =>
  count(min, max)(value) === undefined && (Number(value) & (Number(value) - 1)) === 0
    ? undefined
    : `a power of two from ${min} to ${max}`;
const multiple = (unit: number): Check => (value) =>
  Number.isInteger(value) && Number(value) > 0 && Number(value) % unit === 0
    ? undefined
    : `a multiple of ${unit} above 0`;
const serial: Check = (value) =>
  typeof value === "string" && new TextEncoder().encode(value).length <= 20
    ? undefined
    : "text of at most 20 bytes";

/** An object with these fields and no others. */
function fields(what: string, checks: Readonly<Record<string, Check>>): Check {
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return what;
    for (const key of Object.keys(value)) {
      if (!Object.hasOwn(checks, key)) return `${what}, without '${key}'`;
    }
    for (const [key, check] of Object.entries(checks)) {
      const expected = check((value as Record<string, unknown>)[key]);
      if (expected !== undefined) return `${what}, whose ${key} is ${expected}`;
    }
    return undefined;
  };
}

const list = (each: Check): Check => (value) => {
  if (!Array.isArray(value)) return "an array";
  return value.map(each).find((expected) => expected !== undefined);
};

const device: Check = (value) => {
  const expected = fields("{ name, value? }", { name: filled, value: optional(text) })(value);
  if (expected !== undefined) return expected;
  try {
    boardDevice((value as WithOption).name);
    return undefined;
  } catch (error) {
    return (error as Error).message.replace(/^.*, there is/, "a device of");
  }
};

/** Checks of each option; the type has them all. */
const CHECKS: { readonly [K in keyof BoardOptions]: Check } = {
  target: filled,
  blk: list(fields("{ path?, readOnly?, serial?, blockSize? }", {
    path: optional(filled),
    readOnly: optional(flag),
    serial: optional(serial),
    blockSize: optional(powerOfTwo(512, 65536)),
  })),
  blkZoned: optional(
    fields("{ model, zoneSize?, capacity?, conventional?, maxOpen?, maxActive? }", {
      model: oneOf("host-managed", "host-aware"),
      zoneSize: optional(multiple(512)),
      capacity: optional(multiple(512)),
      conventional: optional(count(0, 65536)),
      maxOpen: optional(count(0, 65536)),
      maxActive: optional(count(0, 65536)),
    }),
  ),
  net: optional((value) => {
    const kinds = oneOf("hub", "user", "none");
    if ((value as NetOption | null)?.kind === "tap") {
      return fields('{ kind: "tap", name }', { kind: text, name: filled })(value);
    }
    return fields("{ kind }", { kind: (kind) => kinds(kind) && `${kinds(kind)} or "tap"` })(value);
  }),
  with: list(device),
  served: list(oneOf(...SERVED_NAMES)),
  transport: optional(oneOf("mmio", "pci")),
  legacy: flag,
  transitional: flag,
  forceLegacy: flag,
  packed: flag,
  inOrder: flag,
  notificationData: flag,
  platformIommu: flag,
  queueSize: optional(powerOfTwo(1, 32768)),
  indirect: flag,
  eventIdx: flag,
  qemu: optional(filled),
  qemuArgs: list(text),
  devices: list(filled),
  kernel: optional(filled),
  accel: optional(oneOf("tcg", "kvm")),
  memory: optional(count(LEAST_MEMORY, 65536)),
  smp: optional(count(1, 64)),
  mmio: optional(filled),
  unbind: flag,
  poll: flag,
  trace: optional(list(oneOf(...TRACE_GROUPS))),
  traceDevices: list(filled),
  traceFile: optional(filled),
  stats: flag,
  record: optional(filled),
  traceData: count(0, 65536),
};

/**
 * Checks what a program asks of a board, and fills in what it leaves out. The command line checks its own
 * words before.
 *
 * @throws {TypeError} If an option is unknown, of another type, or not for the target.
 * @throws {RangeError} If a number is out of its range.
 * @throws {UsageError} If there is no such target.
 */
export function checkBoard(given: BoardInput): BoardOptions {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new TypeError(`Cannot open a board of ${show(given)}: expected an object of options`);
  }
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(CHECKS, key)) throw unknownOption(key);
    if (value === undefined) continue;
    const expected = CHECKS[key as keyof BoardOptions](value);
    if (expected === undefined) continue;
    const message = `Cannot open a board with ${key} ${show(value)}: expected ${expected}`;
    throw typeof value === "number" ? new RangeError(message) : new TypeError(message);
  }
  const said = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  ) as Partial<BoardOptions>;
  const board: BoardOptions = {
    ...DEFAULT_BOARD,
    ...said,
    blk: (given.blk ?? DEFAULT_BOARD.blk).map((disk) => ({ ...NO_DISK, ...disk })),
    with: (given.with ?? []).map(({ name, value }) => ({ name, value })),
  };
  refuse(board);
  return board;
}

const NO_DISK: BlkOption = {
  path: undefined,
  readOnly: false,
  serial: undefined,
  blockSize: undefined,
};

/** Looks whether the options can be together, as the command line does. */
function refuse(board: BoardOptions): void {
  const target = parseTarget(board.target);
  const { transport, legacy, transitional } = board;
  const bus = target.kind === "emu" ? transport ?? "mmio" : targetBus(target);
  for (const [name, row] of Object.entries<BoardOption>(BOARD_OPTIONS)) {
    const value = board[name as keyof BoardOptions];
    const otherwise = DEFAULT_BOARD[name as keyof BoardOptions];
    if (JSON.stringify(value) === JSON.stringify(otherwise)) continue;
    const { targets } = row;
    const why = targets?.includes(target.kind) === false
      ? `it is for ${targets.join(" and ")} targets`
      : row.refuse?.(wordOf(value) as never, { target: board.target, bus, legacy, transitional });
    if (why === undefined) continue;
    throw new TypeError(`Cannot open ${board.target} with ${name} ${show(value)}: ${why}`);
  }
}

/** A wire by its word on the command line, anything else as it is. */
function wordOf(value: unknown): unknown {
  return typeof value === "object" && value !== null && "kind" in value ? value.kind : value;
}

function unknownOption(key: string): TypeError {
  const names = Object.keys(CHECKS);
  const near = names.find((name) =>
    name.toLowerCase() === key.toLowerCase().replaceAll(/[-_]/g, "")
  );
  return new TypeError(
    `Cannot open a board with the option '${key}': ` +
      (near === undefined ? `expected one of ${names.join(", ")}` : `it is called '${near}'`),
  );
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}
