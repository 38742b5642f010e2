/**
 * Server-sent events, read by `fetch`: unlike `EventSource` it sends an Authorization header, says what went wrong, and
 * runs everywhere.
 */

/** One event of a stream. */
export interface ServerSentEvent {
  event: string;
  data: string;
}

/** Reads the events of a response's body, to its end. Comments count as signs of life. */
export async function* readEvents(body: ReadableStream<Uint8Array>, onLife: () => void): AsyncGenerator<ServerSentEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let event = '';
  let data: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onLife();
      rest += decoder.decode(value, { stream: true });
      // A CR at the end may be the first half of a line's end.
      const end = rest.endsWith('\r') ? rest.length - 1 : rest.length;
      const lines = rest.slice(0, end).split(/\r\n|\n|\r/);
      rest = (lines.pop() ?? '') + rest.slice(end);
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0) yield { event: event || 'message', data: data.join('\n') };
          event = '';
          data = [];
          continue;
        }
        const colon = line.indexOf(':');
        const field = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (field === 'event') event = text;
        else if (field === 'data') data.push(text);
      }
    }
  } finally {
    // Also when the consumer leaves early.
    await reader.cancel().catch(() => {});
  }
}
