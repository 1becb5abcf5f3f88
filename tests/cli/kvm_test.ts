import { assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { timedOut } from "@vireo/drivers/wait";
import { VireoError } from "@vireo/hal";
import { vireo } from "../cli_helper.ts";
import { explainKvm, requireKvm } from "../../firmware/target/kvm.ts";
import { UsageError } from "../../firmware/terminal/usage.ts";

Deno.test("requireKvm takes the host's own processor and a device that opens", async () => {
  await requireKvm(Deno.build.arch, "/dev/null");
  await assertRejects(() => requireKvm("riscv64", "/dev/null"), UsageError, "not of riscv64");
  const error = await assertRejects(
    () => requireKvm(Deno.build.arch, "/nonexistent/kvm"),
    VireoError,
    "Cannot use KVM",
  );
  assertEquals(error.code, "HOST_ERROR");
  assertStringIncludes(error.message, "/nonexistent/kvm");
  assertStringIncludes(error.message, "--accel tcg");
});

Deno.test("explainKvm says what to do when QEMU or the guest does not come up", () => {
  const timeout = timedOut("the guest to boot", 60_000);
  const explained = explainKvm(timeout);
  assertInstanceOf(explained, VireoError);
  assertEquals([explained.code, explained.cause], ["TIMEOUT", timeout]);
  assertStringIncludes(explained.message, "Timed out after 60000 ms waiting for the guest to boot");
  assertStringIncludes(explained.message, "--accel tcg");
  const other = new VireoError("GUEST_FAULT", "The guest crashed");
  assertEquals(explainKvm(other), other);
});

Deno.test("--accel kvm for another processor is refused before anything is started", async () => {
  const other = Deno.build.arch === "x86_64" ? "aarch64-virt" : "x86_64-microvm";
  const result = await vireo(`rng --target qemu:${other} --accel kvm`);
  assertEquals([result.code, result.out], [2, ""]);
  assertStringIncludes(result.err, "--accel: kvm runs guests of the host's processor");
});
