import { InputType } from "@vireo/hal";
import type { InputDeviceOptions } from "./device.ts";

const VIRTUAL_BUS = 6;
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);
/** BTN_LEFT, BTN_RIGHT, BTN_MIDDLE. */
const BUTTONS = [0x110, 0x111, 0x112];
const AXIS = { min: 0, max: 0x7fff };

/** Codes of the usual input devices; the numbers are those of Linux's `input-event-codes.h`. */
export const INPUT_PRESETS: Readonly<
  Record<"keyboard" | "mouse" | "tablet" | "multitouch", InputDeviceOptions>
> = {
  keyboard: {
    name: "Vireo keyboard",
    ids: [VIRTUAL_BUS, 0x1af4, 1, 1],
    codes: {
      [InputType.KEY]: range(1, 127),
      [InputType.REP]: [0, 1],
      [InputType.LED]: [0, 1, 2],
    },
  },
  mouse: {
    name: "Vireo mouse",
    ids: [VIRTUAL_BUS, 0x1af4, 2, 1],
    codes: { [InputType.KEY]: BUTTONS, [InputType.REL]: [0, 1, 8] },
  },
  tablet: {
    name: "Vireo tablet",
    ids: [VIRTUAL_BUS, 0x1af4, 3, 1],
    codes: { [InputType.KEY]: BUTTONS, [InputType.REL]: [8], [InputType.ABS]: [0, 1] },
    axes: { 0: AXIS, 1: AXIS },
  },
  multitouch: {
    name: "Vireo touch screen",
    ids: [VIRTUAL_BUS, 0x1af4, 4, 1],
    // INPUT_PROP_DIRECT; BTN_TOUCH; ABS_MT_SLOT, POSITION_X, POSITION_Y, TRACKING_ID.
    properties: [1],
    codes: { [InputType.KEY]: [0x14a], [InputType.ABS]: [0x2f, 0x35, 0x36, 0x39] },
    axes: { 0x2f: { min: 0, max: 9 }, 0x35: AXIS, 0x36: AXIS, 0x39: { min: -1, max: 0xffff } },
  },
};
