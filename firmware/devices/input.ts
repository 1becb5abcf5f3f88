import { DeviceId } from "@vireo/hal/ids";
import { UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

const KINDS = ["keyboard", "mouse", "tablet", "multitouch"] as const;
type Kind = typeof KINDS[number];

function kindOf(value = "keyboard"): Kind {
  const kind = KINDS.find((name) => name === value);
  if (kind !== undefined) return kind;
  throw new UsageError(`--with input: expected ${KINDS.join(", ")}, got '${value}'`);
}

/** Keyboards, mice, tablets and touch screens. */
export const INPUT: BoardDevice = {
  name: "input",
  deviceId: DeviceId.INPUT,
  value: "keyboard|mouse|tablet|multitouch",
  driver: async () => (await import("@vireo/drivers/input")).inputDriver,
  async emulate(value) {
    const kind = kindOf(value);
    const { INPUT_PRESETS, InputDevice } = await import("@vireo/emu/input");
    return new InputDevice(INPUT_PRESETS[kind]);
  },
  qemu(value) {
    const kind = kindOf(value);
    if (kind === "multitouch") throw new UsageError("--with input: QEMU 7.2 has no multitouch");
    return { backends: [], devices: [`virtio-${kind}-device`] };
  },
};
