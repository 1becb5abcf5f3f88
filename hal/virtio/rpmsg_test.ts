import { assertEquals } from "@std/assert";
import { RPMSG_BUFFER_SIZE, RPMSG_HDR, RPMSG_MTU, RPMSG_NS } from "./rpmsg.ts";

Deno.test("rpmsg: the numbers of Linux's headers", () => {
  const { src, dst, reserved, len, flags } = RPMSG_HDR;
  assertEquals([src, dst, reserved, len, flags].map(({ offset }) => offset), [0, 4, 8, 12, 14]);
  assertEquals([RPMSG_NS.addr.offset, RPMSG_NS.flags.offset, RPMSG_NS.SIZE], [32, 36, 40]);
  assertEquals([RPMSG_BUFFER_SIZE, RPMSG_MTU], [512, 512 - 16]);
});
