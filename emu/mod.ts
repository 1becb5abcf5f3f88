export * from "./backends/random.ts";
export * from "./backends/stream_port.ts";
export * from "./devices/console/mod.ts";
export * from "./devices/rng/mod.ts";
export * from "./backends/disk.ts";
export * from "./backends/file_disk.ts";
export * from "./backends/memory_disk.ts";
export * from "./devices/blk/mod.ts";
