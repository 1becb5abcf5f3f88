import { VireoError, type VireoErrorCode } from "@vireo/hal";

/** The errors of the shim's calls by number, the same on x86_64 and aarch64. */
const NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  5: "EIO",
  6: "ENXIO",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  16: "EBUSY",
  17: "EEXIST",
  19: "ENODEV",
  22: "EINVAL",
  24: "EMFILE",
  75: "EOVERFLOW",
};

/** The name of an errno, for example `EPERM`. */
export function errnoName(errno: number): string {
  return NAMES[errno] ?? `errno ${errno}`;
}

/** Advice to the user about an error of the calls that reach physical memory. */
const ADVICE: Readonly<Record<"open" | "map" | "hugepages", Readonly<Record<string, string>>>> = {
  open: {
    EPERM: "the kernel is locked down (secure boot) or CAP_SYS_RAWIO is missing",
    EACCES: "run as root",
    ENOENT: "the kernel has no /dev/mem (CONFIG_DEVMEM), or /dev is not mounted",
    ENXIO: "the kernel has no /dev/mem (CONFIG_DEVMEM)",
  },
  map: {
    EPERM: "the kernel protects the range (STRICT_DEVMEM): a kernel driver has claimed it, see " +
      "/proc/iomem and unbind virtio_mmio; or it is RAM",
    EAGAIN: "raise `ulimit -l`",
    EINVAL: "the range is outside of what this machine can address, or not page-aligned",
    ENOMEM: "the process has no address space left",
  },
  hugepages: {
    ENOMEM: "too few hugepages are free: as root, raise /proc/sys/vm/nr_hugepages, or boot with " +
      "hugepages=N",
    EPERM: "run as root, or raise `ulimit -l`",
    EAGAIN: "run as root, or raise `ulimit -l`",
    EINVAL: "the kernel has no hugepages (CONFIG_HUGETLBFS)",
  },
};

/**
 * Makes the error of a call that returned `-errno`: the name of the errno, and what to do about it.
 *
 * @param call The call.
 * @param what What failed, starting with a capital letter and without a full stop.
 * @param errno The error number, positive.
 * @param device Name of the window or file.
 * @param code The reason, for programs; `HOST_ERROR` by default.
 */
export function errnoError(
  call: keyof typeof ADVICE,
  what: string,
  errno: number,
  device: string,
  code: VireoErrorCode = "HOST_ERROR",
): VireoError {
  const name = errnoName(errno);
  const advice = ADVICE[call][name];
  const seen = advice === undefined ? name : `${name} (${advice})`;
  return new VireoError(code, what, { device, seen });
}
