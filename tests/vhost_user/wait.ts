/**
 * Waits until something holds that no event reports, such as the work of another process.
 *
 * @param what What it is, for the error.
 * @param seen What is seen in its place, for the error.
 */
export async function wait(
  what: string,
  holds: () => boolean,
  milliseconds = 20_000,
  seen: () => string = () => "",
): Promise<void> {
  const end = performance.now() + milliseconds;
  // Often it is a matter of a turn or two.
  for (let pause = 0; !holds(); pause = Math.min(pause + 1, 5)) {
    if (performance.now() > end) {
      throw new Error(`Timed out waiting for ${what}${seen()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** Waits until this process has no more descriptors open than it had. */
export async function noMoreDescriptors(than: number, milliseconds?: number): Promise<void> {
  const named = (): string =>
    [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
      try {
        return `${name} ${Deno.readLinkSync(`/proc/self/fd/${name}`)}`;
      } catch {
        return `${name} (closed since)`;
      }
    }).join(", ");
  await wait(
    `all descriptors to be closed but ${than}`,
    () => openDescriptors() <= than,
    milliseconds,
    () => `: ${named()}`,
  );
}

/** Descriptors that this process has open. */
export function openDescriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}
