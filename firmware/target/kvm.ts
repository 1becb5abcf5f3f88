import { VireoError } from "@vireo/hal";
import { UsageError } from "../terminal/usage.ts";

/** Where Linux offers KVM. */
const DEVICE = "/dev/kvm";
/** Advice for a host without it. */
const INSTEAD = "--accel tcg, which needs nothing of the host";

/** Milliseconds that a guest under KVM has to come up; one that works needs two seconds. */
export const KVM_BOOT_DEADLINE = 20_000;

/**
 * Looks whether a guest can run under KVM here.
 *
 * @param arch The guest's processor.
 * @param device Where Linux offers KVM.
 * @throws {UsageError} If the host's processor is another one.
 * @throws {VireoError} `HOST_ERROR` If the host has no KVM, or this user may not use it.
 */
export async function requireKvm(arch: string, device: string = DEVICE): Promise<void> {
  if (arch !== Deno.build.arch) {
    throw new UsageError(
      `--accel: kvm runs guests of the host's processor, ${Deno.build.arch}, not of ${arch}`,
    );
  }
  try {
    (await Deno.open(device, { read: true, write: true })).close();
  } catch (cause) {
    throw new VireoError("HOST_ERROR", "Cannot use KVM", {
      device,
      seen: cause instanceof Error ? cause.message : String(cause),
      expected: INSTEAD,
      cause,
    });
  }
}

/** An error of a guest under KVM, with what to do about it. */
export function explainKvm(error: unknown): unknown {
  if (!(error instanceof VireoError)) return error;
  if (error.code !== "TIMEOUT" && error.code !== "HOST_ERROR") return error;
  return new VireoError(error.code, "The guest did not run under KVM", {
    seen: error.message,
    expected: INSTEAD,
    cause: error,
  });
}
