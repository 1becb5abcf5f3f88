import { P9_MAX_WALK, P9Errno, P9Type } from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import { isDirectory, isSymlink, type P9Qid, type P9Reader, P9Writer } from "./_message.ts";
import { type P9Session, P9Step } from "./_session.ts";
import { P9Error } from "./errors.ts";

/** Symbolic links on the way to a file, as Linux has it. */
const MAX_LINKS = 40;
/** Longest target of a symbolic link, in bytes. */
const MAX_TARGET = 4096;

/** A file that was found; the fid is its finder's to give back. */
export interface Found {
  /** The server's handle. */
  readonly fid: number;
  /** Kind of the file. */
  readonly qid: P9Qid;
}

/** Finds the files of a tree by their paths. */
export class P9Paths {
  /** The conversation with the server. */
  readonly session: P9Session;
  /** The root's handle. */
  readonly root: number;
  /** Kind of the root. */
  readonly qid: P9Qid;

  /** Finds files from a root on. */
  constructor(session: P9Session, root: number, qid: P9Qid) {
    this.session = session;
    this.root = root;
    this.qid = qid;
  }

  /** Finds a file, in one message for 16 names where no symbolic link is on the way. */
  find(path: string, options: WaitOptions, follow = true): Promise<Found> {
    const todo = parts(path);
    if (todo.includes("..")) return this.follow(todo, options, follow);
    if (todo.length > P9_MAX_WALK) return this.#findDeep(todo, options, follow);
    return this.session.step(new Find(this, todo, options, follow), options);
  }

  async #findDeep(todo: string[], options: WaitOptions, follow: boolean): Promise<Found> {
    try {
      const found = await this.#walk(this.root, todo, options);
      if (!found.linked && !(follow && isSymlink(found.qid))) return found;
      this.session.forget(found.fid);
    } catch (error) {
      // Of more than one name, the server does not say what was wrong with which.
      if (!(error instanceof P9Error)) throw error;
    }
    return await this.follow(todo, options, follow);
  }

  /** Finds a file name by name: follows what points elsewhere, and finds out what the server refuses. */
  async follow(todo: string[], options: WaitOptions, follow: boolean): Promise<Found> {
    let done: string[] = [];
    let here = this.#top;
    const go = (next: Found): void => {
      if (here.fid !== this.root) this.session.forget(here.fid);
      here = next;
    };
    const up = async (names: string[]): Promise<void> => {
      done = names;
      go(names.length === 0 ? this.#top : await this.#walk(this.root, names, options));
    };
    try {
      for (let links = 0; todo.length > 0;) {
        const name = todo.shift()!;
        if (name === "..") {
          await up(done.slice(0, -1));
          continue;
        }
        const next = await this.#walk(here.fid, [name], options);
        if (!isSymlink(next.qid) || (todo.length === 0 && !follow)) {
          done.push(name);
          go(next);
          continue;
        }
        let target: string;
        try {
          target = await readlink(this.session, next.fid, options);
        } finally {
          this.session.forget(next.fid);
        }
        if (++links > MAX_LINKS) {
          const what = "Symbolic links lead around in a circle";
          throw new P9Error(what, P9Errno.ELOOP, this.session.name);
        }
        if (target.startsWith("/")) await up([]);
        todo.unshift(...parts(target));
      }
      // The caller gives back what it gets, and the root stays.
      return here.fid === this.root ? await this.#walk(this.root, [], options) : here;
    } catch (error) {
      go(this.#top);
      throw error;
    }
  }

  get #top(): Found {
    return { fid: this.root, qid: this.qid };
  }

  /** Walks the whole way, or throws. */
  async #walk(
    from: number,
    names: readonly string[],
    options: WaitOptions,
  ): Promise<Found & { readonly linked: boolean }> {
    const { fid, qids } = await this.session.walk(from, names, options);
    if (qids.length < names.length) throw this.missing(names, qids);
    return { fid, qid: qids.at(-1) ?? this.qid, linked: isLinked(qids) };
  }

  /** The error of a walk that was not complete. */
  missing(names: readonly string[], qids: readonly P9Qid[]): P9Error {
    const what = `9P server finds no '${names[qids.length]}'`;
    const inDirectory = isDirectory(qids.at(-1) ?? this.qid);
    return new P9Error(what, inDirectory ? P9Errno.ENOENT : P9Errno.ENOTDIR, this.session.name);
  }
}

/** The first attempt of a search: one walk of all names. */
class Find extends P9Step<Found> {
  readonly #paths: P9Paths;
  readonly #options: WaitOptions;
  readonly #follow: boolean;

  constructor(paths: P9Paths, names: readonly string[], options: WaitOptions, follow: boolean) {
    super(paths.session, paths.root, paths.session.takeFid(), names);
    this.#paths = paths;
    this.#options = options;
    this.#follow = follow;
  }

  take(answer: P9Reader): Found | Promise<Found> {
    const qids = this.qids(answer);
    if (qids.length < this.names.length) {
      this.session.giveFid(this.to);
      return this.refused(this.#paths.missing(this.names, qids));
    }
    const qid = qids.at(-1) ?? this.#paths.qid;
    if (!isLinked(qids) && !(this.#follow && isSymlink(qid))) return { fid: this.to, qid };
    this.session.forget(this.to);
    return this.#byNames();
  }

  /** Of more than one name, the server does not say what was wrong with which. */
  refused(error: unknown): Promise<Found> {
    if (!(error instanceof P9Error) || this.names.length < 2) throw error;
    return this.#byNames();
  }

  #byNames(): Promise<Found> {
    return this.#paths.follow([...this.names], this.#options, this.#follow);
  }
}

/** Whether a symbolic link is on the way to the last file. */
function isLinked(qids: readonly P9Qid[]): boolean {
  for (let i = 0; i < qids.length - 1; i++) if (isSymlink(qids[i]!)) return true;
  return false;
}

/** Asks where a symbolic link points to. */
export async function readlink(
  session: P9Session,
  fid: number,
  options: WaitOptions,
): Promise<string> {
  const message = P9Writer.begin(P9Type.READLINK).u32(fid);
  return (await session.call(message, 2 + MAX_TARGET, options)).text();
}

function parts(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

/** The directory of a path and the name in it. @throws {TypeError} If there is none. */
export function split(path: string): { readonly directory: string; readonly name: string } {
  const names = parts(path);
  const name = names.pop();
  if (name === undefined || name === "..") {
    throw new TypeError(`Cannot use '${path}': the path must end with a name`);
  }
  return { directory: names.join("/"), name };
}
