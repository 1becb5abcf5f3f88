/**
 * Carries out tasks in their order, several at a time: whenever one has ended, the first of those that are left
 * and may start takes its turn.
 *
 * @param tasks The tasks, of which no two with the same `holds` run at once.
 * @param workers How many run at a time, 1 or more.
 * @param run Carries out a task.
 */
export async function inTurn<T extends { readonly holds?: string | undefined }>(
  tasks: readonly T[],
  workers: number,
  run: (task: T) => Promise<void>,
): Promise<void> {
  const waiting = [...tasks];
  const running = new Map<T, Promise<void>>();
  while (waiting.length > 0) {
    const held = new Set([...running.keys()].map(({ holds }) => holds));
    const next = waiting.findIndex(({ holds }) => holds === undefined || !held.has(holds));
    if (running.size < workers && next >= 0) {
      const [task] = waiting.splice(next, 1) as [T];
      running.set(task, run(task).finally(() => running.delete(task)));
    } else {
      await Promise.race(running.values());
    }
  }
  await Promise.all(running.values());
}
