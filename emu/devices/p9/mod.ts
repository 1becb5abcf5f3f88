/**
 * The emulated 9P transport, and the trees that it serves.
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { MemoryTree, P9Device } from "@vireo/emu/p9";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const tree = new MemoryTree({ "poem.txt": "Files are read like memory." });
 * await using machine = EmulatedMachine.create({ devices: [new P9Device({ tree, tag: "poems" })] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * assertEquals(new TextDecoder().decode(driver.config(2, 5)), "poems");
 * ```
 *
 * @module
 */
export * from "./device.ts";
export * from "./export.ts";
export * from "./host_tree.ts";
export * from "./memory_tree.ts";
