/**
 * Input devices: keyboards, mice, tablets (virtio 1.4 §5.8).
 *
 * @module
 */
export { Input, type InputAxis, inputDriver, type InputIds } from "./driver.ts";
export { type InputEvent } from "./event_stream.ts";
