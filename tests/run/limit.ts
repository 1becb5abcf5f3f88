/**
 * Gives every test a limit of its own: `deno test --preload tests/run/limit.ts`. A test that hangs, be it in a
 * promise or in a loop, then fails by its name, and the others go on. A test that needs longer says so by
 * Deno's own option, `Deno.test({ name, timeout, fn })`.
 *
 * @module
 */

/** Milliseconds that a test may take which says nothing of it: only a hang takes that long. */
const LIMIT = Number(Deno.env.get("VIREO_TEST_LIMIT") ?? 300_000);

/** Has a test reported where it is written down, instead of here; Deno's own `test.each` does it so. */
const LOCATION = Symbol.for("Deno.test.location");

type Register = (
  first: unknown,
  second?: unknown,
  third?: unknown,
) => void;

/** The options among the arguments of `Deno.test`, whichever of its forms they are. */
function definition(args: readonly unknown[]): Partial<Deno.TestDefinition> {
  return Object.assign(
    {},
    ...args.map((arg) => {
      if (typeof arg === "function") {
        const fn = arg as Deno.TestDefinition["fn"];
        return { fn, ...(args.length === 1 ? { name: fn.name } : {}) };
      }
      return typeof arg === "string" ? { name: arg } : arg;
    }),
  );
}

/** The line that called into this file. */
function callSite(): string | undefined {
  const frames = new Error().stack?.split("\n").slice(1) ?? [];
  const frame = frames.find((line) => !line.includes(import.meta.url));
  return /([^\s(]+:\d+:\d+)\)?$/.exec(frame ?? "")?.[1];
}

function limited(register: Register): Register {
  return (...args) => {
    const { fn, ...options } = definition(args);
    const located = fn === undefined
      ? undefined
      : Object.assign((t: Deno.TestContext) => fn(t), { [LOCATION]: callSite() });
    register({ timeout: LIMIT, name: fn?.name, ...options, fn: located });
  };
}

const test = Deno.test as unknown as Register & Record<string, Register>;
Object.defineProperty(Deno, "test", {
  value: Object.assign(limited(test), test, {
    only: Object.assign(limited(test["only"]!), test["only"]),
    ignore: Object.assign(limited(test["ignore"]!), test["ignore"]),
  }),
});
