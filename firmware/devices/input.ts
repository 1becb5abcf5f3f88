import type { InputDevice } from "@vireo/emu";
import { type Input, inputDriver, type InputEvent } from "@vireo/drivers";
import { DeviceId, InputType } from "@vireo/hal";
import { parseCount, UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

const KINDS = ["keyboard", "mouse", "tablet", "multitouch"] as const;
type Kind = typeof KINDS[number];

function kindOf(value = "keyboard"): Kind {
  const kind = KINDS.find((name) => name === value);
  if (kind !== undefined) return kind;
  throw new UsageError(`--with input: expected ${KINDS.join(", ")}, got '${value}'`);
}

const typeName = (type: number): string =>
  Object.entries(InputType).find(([, value]) => value === type)?.[0] ?? `type ${type}`;

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

/** Keyboards, mice, tablets and touch screens. */
export const INPUT: BoardDevice = {
  name: "input",
  deviceId: DeviceId.INPUT,
  summary: "keyboards, mice, tablets and touch screens",
  value: "keyboard|mouse|tablet|multitouch",
  driver: () => Promise.resolve(inputDriver),
  async emulate(value) {
    const kind = kindOf(value);
    const { INPUT_PRESETS, InputDevice } = await import("@vireo/emu");
    return new InputDevice(INPUT_PRESETS[kind]);
  },
  qemu(value) {
    const kind = kindOf(value);
    if (kind === "multitouch") throw new UsageError("--with input: QEMU 7.2 has no multitouch");
    return { backends: [], devices: [`virtio-${kind}-device`] };
  },
  commands: [
    {
      name: "info",
      summary: "say what each input device is and has",
      example: "vireo input info --with input=tablet --json",
      run(vireo, { flags }) {
        for (const input of vireo.bus.all(inputDriver)) {
          if (flags["json"]) console.log(JSON.stringify(describe(input)));
          else {
            const { name, codes, axes } = input;
            const has = [...codes].map(([type, set]) => `${set.size} ${typeName(type)}`).join(", ");
            console.log(`${name}: ${has}${axes.size > 0 ? `, ${axes.size} axes with ranges` : ""}`);
          }
        }
        return Promise.resolve();
      },
    },
    {
      name: "watch",
      summary: "print events as they come",
      options: [
        ["-c, --count <n>", "stop after so many"],
        ["--deadline <ms>", "how long to wait for each", "10000"],
        ["--type <keys>", "emulator: press these keys (codes, with commas) first"],
      ],
      example: "vireo input watch --type 30,48 -c 8",
      async run(vireo, { flags }) {
        const input = vireo.get(inputDriver);
        const deadline = parseCount(String(flags["deadline"]), "--deadline");
        const count = flags["count"] === undefined
          ? Infinity
          : parseCount(String(flags["count"]), "--count");
        using events = input.events({ deadline, signal: vireo.signal });
        if (flags["type"] !== undefined) {
          const model = vireo.emulated?.extras.get("input") as InputDevice | undefined;
          if (model === undefined) {
            throw new UsageError("--type: only the emulator's devices can be typed on");
          }
          for (const code of String(flags["type"]).split(",")) {
            model.tap(parseCount(code, "--type"));
          }
        }
        let left = count;
        for await (const event of events) {
          print(event, flags["json"] === true);
          if (--left <= 0) break;
        }
      },
    },
  ],
};
