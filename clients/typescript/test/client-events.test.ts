import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEvents } from '../src/client-events.js';

async function read(...chunks: (string | Uint8Array)[]): Promise<{ event: string; data: string }[]> {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(typeof chunk === 'string' ? encoder.encode(chunk) : chunk);
      controller.close();
    },
  });
  const events = [];
  for await (const event of readEvents(body, () => {})) events.push(event);
  return events;
}

test('events are read as the standard says', async () => {
  assert.deepEqual(await read('event: state\ndata: {"a":1}\n\n: heartbeat\n\ndata:one\ndata: two\nid: 7\n\n'), [
    { event: 'state', data: '{"a":1}' },
    { event: 'message', data: 'one\ntwo' },
  ]);
  // An event that has not ended is none; one without data neither.
  assert.deepEqual(await read('event: x\n\nevent: y\ndata: 1'), []);
  assert.deepEqual(await read('data\n\n'), [{ event: 'message', data: '' }]);
});

test('lines may end in any way, and chunks anywhere', async () => {
  const text = 'event: change\r\ndata: "ä😀"\r\rdata: 2\n\r\n';
  const bytes = new TextEncoder().encode(text);
  const expected = [{ event: 'change', data: '"ä😀"' }, { event: 'message', data: '2' }];
  assert.deepEqual(await read(text), expected);
  for (let cut = 1; cut < bytes.length; cut++) assert.deepEqual(await read(bytes.slice(0, cut), bytes.slice(cut)), expected, `cut at ${cut}`);
  assert.deepEqual(await read(...Array.from(bytes, (byte) => Uint8Array.of(byte))), expected);
});

test('a stream is cancelled when nobody reads on', async () => {
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new TextEncoder().encode('data: 1\n\n')),
    cancel: () => void (cancelled = true),
  });
  for await (const _ of readEvents(body, () => {})) break;
  assert.equal(cancelled, true);
});
