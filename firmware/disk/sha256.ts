import type { Hash } from "node:crypto";

/** Begins a SHA-256. Only who hashes waits for Deno's own to load: in a guest that takes half a second. */
export async function sha256(): Promise<Hash> {
  return (await import("node:crypto")).createHash("sha256");
}
