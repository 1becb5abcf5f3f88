/**
 * Turns of the event loop, for tests.
 *
 * @module
 */

/** Lets everything run that is due, so many times. */
export async function turn(count = 1): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve));
}
