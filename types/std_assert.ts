// Types for deno-std's plain-JavaScript build of @std/assert; delete when importing from JSR again.
// @ts-types="./std_assert.d.ts"
export * from "deno-std/assert/mod.js";
