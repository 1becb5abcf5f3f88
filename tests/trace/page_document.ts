import { PAGE_END, PAGE_START } from "../../firmware/trace/page_script.ts";

/** Pixels that any canvas of the document is wide. */
const WIDTH = 1180;
/** Pixels that any text is wide. */
const TEXT = 30;

/** As much of a canvas as the page's program uses: it notes what is drawn. */
class Pen {
  fillStyle = "";
  font = "";
  readonly drawn: string[] = [];
  #path: string[] = [];

  setTransform(...[scale]: number[]): void {
    this.drawn.push(`scale ${scale}`);
  }
  clearRect(...box: number[]): void {
    // The first call of each drawing but for the scale.
    this.drawn.push(`clear ${box.join(" ")}`);
  }
  fillRect(...box: number[]): void {
    this.drawn.push(`${this.fillStyle} ${box.map((n) => +n.toFixed(1)).join(" ")}`);
  }
  fillText(text: string, x: number, y: number): void {
    this.drawn.push(`${this.fillStyle} '${text}' ${+x.toFixed(1)} ${y}`);
  }
  measureText(): { readonly width: number } {
    return { width: TEXT };
  }
  rect(...box: number[]): void {
    this.#path.push(box.join(" "));
  }
  beginPath(): void {
    this.#path = [];
  }
  clip(): void {
    this.drawn.push(`clip ${this.#path.join(", ")}`);
  }
  save(): void {
    this.drawn.push("save");
  }
  restore(): void {
    this.drawn.push("restore");
  }
}

/** As much of an element as the page's program uses. */
class Part {
  readonly tag: string;
  readonly pen: Pen = new Pen();
  readonly style: Record<string, string> = {};
  readonly dataset: Record<string, string> = {};
  readonly clientWidth: number = WIDTH;
  width = 0;
  height = 0;
  className = "";
  title = "";
  value = "";
  selected = false;
  textContent = "";
  children: (Part | string)[] = [];
  onclick?: (event: unknown) => void;
  onwheel?: (event: unknown) => void;
  onchange?: (event: unknown) => void;
  oninput?: (event: unknown) => void;

  constructor(tag: string) {
    this.tag = tag;
  }
  append(...children: (Part | string)[]): void {
    this.children.push(...children);
  }
  replaceChildren(...children: (Part | string)[]): void {
    this.children = children;
  }
  getContext(): Pen {
    return this.pen;
  }
  /** The text in it, the parts of a row with bars between them. */
  get text(): string {
    const words = this.children.map((child) => typeof child === "string" ? child : child.text);
    return words.length === 0 ? this.textContent : words.join(this.tag === "tr" ? "|" : " ");
  }
  /** The text of each child, with its class. */
  get rows(): string[] {
    return this.children.map((child) =>
      typeof child === "string"
        ? child
        : child.className === ""
        ? child.text
        : `${child.className}: ${child.text}`
    );
  }
}

/** A trace's page as its program made it, without a browser. */
export class PageDocument {
  readonly body: Part = new Part("body");
  readonly #parts = new Map<string, Part>();
  readonly #resized: (() => void)[] = [];

  /** Runs the program of a page on lines of events. */
  constructor(lines: string) {
    for (const [, tag, id] of `${PAGE_START}${PAGE_END}`.matchAll(/<(\w+) id="([\w-]+)"/g)) {
      this.#parts.set(id!, new Part(tag!));
    }
    this.at("events").textContent = lines;
    const [, program] = /<script>([^]*?)<\/script>/.exec(PAGE_START)!;
    const loaded: (() => void)[] = [];
    const listen = (name: string, listener: () => void): void => {
      if (name === "DOMContentLoaded") loaded.push(listener);
      if (name === "resize") this.#resized.push(listener);
    };
    const document = {
      body: this.body,
      getElementById: (id: string) => this.at(id),
      createElement: (tag: string) => new Part(tag),
    };
    new Function("addEventListener", "document", "devicePixelRatio", program!)(listen, document, 2);
    for (const listener of loaded) listener();
  }

  /** The element of an id. */
  at(id: string): Part {
    const part = this.#parts.get(id);
    if (part === undefined) throw new RangeError(`Cannot find ${id}: the page has no such element`);
    return part;
  }

  /** Takes the list of what was drawn on a canvas. */
  drawn(id: string): string[] {
    return this.at(id).pen.drawn.splice(0);
  }

  /** Tells the program that the window has another size. */
  resize(): void {
    for (const listener of this.#resized) listener();
  }
}
