export * from "./console/mod.ts";
export * from "./blk/mod.ts";
