/**
 * The devices that boards have when asked for with `--with`.
 *
 * @module
 */
export * from "./board_device.ts";
export * from "./table.ts";
