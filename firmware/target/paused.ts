import type { VireoError } from "@vireo/hal";
import type { Qmp } from "@vireo/hal/qtest";

/** Milliseconds that a machine may be paused before somebody is told. */
const PAUSE_GRACE = 1000;

/** Who is told of a pause that lasts, each with the reason. */
interface PauseListeners {
  /** A disk of the host failed: nothing answers until the cause is removed. */
  readonly failed: (error: VireoError) => void;
  /** The machine's monitor was told to pause it. */
  readonly paused?: (error: VireoError) => void;
}

/**
 * Watches for a QEMU that pauses: it stays so until its monitor is told to go on, which a program may do within a
 * second. Returns when the monitor ends.
 */
export async function watchPauses(qmp: Qmp, { failed, paused }: PauseListeners): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let broken = false;
  const look = (): void => {
    const error = qmp.diagnose();
    if (error !== undefined) (broken ? failed : paused)?.(error);
  };
  for await (const { event, data } of qmp.events("STOP", "BLOCK_IO_ERROR", "RESUME")) {
    clearTimeout(timer);
    // A STOP follows an error that pauses, and nothing follows the others.
    if (event === "BLOCK_IO_ERROR") broken = data.action === "stop";
    else if (event === "RESUME") broken = false;
    if (broken || event === "STOP") timer = setTimeout(look, PAUSE_GRACE);
  }
  clearTimeout(timer);
}
