/** What a handle makes of doors that refuse, hang, forget to tell, or hang up. No server here. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { createClient } from '../src/client.js';
import type { CallError, ClientOptions, SupabaseLike } from '../src/client.js';
import type { RunState, RunStatus } from '../src/client-state.js';

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

const begun = '2026-01-01T00:00:00Z';
const over = '2026-01-01T00:00:09Z';

/** A run with one step, which is as far as the run. */
function stateOf(status: RunStatus & ('started' | 'completed')): RunState {
  const times = { started_at: begun, finished_at: status === 'completed' ? over : null };
  return {
    run: {
      run_id: 'r', flow_slug: 'f', flow_version: 1, status, payload: {}, output: status === 'completed' ? { s: 1 } : null, error_message: null,
      key: null, created_at: begun, ...times,
    },
    steps: [{
      step_slug: 's', status, step_type: 'single', executor: 'worker', deps_slugs: [], output: status === 'completed' ? 1 : null, error_message: null,
      skip_reason: null, initial_tasks: 1, completed_tasks: null, attempts: 1, failed_attempts: 0, ...times,
    }],
  };
}

const says = (status: number, code: string) => () => Response.json({ code, message: 'no' }, { status });

/** A handle over HTTP, nobody telling, whose n-th reading is answered so. */
function watch(answer: (reading: number) => Response) {
  const seen = { readings: 0, tokens: 0 };
  const fetch = (async () => answer(++seen.readings)) as typeof globalThis.fetch;
  const client = createClient({ url: 'http://nowhere', liveUrl: false, getToken: () => `token ${++seen.tokens}`, fetch });
  return { seen, handle: client.watchRun('r') };
}

for (const [what, refusal] of [
  ['a token that ran out', says(401, 'PGRST301')],
  ['a right that nobody has without a token', says(401, '42501')],
  ['a function that is not known yet', says(404, 'PGRST202')],
  ['a page of a proxy', () => new Response('<html>maintenance</html>')],
  ['a firewall', () => new Response('<html>blocked</html>', { status: 403 })],
  ['a gateway', () => new Response('bad gateway', { status: 502 })],
] as const) {
  test(`a reading refused by ${what} is tried again`, async () => {
    const { seen, handle } = watch((n) => (n === 1 ? Response.json(stateOf('started')) : n <= 5 ? refusal() : Response.json(stateOf('completed'))));
    assert.deepEqual(await handle.result, { s: 1 });
    assert.ok(seen.tokens >= seen.readings && seen.readings >= 6);
  });
}

test('a reading that the database refuses is not tried again', async () => {
  for (const [status, code] of [[404, 'PT404'], [403, '42501'], [400, '22P02']] as const) {
    const { seen, handle } = watch(says(status, code));
    await assert.rejects(handle.ready, { code, status });
    await assert.rejects(handle.result, { code, status });
    assert.equal(handle.transport, 'closed');
    assert.equal(seen.readings, 1);
  }
});

test('what is refused for a minute is given up', async () => {
  const { seen, handle } = watch(says(401, 'PGRST301'));
  await sleep(400);
  assert.equal(handle.transport, 'connecting');
  const now = performance.now();
  const clock = mock.method(performance, 'now', () => now + 60_500);
  try {
    await assert.rejects(handle.result, { status: 401, code: 'PGRST301' });
  } finally {
    clock.mock.restore();
  }
  assert.ok(seen.readings >= 3);
});

/** A client of Supabase whose `get_run` is this; `tell` sends a message by its channel. */
function supabaseOf(getRun: () => Promise<RunState>, options: ClientOptions = {}, ended?: AbortSignal[]) {
  let tell = (_: object): void => {};
  const channel = {
    on: (_type: string, _filter: object, callback: (message: object) => void) => {
      tell = (payload) => callback({ event: 'x', payload });
      return channel;
    },
    subscribe: (callback: (status: string) => void) => void queueMicrotask(() => callback('SUBSCRIBED')),
  };
  const supabase: SupabaseLike = {
    schema: () => ({
      rpc: () => {
        const call = getRun().then((data) => ({ data, error: null, status: 200 }));
        return ended === undefined ? call : Object.assign(call, { abortSignal: (signal: AbortSignal) => (ended.push(signal), call) });
      },
    }),
    channel: () => channel,
    removeChannel: async () => {},
  };
  return { client: createClient(supabase, options), tell: (payload: object) => tell(payload) };
}

