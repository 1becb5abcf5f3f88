import { assertEquals, assertThrows } from "@std/assert";
import { VireoError, type VireoErrorCode } from "@vireo/hal";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Caif } from "./driver.ts";

Deno.test("caif: only a configuration that is not there is replaced by the defaults", () => {
  for (
    const [error, expected] of [
      [new VireoError("CONFIG_ACCESS", "As the test wants"), "UNSUPPORTED"],
      [new VireoError("DEVICE_REMOVED", "As the test wants"), "DEVICE_REMOVED"],
    ] as const
  ) {
    const { device } = new FakeDevice();
    device.config.read16 = () => {
      throw error;
    };
    // The defaults are as good as any: what lacks then is the shared memory.
    const made = Object.assign(device, { sharedMemory() {}, openSharedMemory() {} });
    const { code } = assertThrows(() => new Caif(made as never), VireoError);
    assertEquals<VireoErrorCode>(code, expected);
  }
});
