import { assertEquals, assertRejects } from "@std/assert";
import { SYSTEM_TIMERS, type Timers } from "@vireo/drivers";
import { VireoError } from "@vireo/hal";
import type { TcpClient } from "./host.ts";
import { fetchUrl } from "./http.ts";

const URL_TEXT = "http://10.0.2.2/file";

/** A server that answers with these parts, and ends unless it is to fall silent. */
function server(
  parts: readonly string[],
  silent = false,
  timers: Timers = SYSTEM_TIMERS,
): TcpClient {
  return {
    timers,
    connect: () =>
      Promise.resolve({
        readable: new ReadableStream<Uint8Array>({
          start(controller) {
            for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
            if (!silent) controller.close();
          },
        }),
        writable: new WritableStream<Uint8Array>(),
        close: () => Promise.resolve(),
        reset: () => {},
      }),
  };
}

async function bodyOf(...parts: string[]): Promise<string> {
  const { body } = await fetchUrl(server(parts), URL_TEXT, {});
  return await new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>).text();
}

const OK = "HTTP/1.1 200 OK\r\n";

Deno.test("fetchUrl() takes what RFC 9112 allows of lengths, lines and answers before the answer", async () => {
  assertEquals(await bodyOf(`${OK}Content-Length: 5\r\n\r\n`, "hello and more"), "hello");
  assertEquals(await bodyOf(`${OK}Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello`), "hello");
  assertEquals(await bodyOf(`${OK}Content-Length: 5, 5\r\n\r\nhello`), "hello");
  assertEquals(await bodyOf(`${OK}\r\nuntil the end`), "until the end");
  assertEquals(await bodyOf("HTTP/1.1 204 Nothing\r\n\r\n"), "");
  const interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
  assertEquals(await bodyOf(`${interim}${OK}Content-Length: 5\r\n\r\nhello`), "hello");
  const chunks =
    `${OK}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5;ext=1\r\nhello\r\nA\r\n over there\r\n`;
  assertEquals(
    await bodyOf(chunks.replace(" over there", " over here"), "0\r\n\r\n"),
    "hello over here",
  );
  const { headers } = await fetchUrl(
    server([`${OK}X-Long: one\r\n  two\r\n\tthree\r\nX-Next: 1 \r\n\r\n`]),
    URL_TEXT,
    {},
  );
  assertEquals([headers.get("x-long"), headers.get("x-next")], ["one two three", "1"]);
});

Deno.test("fetchUrl() refuses an answer whose length is not certain", async () => {
  const wrong: [answer: string, seen: string][] = [
    [`${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`, "a body of Content-Length '5, 6'"],
    [`${OK}Content-Length: five\r\n\r\nhello`, "a body of Content-Length 'five'"],
    [`${OK}Content-Length: \r\n\r\nhello`, "a body of Content-Length ''"],
    [`${OK}Content-Length: -5\r\n\r\nhello`, "a body of Content-Length '-5'"],
    [`${OK}Content-Length: 0x5\r\n\r\nhello`, "a body of Content-Length '0x5'"],
    [
      `${OK}Content-Length: 99999999999999999999\r\n\r\n`,
      "a body of Content-Length '99999999999999999999'",
    ],
    [`${OK}Content-Length: 9\r\n\r\nhello`, "an end 4 bytes too early"],
    [`${OK}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, "a body coded as 'gzip, chunked'"],
    [`${OK}Transfer-Encoding: chunked\r\n\r\n5x\r\nhello\r\n`, "a chunk of length '5x'"],
    [
      `${OK}Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n`,
      "a chunk that is longer than it says",
    ],
    [`${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhel`, "an end 2 bytes too early"],
    [`${OK} folded: first\r\n\r\n`, " folded: first"],
    [`${OK}No colon\r\n\r\n`, "No colon"],
    ["HTTP/1.1 0200 OK\r\n\r\n", "HTTP/1.1 0200 OK"],
    ["HTTP/1.1 101 Switching\r\n\r\n", "101 without a request for it"],
    ["HTTP/1.1 100 Go on\r\n\r\n".repeat(20), "more than 16 answers before the answer"],
    ["SSH-2.0-OpenSSH\r\n", "SSH-2.0-OpenSSH"],
    ["", "a line that does not end"],
  ];
  for (const [answer, seen] of wrong) {
    const error = await assertRejects(() => bodyOf(answer), VireoError);
    assertEquals([error.code, error.seen], ["BAD_STATUS", seen]);
  }
});

Deno.test("fetchUrl() ends when the server falls silent, in the head and in the body", async () => {
  const message = "Timed out after 5 ms waiting for the server to go on with its answer";
  const inHead = () => fetchUrl(server(["HTTP/1.1 20"], true), URL_TEXT, { idle: 5 });
  assertEquals((await assertRejects(inHead, VireoError, message)).code, "TIMEOUT");
  const { body } = await fetchUrl(server([`${OK}Content-Length: 9\r\n\r\nhel`], true), URL_TEXT, {
    idle: 5,
  });
  const reader = body.getReader();
  assertEquals(new TextDecoder().decode((await reader.read()).value), "hel");
  await assertRejects(() => reader.read(), VireoError, message);
});
