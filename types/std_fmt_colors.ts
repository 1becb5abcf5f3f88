// Types for deno-std's plain-JavaScript build of @std/fmt/colors.
// @ts-types="./std_fmt_colors.d.ts"
export * from "deno-std/fmt/colors.js";
