/** A version of QEMU, as `--version` prints it. */
export interface QemuVersion {
  /** The first number, for example 10. */
  readonly major: number;
  /** The second number. */
  readonly minor: number;
  /** The third number, 0 if it says none. */
  readonly micro: number;
  /** All of it, for example `10.0.2`. */
  readonly text: string;
}

/**
 * Asks a QEMU for its version.
 *
 * @param program Its path, or its name on the path.
 * @returns The version, or undefined if there is no such program or it is no QEMU.
 */
export function qemuVersion(program: string): QemuVersion | undefined {
  let text: string;
  try {
    const { stdout } = new Deno.Command(program, { args: ["--version"], stderr: "null" })
      .outputSync();
    text = new TextDecoder().decode(stdout);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const match = /^QEMU emulator version ((\d+)\.(\d+)(?:\.(\d+))?\S*)/.exec(text);
  if (match === null) return undefined;
  const [, all, major, minor, micro = 0] = match;
  return { major: Number(major), minor: Number(minor), micro: Number(micro), text: all! };
}
