import { VireoError } from "@vireo/hal";

/** The error of a look for other devices, the same in a recording and in its replay. */
export function noRescan(device: string): VireoError {
  return new VireoError(
    "UNSUPPORTED",
    "Cannot look for other devices: a recording keeps the first",
    {
      device,
    },
  );
}
