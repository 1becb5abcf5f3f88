// Starts a board, prints QEMU's process id and waits to be killed; run by qtest_test.ts.
import { QtestPlatform } from "@vireo/hal/qtest";
import { findBoard } from "./boards.ts";

const platform = await QtestPlatform.start({ board: findBoard("riscv64-virt") });
await Deno.stdout.write(new TextEncoder().encode(`${platform.pid}\n`));
await platform.slots[0]!.open().interrupt.wait({
  signal: new AbortController().signal,
  ready: () => false,
});
