import { packageModules, SOURCES, targetOf } from "../tree/sources.ts";

/** Tests that need QEMU, a guest, or minutes. */
const SLOW =
  /^tests\/(?:qtest|guest|cli|differential|vhost_user|check|docs|hostile|mutate|qemu)\/|spec\/(?:coverage|registers)|integrity_test|arrows|architecture|circles|exports|one_way|packages/;
/** Test files that see most changes of a file, and are run before any other. */
const FIRST = 3;
/** Test files of one change, if there are so many: other devices' tests see little of it. */
const LEAST = 5;
/** Most of them, where more import it themselves or are of its device. */
const MOST = 12;
/** Files of the room that one process runs: a change that one of them sees ends the others. */
const CHUNK = 12;
/** Files at most that are no near ones: those that remain are of other rooms and devices. */
const FARTHEST = 36;
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
  [
    /^emu\/(?:hosted_device|machine|transport\/mmio)/,
    ["tests/machine/suspend_test.ts", "tests/machine/hot_plug_test.ts"],
  ],
  [/^hal\/host\.ts/, ["tests/cli/host_programs_test.ts"]],
  [
    /^hal\/vhost_user\//,
    ["front_end_test", "front_end_calls_test", "front_end_reconnect_test"]
      .map((name) => `tests/vhost_user/${name}.ts`),
  ],
  [/^hal\/(?:vhost_user|unix)\//, ["tests/vhost_user/hostile_back_end_test.ts"]],
  [
    /^hal\/vhost_user\/|^emu\/transport\/vhost_user\/.*inflight/,
    ["tests/vhost_user/reconnect_test.ts", "tests/vhost_user/inflight_test.ts"],
  ],
  [/^hal\/qtest\//, ["firmware/boards/qtest_test.ts", "tests/qtest/devices_test.ts"]],
  [/^hal\/qtest\/(?:_pci|platform)/, ["tests/qtest/hot_plug_test.ts"]],
  [/^drivers\/record\//, ["tests/trace/record_test.ts", "tests/hostile/recordings_test.ts"]],
  [/^firmware\/check\/raw\/vhost_user/, ["tests/check/vhost_user_test.ts"]],
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
    [
      "tests/check/broken_test.ts",
      "tests/check/transcript_test.ts",
      "tests/check/script_test.ts",
      "tests/check/mutants_test.ts",
      "tests/check/emulated_test.ts",
    ],
  ],
];

/** Sees which bytes a driver says it copied; it is of no device. */
const COPIES = "tests/trace/copies_test.ts";

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

/** Tests of several devices, or of all. */
const OF_ALL = /^(?:others|every)_test\.ts$/;

/** Whether a test's name says that it is of a device: `tests/spec/net_driver_test.ts`. */
function isOf(test: string, device: string): boolean {
  const name = test.slice(test.lastIndexOf("/") + 1);
  return name.startsWith(`${device}_`) || DEVICES.has(device) && OF_ALL.test(name);
}

/** Tests that one process runs. */
export interface Stage {
  /** Their files. */
  readonly tests: readonly string[];
  /** The file the examples in whose docs are tests too. */
  readonly doc?: string;
  /** Only those whose names it matches. */
  readonly filter?: string;
}

function textOf(path: string): string {
  return Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));
}

/** Whether a test changes the host's network, of which there is one. */
function withRights(test: string): boolean {
  return textOf(test).includes("testWithRights(");
}

/**
 * The tests that can see a change of a file, in the order in which they should look: the nearest few with
 * the examples of its docs, the seconds-long ones, the others of its device, the hostile ones of its device, and then those of the room that load it.
 *
 * @param nearest Whether to leave the last ones out.
 */
export function stagesOf(path: string, nearest: boolean): Stage[] {
  const distance = new Map([[path, 0]]);
  for (const [at, steps] of distance) {
    for (const next of importers.get(at) ?? []) {
      if (!distance.has(next)) distance.set(next, steps + 1);
    }
  }
  const [room, ...rest] = path.split("/");
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  const device = rest[0] === "devices" ? rest[1]! : rest[0]!;
  const shared = !DEVICES.has(device);
  const folders = path.split("/").slice(1, -1).filter((name) => name !== "devices");
  const own = (test: string): number =>
    isOf(test, device) || folders.some((name) => test.includes(`/${name}/`)) ? 0 : 1;
  /** Its own test, those of its folder, those of its room, and others. */
  const away = (test: string): number =>
    test === path.replace(/\.ts$/, "_test.ts")
      ? 0
      : test.startsWith(folder) && !test.includes("/", folder.length)
      ? 1
      : test.startsWith(`${room}/`)
      ? 2
      : 3;
  const sorted = [...distance]
    .filter(([test]) => test.endsWith("_test.ts") && !SLOW.test(test) && !withRights(test))
    .sort(([a, x], [b, y]) => own(a) - own(b) || away(a) - away(b) || x - y || (a < b ? -1 : 1));
  const all = sorted.map(([test]) => test);
  const near = sorted
    .filter(([test, steps], i) =>
      i < MOST && (own(test) === 0 || away(test) < 2 || steps === 1 || shared && i < LEAST)
    )
    .map(([test]) => test);
  const longer = LONGER.flatMap(([changed, tests]) => changed.test(path) ? tests : []);
  const name = device === "p9" ? "(?:9p|p9)" : device.replace("_", "-");
  // Without a test in its folder the ones that are named here come first.
  const beside = near.filter((test) => away(test) < 2).length;
  const first = longer.length > 0 ? Math.min(beside, FIRST) : FIRST;
  const text = textOf(path);
  const behind = [...near.slice(first), ...(/\.copied(?:\?\.)?\(/.test(text) ? [COPIES] : [])];
  const stages: Stage[] = [
    { tests: near.slice(0, first), ...text.includes("```ts") ? { doc: path } : {} },
    ...longer.map((test) => ({ tests: [test] })),
    { tests: behind },
    { tests: HOSTILE[room!] ?? [], filter: `/\\b${name}\\b/` },
  ];
  if (nearest) return stages.filter(({ tests, doc }) => tests.length > 0 || doc !== undefined);
  const looked = new Set([...near, ...longer, ...behind]);
  const others = all.filter((test) => !looked.has(test));
  for (let at = 0; at < Math.min(others.length, FARTHEST); at += CHUNK) {
    stages.push({ tests: others.slice(at, at + CHUNK) });
  }
  return stages.filter(({ tests, doc }) => tests.length > 0 || doc !== undefined);
}
