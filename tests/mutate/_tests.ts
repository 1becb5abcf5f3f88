import { packageModules, SOURCES, targetOf } from "../tree/sources.ts";

/** Tests that need QEMU, a guest, or minutes. */
const SLOW =
  /^tests\/(?:qtest|guest|cli|differential|vhost_user|check|docs|hostile|mutate|qemu)\/|spec\/(?:coverage|registers)|integrity_test|arrows|architecture|circles|exports|one_way|packages/;
/** Test files of one change, if there are so many: other devices' tests see little of it. */
const LEAST = 5;
/** Most of them, where more import it themselves or are of its device. */
const MOST = 12;
/** The hostile tests, which cover all devices: only those run that name the changed one. */
const HOSTILE: Readonly<Record<string, readonly string[]>> = {
  drivers: [
    "tests/hostile/ownership_test.ts",
    "tests/hostile/driver_test.ts",
    "tests/hostile/known_bugs_test.ts",
    "tests/hostile/lying_test.ts",
  ],
  emu: ["tests/hostile/models_test.ts", "tests/hostile/known_bugs_test.ts"],
};

/** Tests that are seconds long and see what the near ones do not, by the file that is changed. */
const LONGER: readonly (readonly [path: RegExp, tests: readonly string[]])[] = [
  [/^emu\/transport\/pci\//, ["tests/machine/pci_device_test.ts"]],
  [/^hal\/(?:vhost_user|unix)\//, ["tests/vhost_user/hostile_back_end_test.ts"]],
  [/^(?:hal|drivers\/transport)\/vhost_user/, ["tests/vhost_user/served_test.ts"]],
  [
    /^emu\/transport\/vhost_user\//,
    ["tests/vhost_user/hostile_front_end_test.ts", "tests/vhost_user/served_test.ts"],
  ],
  [
    /^firmware\/check\/driver\//,
    ["tests/check/driver_mutants_test.ts", "tests/check/drivers_test.ts"],
  ],
  [
    /^firmware\/check\/(?!driver\/)/,
    ["tests/check/script_test.ts", "tests/check/mutants_test.ts", "tests/check/emulated_test.ts"],
  ],
];

/** Folders of devices, whose tests are in folders of the same name. */
const DEVICES: ReadonlySet<string> = new Set(
  SOURCES.flatMap(({ path }) => /^emu\/devices\/([^/]+)\//.exec(path)?.[1] ?? []),
);
const modules = packageModules();
/** Importers of each file at run time. */
const importers = new Map<string, string[]>();
for (const { path, imports } of SOURCES) {
  for (const { name, typeOnly } of imports) {
    if (typeOnly) continue;
    const target = name.startsWith(".") ? targetOf(path, name) : modules.get(name);
    if (target === undefined) continue;
    importers.set(target, [...importers.get(target) ?? [], path]);
  }
}

/** Whether a test's name says that it is of a device: `tests/spec/net_driver_test.ts`. */
function isOf(test: string, device: string): boolean {
  const name = test.slice(test.lastIndexOf("/") + 1);
  return name.startsWith(`${device}_`) || DEVICES.has(device) && name === "others_test.ts";
}

/** The tests that import a file: the nearest ones, and the hostile ones of its device. */
export function nearestTests(
  path: string,
): { readonly near: string[]; readonly hostile: string[]; readonly filter: string } {
  const distance = new Map([[path, 0]]);
  for (const [at, steps] of distance) {
    for (const next of importers.get(at) ?? []) {
      if (!distance.has(next)) distance.set(next, steps + 1);
    }
  }
  const [room, ...rest] = path.split("/");
  const device = rest[0] === "devices" ? rest[1]! : rest[0]!;
  const shared = !DEVICES.has(device);
  const own = (test: string): number => test.includes(`/${device}/`) || isOf(test, device) ? 0 : 1;
  const near = [...distance]
    .filter(([test]) => test.endsWith("_test.ts") && !SLOW.test(test))
    .sort(([a, x], [b, y]) => own(a) - own(b) || x - y || (a < b ? -1 : 1))
    .filter(([test, steps], i) =>
      i < MOST && (own(test) === 0 || steps === 1 || shared && i < LEAST)
    )
    .map(([test]) => test);
  near.push(...LONGER.flatMap(([changed, tests]) => changed.test(path) ? tests : []));
  const name = device === "p9" ? "(?:9p|p9)" : device.replace("_", "-");
  return { near, hostile: [...HOSTILE[room!] ?? []], filter: `/\\b${name}\\b/` };
}
