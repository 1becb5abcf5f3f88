import { assertEquals } from "@std/assert";
import { repl } from "../repl/session.ts";
import { onUncaught } from "./uncaught.ts";

Deno.test("an error that nobody takes is handed over, and one that a later listener takes is not", async () => {
  const handed: unknown[] = [];
  const news = Promise.withResolvers<void>();
  using _uncaught = onUncaught((error) => {
    handed.push(error);
    news.resolve();
  });
  const take = (event: PromiseRejectionEvent): void => {
    if (event.reason === "mine") event.preventDefault();
  };
  addEventListener("unhandledrejection", take);
  void Promise.reject("mine");
  void Promise.reject("nobody's");
  await news.promise;
  removeEventListener("unhandledrejection", take);
  assertEquals(handed, ["nobody's"]);
});

Deno.test("a promise that nobody waits for ends no REPL, although its process ends at such errors", async () => {
  const handed: unknown[] = [];
  using _uncaught = onUncaught((error) => handed.push(error));
  const text = new TextEncoder();
  let out = "";
  const printed = Promise.withResolvers<void>();
  await repl({
    input: (async function* () {
      yield text.encode("void Promise.reject(new Error('floating'))\n");
      await printed.promise;
      yield text.encode("1 + 1\n");
    })(),
    write: (bytes) => {
      out += new TextDecoder().decode(bytes);
      if (out.includes("floating")) printed.resolve();
      return Promise.resolve();
    },
  });
  assertEquals(handed, []);
  assertEquals(out.split("\n").filter((line) => !line.startsWith("    at ")), [
    "undefined",
    "Uncaught Error: floating",
    "2",
    "",
  ]);
});
