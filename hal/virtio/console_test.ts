import { assertEquals } from "@std/assert";
import {
  CONSOLE_CONFIG,
  CONSOLE_CONTROL,
  CONSOLE_RESIZE,
  ConsoleEvent,
  ConsoleFeature,
  consoleReceiveQueue,
  consoleTransmitQueue,
} from "./console.ts";

Deno.test("console layouts have the specification's offsets (virtio 1.4 §5.3.4, §5.3.6.2)", () => {
  assertEquals(
    [CONSOLE_CONFIG.cols, CONSOLE_CONFIG.rows, CONSOLE_CONFIG.max_nr_ports, CONSOLE_CONFIG.emerg_wr]
      .map((f) => [f.offset, f.size]),
    [[0, 2], [2, 2], [4, 4], [8, 4]],
  );
  assertEquals(
    [CONSOLE_CONTROL.id, CONSOLE_CONTROL.event, CONSOLE_CONTROL.value].map((f) => f.offset),
    [0, 4, 6],
  );
  assertEquals([CONSOLE_RESIZE.cols.offset, CONSOLE_RESIZE.rows.offset], [0, 2]);
});

Deno.test("console numbers are the specification's (virtio 1.4 §5.3)", () => {
  assertEquals({ ...ConsoleFeature }, { SIZE: 0, MULTIPORT: 1, EMERG_WRITE: 2 });
  assertEquals(Object.values(ConsoleEvent), [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals([0, 1, 2, 30].map(consoleReceiveQueue), [0, 4, 6, 62]);
  assertEquals([0, 1, 2, 30].map(consoleTransmitQueue), [1, 5, 7, 63]);
});
