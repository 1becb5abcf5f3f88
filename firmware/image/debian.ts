import { VireoError } from "@vireo/hal";
import { ARCH, type Arch } from "./arch.ts";
import { exec } from "./exec.ts";

/** A package of Debian, unpacked. */
export interface DebianPackage {
  /** Name, for example `libc6`. */
  readonly name: string;
  /** Version. */
  readonly version: string;
  /** SHA-256 of the package file, as the signed index has it and apt has checked. */
  readonly sha256: string;
  /** Where its files are. */
  readonly root: string;
}

/**
 * Fetches packages of Debian for any processor without touching the host's package configuration:
 * apt runs with directories of its own below `dir`, from the host's Debian sources and keyrings.
 */
export class Debian {
  readonly #dir: string;
  readonly #arch: Arch;
  readonly #signal: AbortSignal | undefined;
  readonly #suite: string | undefined;
  #options: string[] | undefined;

  /**
   * @param dir A directory for indexes and packages.
   * @param arch The processor.
   * @param signal Ends a download.
   * @param suite A suite beside the host's own, for example `bookworm-backports`, from its mirror.
   */
  constructor(dir: string, arch: Arch, signal?: AbortSignal, suite?: string) {
    this.#dir = dir;
    this.#arch = arch;
    this.#signal = signal;
    this.#suite = suite;
  }

  /**
   * The package that a meta package stands for today, for example the current kernel.
   *
   * @throws {VireoError} `HOST_ERROR` If there is none.
   */
  async resolve(meta: string): Promise<string> {
    const text = await this.#apt("apt-cache", ["depends", "--important", meta]);
    const name = /^\s+Depends: (\S+)/m.exec(text)?.[1];
    if (name !== undefined) return name;
    throw new VireoError("HOST_ERROR", "The meta package names no package", { device: meta });
  }

