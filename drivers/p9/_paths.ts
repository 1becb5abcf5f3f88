import { P9Errno, P9Type } from "@vireo/hal";
import type { WaitOptions } from "../wait/options.ts";
import { isDirectory, isSymlink, type P9Qid, P9Writer } from "./_message.ts";
import type { P9Session } from "./_session.ts";
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
  readonly #session: P9Session;
  readonly #root: number;
  readonly #qid: P9Qid;

  /** Finds files from a root on. */
  constructor(session: P9Session, root: number, qid: P9Qid) {
    this.#session = session;
    this.#root = root;
    this.#qid = qid;
  }

  /** Finds a file, in one message for 16 names where no symbolic link is on the way. */
  async find(path: string, options: WaitOptions, follow = true): Promise<Found> {
    const todo = parts(path);
    if (!todo.includes("..")) {
      try {
        const found = await this.#walk(this.#root, todo, options);
        if (!found.linked && !(follow && isSymlink(found.qid))) return found;
        this.#session.forget(found.fid);
      } catch (error) {
        // Of more than one name, the server does not say what was wrong with which.
        if (!(error instanceof P9Error) || todo.length < 2) throw error;
      }
    }
    return await this.#follow(todo, options, follow);
  }

  /** Finds a file name by name: follows what points elsewhere, and finds out what the server refuses. */
  async #follow(todo: string[], options: WaitOptions, follow: boolean): Promise<Found> {
    let done: string[] = [];
    let here = this.#top;
    const go = (next: Found): void => {
      if (here.fid !== this.#root) this.#session.forget(here.fid);
      here = next;
    };
    const up = async (names: string[]): Promise<void> => {
      done = names;
      go(names.length === 0 ? this.#top : await this.#walk(this.#root, names, options));
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
          target = await readlink(this.#session, next.fid, options);
        } finally {
          this.#session.forget(next.fid);
        }
        if (++links > MAX_LINKS) {
          const what = "Symbolic links lead around in a circle";
          throw new P9Error(what, P9Errno.ELOOP, this.#session.name);
        }
        if (target.startsWith("/")) await up([]);
        todo.unshift(...parts(target));
      }
      // The caller gives back what it gets, and the root stays.
      return here.fid === this.#root ? await this.#walk(this.#root, [], options) : here;
    } catch (error) {
      go(this.#top);
      throw error;
    }
  }

  get #top(): Found {
    return { fid: this.#root, qid: this.#qid };
  }

  /** Walks the whole way, or throws. */
  async #walk(
    from: number,
    names: readonly string[],
    options: WaitOptions,
  ): Promise<Found & { readonly linked: boolean }> {
    const { fid, qids } = await this.#session.walk(from, names, options);
    const qid = qids.at(-1) ?? this.#qid;
    if (qids.length < names.length) {
      const what = `9P server finds no '${names[qids.length]}'`;
      const errno = isDirectory(qid) ? P9Errno.ENOENT : P9Errno.ENOTDIR;
      throw new P9Error(what, errno, this.#session.name);
    }
    return { fid, qid, linked: qids.slice(0, -1).some(isSymlink) };
  }
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
