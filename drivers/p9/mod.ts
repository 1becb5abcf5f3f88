/**
 * A client of file servers behind the 9P transport: 9P2000.L (Linux `net/9p`).
 *
 * @module
 */
export type { P9Changes, P9Kind, P9Stat } from "./_attributes.ts";
export type { P9Qid } from "./_message.ts";
export * from "./driver.ts";
export * from "./errors.ts";
export { P9File, type P9ReadOptions, type P9Target } from "./file.ts";
export * from "./tree.ts";
