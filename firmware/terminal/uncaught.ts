/**
 * Hands over errors that no call returns: of promises that nobody waits for, or thrown from timers. A program that
 * listens for such errors itself is asked first, however late it began to listen: Deno calls listeners in the order in
 * which they were added, those for the capturing phase too (measured, Deno 2.9.5).
 *
 * @param handle Gets an error that no other listener took.
 */
export function onUncaught(handle: (error: unknown) => void): Disposable {
  const types = ["error", "unhandledrejection"] as const;
  const listen = (): void => types.forEach((type) => addEventListener(type, onError));
  const leave = (): void => types.forEach((type) => removeEventListener(type, onError));
  const onError = (event: ErrorEvent | PromiseRejectionEvent): void => {
    event.preventDefault();
    event.stopImmediatePropagation();
    // Ours is the first listener, and must be asked last.
    leave();
    const taken = !dispatchEvent(sameEvent(event));
    listen();
    if (!taken) handle("reason" in event ? event.reason : event.error);
  };
  listen();
  return { [Symbol.dispose]: leave };
}

/** The same news once more, as an event is dispatched once. */
function sameEvent(event: ErrorEvent | PromiseRejectionEvent): Event {
  if ("reason" in event) {
    const { promise, reason } = event;
    return new PromiseRejectionEvent(event.type, { promise, reason, cancelable: true });
  }
  const { error, message, filename, lineno, colno } = event;
  const about = { error, message, filename, lineno, colno };
  return new ErrorEvent(event.type, { ...about, cancelable: true });
}
