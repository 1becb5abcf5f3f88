/** Cuts a stream of text into lines. */
export class TextLineStream extends TransformStream<string, string> {
  constructor() {
    let rest = "";
    super({
      transform(text, out) {
        const lines = (rest + text).split("\n");
        rest = lines.pop()!;
        for (const line of lines) out.enqueue(line);
      },
    });
  }
}