  /**
   * Downloads a package, which apt verifies, and unpacks it.
   *
   * @throws {VireoError} `HOST_ERROR` If apt fails.
   */
  async fetch(name: string): Promise<DebianPackage> {
    const text = await this.#apt("apt-cache", ["show", "--no-all-versions", name]);
    const field = (key: string): string => new RegExp(`^${key}: (.*)$`, "m").exec(text)?.[1] ?? "";
    const root = `${this.#dir}/unpacked/${name}`;
    const downloads = await Deno.makeTempDir({ dir: this.#dir, prefix: "download-" });
    try {
      await this.#apt("apt-get", ["-qq", "download", name], downloads);
      const file = [...Deno.readDirSync(downloads)].find((entry) => entry.name.endsWith(".deb"));
      if (file === undefined) {
        throw new VireoError("HOST_ERROR", "apt downloaded nothing", { device: name });
      }
      await Deno.remove(root, { recursive: true }).catch(ignoreMissing);
      await Deno.mkdir(root, { recursive: true });
      await exec(["dpkg-deb", "-x", `${downloads}/${file.name}`, root]);
    } finally {
      await Deno.remove(downloads, { recursive: true });
    }
    return { name, version: field("Version"), sha256: field("SHA256"), root };
  }

  /**
   * Downloads packages and what they depend on beyond what the host has installed, and unpacks all of
   * it into one directory, so that programs run from there. Nothing is installed.
   *
   * @param names Packages, from the suite that was named if there was one.
   * @param root The directory, which is made again.
   * @throws {VireoError} `HOST_ERROR` If apt fails.
   */
  async fetchWithDependencies(names: readonly string[], root: string): Promise<void> {
    const downloads = await Deno.makeTempDir({ dir: this.#dir, prefix: "download-" });
    await Deno.mkdir(`${downloads}/partial`);
    const settings = [
      "Dir::State::status=/var/lib/dpkg/status",
      `Dir::Cache::archives=${downloads}`,
      // Nothing is written to the host's package database, which only root may lock.
      "Debug::NoLocking=true",
    ];
    try {
      await this.#apt("apt-get", [
        ...settings.flatMap((setting) => ["-o", setting]),
        ...["-qq", "--yes", "--download-only", "--no-install-recommends"],
        ...this.#suite === undefined ? [] : ["--target-release", this.#suite],
        ...["install", ...names],
      ]);
      await Deno.remove(root, { recursive: true }).catch(ignoreMissing);
      await Deno.mkdir(root, { recursive: true });
      for (const { name } of Deno.readDirSync(downloads)) {
        if (!name.endsWith(".deb")) continue;
        await exec(["dpkg-deb", "-x", `${downloads}/${name}`, root]);
      }
    } finally {
      await Deno.remove(downloads, { recursive: true });
    }
  }

  async #apt(tool: string, args: readonly string[], cwd?: string): Promise<string> {
    this.#options ??= await this.#configure();
    return await exec([tool, ...this.#options, ...args], {
      ...(cwd === undefined ? {} : { cwd }),
      signal: this.#signal,
    });
  }

  async #configure(): Promise<string[]> {
    const dir = `${this.#dir}/apt`;
    for (const sub of ["state/lists/partial", "cache/archives/partial", "etc/empty"]) {
      await Deno.mkdir(`${dir}/${sub}`, { recursive: true });
    }
    const debian = ARCH[this.#arch].debian;
    await Deno.writeTextFile(`${dir}/etc/debian.sources`, await debianSources(this.#suite));
    const settings = [
      `APT::Architecture=${debian}`,
      `APT::Architectures=${debian}`,
      `Dir::State=${dir}/state`,
      "Dir::State::status=/dev/null",
      `Dir::Cache=${dir}/cache`,
      `Dir::Etc::sourcelist=${dir}/etc/debian.sources`,
      `Dir::Etc::sourceparts=${dir}/etc/empty`,
      `Dir::Etc::preferencesparts=${dir}/etc/empty`,
      "Dir::Etc::preferences=/dev/null",
      "Acquire::Languages=none",
      // The host's hooks and index targets are for the host.
      "APT::Update::Post-Invoke::=true",
      "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    ];
    // Downloads as root into a directory of root's need no second user.
    if (Deno.uid() === 0) settings.push("APT::Sandbox::User=root");
    const options = settings.flatMap((setting) => ["-o", setting]);
    await exec(["apt-get", ...options, "-qq", "update"], { signal: this.#signal });
    return options;
  }
}

/** The host's sources of Debian itself, third parties left out, as deb822 stanzas. */
async function debianSources(more: string | undefined): Promise<string> {
  const suite = await debianSuite();
  const stanzas: string[] = [];
  for (const path of await sourceFiles()) {
    const text = await Deno.readTextFile(path);
    if (path.endsWith(".sources")) stanzas.push(...text.split(/\n\s*\n/));
    else stanzas.push(...text.split("\n").map(oneLineToStanza));
  }
  const kept = stanzas.filter((stanza) => isDebian(stanza, suite));
  if (more !== undefined) {
    // The mirror that has the release itself has the suites beside it.
    const main = kept.find((stanza) => field(stanza, "Suites").split(/\s+/).includes(suite ?? ""));
    if (main !== undefined) kept.push(main.replace(/^Suites:.*$/mi, `Suites: ${more}`));
  }
  if (kept.length > 0) return `${kept.join("\n\n")}\n`;
  throw new VireoError("HOST_ERROR", "Cannot find Debian's package sources", {
    device: "/etc/apt",
    expected: "a Debian host, whose /etc/apt names a mirror",
  });
}

async function sourceFiles(): Promise<string[]> {
  const paths: string[] = [];
  try {
    for await (const { name } of Deno.readDir("/etc/apt/sources.list.d")) {
      if (/\.(list|sources)$/.test(name)) paths.push(`/etc/apt/sources.list.d/${name}`);
    }
    await Deno.stat("/etc/apt/sources.list");
    paths.push("/etc/apt/sources.list");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return paths.sort();
}

/** `deb [options] uri suite component...` in the newer form; an empty text if it is none. */
function oneLineToStanza(line: string): string {
  const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)$/.exec(line);
  if (match === null) return "";
  const signed = /signed-by=(\S+)/.exec(match[1] ?? "")?.[1];
  return [
    "Types: deb",
    `URIs: ${match[2]}`,
    `Suites: ${match[3]}`,
    `Components: ${match[4]}`,
    ...(signed === undefined ? [] : [`Signed-By: ${signed}`]),
  ].join("\n");
}

function isDebian(stanza: string, suite: string | undefined): boolean {
  return /\bdeb\b/.test(field(stanza, "Types")) && !/^Enabled: *no/mi.test(stanza) &&
    /\bmain\b/.test(field(stanza, "Components")) &&
    field(stanza, "Suites").split(/\s+/).some((name) =>
      name === suite || name.startsWith(`${suite}-`) || name === "stable"
    );
}

/** A field of a deb822 stanza, empty if it has none of that name. */
function field(stanza: string, key: string): string {
  return new RegExp(`^${key}:[ \t]*(.*)$`, "mi").exec(stanza)?.[1] ?? "";
}

/**
 * The code name of the host's release of Debian, for example `bookworm`.
 *
 * @example
 * ```ts
 * import { debianSuite } from "@vireo/firmware/image";
 * import { assertEquals } from "@std/assert";
 *
 * // Hosts of another distribution may have no code name.
 * assertEquals(/^\w*$/.test(await debianSuite() ?? ""), true);
 * ```
 */
export async function debianSuite(): Promise<string | undefined> {
  const release = await Deno.readTextFile("/etc/os-release").catch(() => "");
  return /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1];
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