const COMPLETED = { event_type: 'run:completed', run_id: 'r', flow_slug: 'f', status: 'completed', started_at: begun, finished_at: over, output: { s: 1 } };

test('the end of a step that got lost is told before the handle closes', async () => {
  let state = stateOf('started');
  const { client, tell } = supabaseOf(async () => state);
  const handle = client.watchRun('r');
  const told: string[] = [];
  handle.on('run', ({ status }) => told.push(`run ${status}`));
  handle.on('step', ({ slug, status }) => told.push(`${slug} ${status}`));
  await handle.ready;
  state = stateOf('completed');
  tell(COMPLETED);
  assert.deepEqual(await handle.result, { s: 1 });
  assert.equal(handle.step('s')?.status, 'completed');
  assert.deepEqual(told, ['run started', 's started', 's completed', 'run completed']);
  assert.equal(handle.transport, 'closed');
});

test('a cancelRun that resolves with an error has not cancelled', async () => {
  const answers: unknown[] = [
    { data: null, error: { message: 'permission denied', code: '42501', details: null, hint: null }, status: 403 },
    { data: null, error: Object.assign(new Error('not yours'), { code: 'X' }) },
    { error: 'no' },
    { data: 'cancelled', error: null, status: 200 },
    undefined,
    'cancelled',
  ];
  const { client } = supabaseOf(async () => stateOf('started'), { cancelRun: async () => answers.shift() });
  const handle = client.watchRun('r');
  await assert.rejects(handle.cancel(), (error: CallError) => error.code === '42501' && error.status === 403 && /permission denied/.test(error.message));
  await assert.rejects(handle.cancel(), /^Error: not yours$/);
  await assert.rejects(handle.cancel(), /cancelRun: no/);
  for (const _ of [1, 2, 3]) await handle.cancel();
  handle.close();
});

for (const canEnd of [true, false]) {
  test(`a reading that hangs is given up after a while, ${canEnd ? 'and ended' : 'also where it cannot be ended'}`, async () => {
    let hangs = false;
    let state = stateOf('started');
    const ended: AbortSignal[] = [];
    const { client, tell } = supabaseOf(() => (hangs ? new Promise(() => {}) : Promise.resolve(state)), {}, canEnd ? ended : undefined);
    mock.timers.enable({ apis: ['setTimeout'] });
    const turns = async () => {
      for (let n = 0; n < 20; n++) await new Promise((resolve) => setImmediate(resolve));
    };
    try {
      const handle = client.watchRun('r');
      await handle.ready;
      hangs = true;
      mock.timers.tick(2_000);
      await turns();
      tell(COMPLETED);
      state = stateOf('completed');
      hangs = false;
      mock.timers.tick(29_000);
      await turns();
      assert.equal(handle.status, 'started');
      mock.timers.tick(1_500);
      await turns();
      mock.timers.tick(1_000);
      await turns();
      assert.equal(handle.status, 'completed');
      assert.equal(ended.filter(({ aborted }) => aborted).length, canEnd ? 1 : 0);

      // So it is when nobody watches any longer.
      hangs = true;
      const other = client.watchRun('r');
      await turns();
      other.close();
      await turns();
      assert.equal(ended.filter(({ aborted }) => aborted).length, canEnd ? 2 : 0);
    } finally {
      mock.timers.reset();
    }
  });
}

test('a stream that ends as soon as it has begun is opened less and less often', async () => {
  let streams = 0;
  let ends = `event: state\ndata: ${JSON.stringify(stateOf('started'))}\n\n`;
  const fetch = (async (url: string) => {
    if (!url.endsWith('/events')) return Response.json(stateOf('started'));
    streams++;
    return new Response(ends, { headers: { 'content-type': 'text/event-stream' } });
  }) as typeof globalThis.fetch;
  // Whether it breaks, or says that the token ran out.
  for (const more of ['', 'event: expired\ndata: {}\n\n']) {
    streams = 0;
    ends += more;
    const handle = createClient({ url: 'http://nowhere', fetch }).watchRun('r');
    await sleep(3_000);
    handle.close();
    assert.ok(streams >= 3 && streams <= 7, `${streams} streams`);
  }
});
