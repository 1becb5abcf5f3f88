// deno-lint-ignore-file no-console -- a program
/**
 * Makes the images of the guests that tests boot, for `make test` to do beside the check of types.
 *
 * `deno run -A tests/guest/images.ts`; exits with 1 if one cannot be made.
 *
 * @module
 */
import { guestImage } from "@vireo/firmware/image";

await Promise.all((["x86_64", "aarch64"] as const).map((arch) => {
  return guestImage(arch, { onProgress: (text) => console.log(`vireo: ${text}`) });
}));
