import { assert, assertEquals } from "@std/assert";
import { type Import, packageModules, SOURCES, targetOf } from "./sources.ts";

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** Which files each file imports, of the imports that `counts` takes. */
function graphOf(counts: (entry: Import) => boolean): Graph {
  const modules = packageModules();
  const files = new Set(SOURCES.map(({ path }) => path));
  return new Map(SOURCES.map(({ path, imports }) => {
    const targets = imports.filter(counts).map(({ name }) =>
      name.startsWith(".") ? targetOf(path, name) : modules.get(name) ?? ""
    );
    return [path, new Set(targets.filter((target) => files.has(target)))];
  }));
}

/** The files that import each other, however far round: Tarjan's strongly connected components. */
function circlesOf(graph: Graph): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const circles: string[][] = [];
  const visit = (file: string): void => {
    order.set(file, order.size);
    lowest.set(file, order.get(file)!);
    stack.push(file);
    for (const next of graph.get(file) ?? []) {
      if (!order.has(next)) visit(next);
      else if (!stack.includes(next)) continue;
      lowest.set(file, Math.min(lowest.get(file)!, lowest.get(next)!));
    }
    if (lowest.get(file) !== order.get(file)) return;
    const circle = stack.splice(stack.indexOf(file));
    if (circle.length > 1 || graph.get(file)?.has(file)) circles.push(circle.sort());
  };
  for (const file of graph.keys()) if (!order.has(file)) visit(file);
  return circles;
}

Deno.test("circles: are found in a graph, the whole of each and nothing else", () => {
  const graph = new Map(Object.entries({
    a: new Set(["b"]),
    b: new Set(["c", "d"]),
    c: new Set(["a", "e"]),
    d: new Set(["e"]),
    e: new Set(["d", "f"]),
    f: new Set<string>(),
    g: new Set(["g"]),
  }));
  assertEquals(circlesOf(graph), [["d", "e"], ["a", "b", "c"], ["g"]]);
});

Deno.test("circles: the graph has static, dynamic and package imports, and types apart", () => {
  const all = graphOf(({ url }) => !url);
  const values = graphOf(({ typeOnly, url }) => !typeOnly && !url);
  assert(values.get("firmware/main.ts")?.has("firmware/cli/program.ts"));
  assert(values.get("firmware/commands/board_rows.ts")?.has("firmware/commands/run.ts"));
  assert(values.get("drivers/bus/bus.ts")?.has("hal/mod.ts"));
  assert(all.get("drivers/driver.ts")?.has("drivers/device.ts"));
  assert(!values.get("drivers/driver.ts")?.has("drivers/device.ts"));
});

// A `new URL` of a module does not count: the program that it names starts afresh.
Deno.test("circles: no file imports itself by way of others", () => {
  assertEquals(circlesOf(graphOf(({ typeOnly, url }) => !typeOnly && !url)), []);
});

Deno.test("circles: with types counted, two files at most know each other", () => {
  const circles = circlesOf(graphOf(({ url }) => !url));
  assertEquals(circles.filter((circle) => circle.length > 2), []);
});
