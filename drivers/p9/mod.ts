/**
 * A client of file servers behind the 9P transport: 9P2000.L (Linux `net/9p`).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { p9Driver } from "@vireo/drivers/p9";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { MemoryTree, P9Device } from "@vireo/emu/p9";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new P9Device({ tree: new MemoryTree({ "poem.txt": "Files are read like memory." }) });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(p9Driver);
 * await bus.addPlatform(machine);
 *
 * await using tree = await bus.get(p9Driver)!.attach();
 * const poem = await tree.readFile("poem.txt");
 * assertEquals(new TextDecoder().decode(poem), "Files are read like memory.");
 * ```
 *
 * @module
 */
export type { P9Changes, P9DeviceNumber, P9Kind, P9Stat } from "./_attributes.ts";
export type { P9Qid } from "./_message.ts";
export * from "./driver.ts";
export * from "./errors.ts";
export { P9File, type P9ReadOptions, type P9Target } from "./file.ts";
export type { P9Lock, P9LockResult } from "./_locks.ts";
export type { P9NodeOptions, P9XattrOptions } from "./_nodes.ts";
export * from "./tree.ts";
