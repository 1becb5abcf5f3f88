import type { InputDevice } from "@vireo/emu";
import { type Input, inputDriver, type InputEvent } from "@vireo/drivers/input";
import { InputType, nameIn } from "@vireo/hal";
import { parseCount, UsageError } from "../terminal/usage.ts";
import type { JsonFlag } from "./command.ts";
import type { Vireo } from "../vireo.ts";

const typeName = (type: number): string => nameIn(InputType, type) ?? `type ${type}`;

function describe(input: Input): Record<string, unknown> {
  return {
    name: input.name,
    serial: input.serial,
    ids: input.ids ?? null,
    properties: [...input.properties],
    codes: Object.fromEntries([...input.codes].map(([type, set]) => [typeName(type), set.size])),
    axes: Object.fromEntries(input.axes),
  };
}

function print(event: InputEvent, json: boolean): void {
  if (json) console.log(JSON.stringify(event));
  else console.log(`${typeName(event.type)} ${event.code} ${event.value}`);
}

/** `vireo input info`. */
export function info(vireo: Vireo, flags: JsonFlag): void {
  for (const input of vireo.bus.all(inputDriver)) {
    if (flags.json) console.log(JSON.stringify(describe(input)));
    else {
      const { name, codes, axes } = input;
      const has = [...codes].map(([type, set]) => `${set.size} ${typeName(type)}`).join(", ");
      console.log(`${name}: ${has}${axes.size > 0 ? `, ${axes.size} axes with ranges` : ""}`);
    }
  }
}

/** Flags of `vireo input watch`. */
interface WatchFlags extends JsonFlag {
  readonly count?: string;
  readonly deadline: string;
  readonly type?: string;
}

/** The last code of a key, Linux's `KEY_MAX`. */
const LAST_KEY = 0x2ff;

/** `vireo input watch`. */
export async function watch(vireo: Vireo, flags: WatchFlags): Promise<void> {
  const input = vireo.get(inputDriver);
  const deadline = parseCount(flags.deadline, "--deadline");
  const count = flags.count === undefined ? Infinity : parseCount(flags.count, "--count");
  using events = input.events({ deadline, signal: vireo.signal });
  if (flags.type !== undefined) {
    const model = vireo.emulated?.extras.get("input") as InputDevice | undefined;
    if (model === undefined) {
      throw new UsageError("--type: only the emulator's devices can be typed on");
    }
    for (const code of flags.type.split(",")) {
      model.tap(parseCount(code, "--type", 1, LAST_KEY));
    }
  }
  let left = count;
  for await (const event of events) {
    print(event, flags.json === true);
    if (--left <= 0) break;
  }
}
