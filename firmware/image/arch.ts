/** A processor that the guest image can be built for, as Linux names it. */
export type Arch = "x86_64" | "aarch64";

/** The names that others have for a processor, and what differs between them. */
export interface ArchNames {
  /** Debian's name. */
  readonly debian: string;
  /** Package of the Deno binary on npm. */
  readonly deno: string;
  /** The cross compiler, where the host is another processor. */
  readonly compiler: string;
  /** Meta package of the kernel. */
  readonly kernel: string;
}

/** Everything that depends on the processor, in one table. */
export const ARCH: Readonly<Record<Arch, ArchNames>> = {
  x86_64: {
    debian: "amd64",
    deno: "@deno/linux-x64-glibc",
    compiler: "x86_64-linux-gnu-gcc",
    kernel: "linux-image-cloud-amd64",
  },
  aarch64: {
    debian: "arm64",
    deno: "@deno/linux-arm64-glibc",
    compiler: "aarch64-linux-gnu-gcc",
    kernel: "linux-image-cloud-arm64",
  },
};
