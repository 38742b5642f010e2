/** What a client makes of states and messages that come twice, late or not at all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KnownRun, micros } from '../src/client-state.js';
import type { Change, Message, RunState } from '../src/client-state.js';

const time = (at: number) => new Date(Date.UTC(2026, 0, 1) + at).toISOString().replace('Z', '123+00:00');

/** A run as the server has it: three steps, moved one change at a time, each of which is told. */
class World {
  now = 0;
  readonly state: RunState;
  readonly told: Message[] = [];

  constructor() {
    const step = (slug: string) => ({
      step_slug: slug, status: 'pending' as const, step_type: 'single' as const, executor: 'worker', deps_slugs: [], output: null,
      error_message: null, skip_reason: null, started_at: null, finished_at: null, initial_tasks: null, completed_tasks: null, attempts: 0, failed_attempts: 0,
    });
    this.state = {
      run: {
        run_id: 'r', flow_slug: 'f', flow_version: 1, status: 'pending', payload: {}, output: null, error_message: null, key: null,
        created_at: time(0), started_at: null, finished_at: null,
      },
      steps: ['a', 'b', 'c'].map(step),
    };
  }

  copy(): RunState {
    return structuredClone(this.state);
  }

  run(status: RunState['run']['status'], more: Partial<RunState['run']> = {}): void {
    const { run } = this.state;
    Object.assign(run, { status, started_at: run.started_at ?? time(++this.now), finished_at: status === 'started' ? null : time(++this.now) }, more);
    this.told.push({
      event_type: `run:${status}`, run_id: 'r', status, started_at: run.started_at!, ...(run.finished_at === null ? {} : { finished_at: run.finished_at }),
      ...(status === 'completed' ? { output: run.output } : {}),
    });
  }

  step(n: number, status: RunState['steps'][number]['status'], output?: number): void {
    const step = this.state.steps[n]!;
    // As the engine does: a step that starts again keeps the time at which it first did.
    const startedAt = step.started_at ?? (status === 'started' ? time(++this.now) : null);
    Object.assign(step, { status, output: output ?? null, started_at: startedAt, finished_at: status === 'started' ? null : time(++this.now) });
    this.told.push({
      event_type: `step:${status}`, run_id: 'r', step_slug: step.step_slug, status, ...(startedAt === null ? {} : { started_at: startedAt }),
      ...(step.finished_at === null ? {} : { finished_at: step.finished_at }), ...(output === undefined ? {} : { output }),
    });
  }

  /** The run fails at its second step, is retried, and completes. */
  *life(): Generator<void> {
    yield this.run('started');
    yield this.step(0, 'started');
    yield this.step(0, 'completed', 1);
    yield this.step(1, 'started');
    yield this.step(1, 'failed');
    yield this.step(2, 'cancelled');
    yield this.run('failed', { error_message: 'boom' });
    for (const step of this.state.steps.slice(1)) Object.assign(step, { status: 'pending', finished_at: null, error_message: null });
    yield this.run('started', { error_message: null });
    yield this.step(1, 'started');
    yield this.step(1, 'completed', 2);
    yield this.step(2, 'started');
    yield this.step(2, 'completed', 3);
    yield this.run('completed', { output: { c: 3 } });
  }
}

/** A generator of numbers that are the same each time. */
function random(seed: number): () => number {
  return () => {
    seed = (seed * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return seed / 2 ** 32;
  };
}

const name = (change: Change) => (change.kind === 'run' ? `run ${change.status}` : `${change.step.slug} ${change.status}`);

test('each change is told once and in order, when every message comes', () => {
  const world = new World();
  const known = new KnownRun();
  known.replace(world.copy());
  const told: string[] = [];
  for (const _ of world.life()) {
    const learned = known.apply(world.told.at(-1)!);
    told.push(...(learned === 'read' ? known.replace(world.copy()) : learned).map(name));
  }
  assert.deepEqual(told.slice(0, 5), ['run started', 'a started', 'a completed', 'b started', 'b failed']);
  assert.equal(told.filter((one) => one === 'a completed').length, 1);
  // The retry sets two steps back.
  assert.deepEqual(told.slice(5, 8).sort(), ['c cancelled', 'run failed', 'run started']);
  assert.deepEqual(told.slice(8, 10).sort(), ['b pending', 'c pending']);
  assert.deepEqual(told.slice(10), ['b started', 'b completed', 'c started', 'c completed', 'run completed']);
});

test('a run that completes while the end of a step got lost is read', () => {
  const world = new World();
  const known = new KnownRun();
  known.replace(world.copy());
  const told: string[] = [];
  const lost = (message: Message) => message.step_slug === 'c' && message.status === 'completed';
  for (const _ of world.life()) {
    const message = world.told.at(-1)!;
    if (lost(message)) continue;
    const learned = known.apply(message);
    told.push(...(learned === 'read' ? known.replace(world.copy()) : learned).map(name));
  }
  assert.deepEqual(told.slice(-2), ['c completed', 'run completed']);
  assert.equal(known.steps[2]?.status, 'completed');
  assert.equal(known.steps[2]?.output, 3);
});

test('a first state tells what was before it, in order', () => {
  const world = new World();
  for (const _ of world.life());
  const known = new KnownRun();
  assert.deepEqual(known.replace(world.copy()).map(name), [
    'run started', 'a started', 'a completed', 'b started', 'b completed', 'c started', 'c completed', 'run completed',
  ]);
  assert.deepEqual(known.replace(world.copy()), []);
});

test('whatever comes twice, late or not at all, what is known ends as it is', () => {
  let reads = 0;
  for (let seed = 1; seed <= 3_000; seed++) {
    const chance = random(seed);
    const world = new World();
    const known = new KnownRun();
    /** Messages that are on their way, in order, and may come again. */
    const onTheWay: Message[] = [];
    const seen: Change[] = [];
    const read = () => {
      // What came before is in the state; what is on its way may be too.
      seen.push(...known.replace(world.copy()));
      reads++;
    };
    const deliver = (message: Message) => {
      const learned = known.apply(message);
      if (learned === 'read') read();
      else seen.push(...learned);
    };
    if (chance() < 0.5) read();
    const lossy = chance() < 0.5;
    const life = world.life();
    for (let over = false; !over || onTheWay.length > 0; ) {
      const before = world.told.length;
      if (!over && chance() < 0.6) over = life.next().done === true;
      for (const message of world.told.slice(before)) if (!lossy || chance() > 0.2) onTheWay.push(message);
      const next = chance() < 0.5 ? onTheWay.shift() : undefined;
      if (next !== undefined) {
        deliver(next);
        if (chance() < 0.1) onTheWay.unshift(next);
      }
      if (chance() < 0.1) read();
      if (chance() < 0.05) {
        const learned = known.merge(world.copy());
        if (learned === 'read') read();
        else seen.push(...learned);
      }
    }
    // What is lost is found by the next look.
    if (lossy) read();
    assert.equal(known.run?.status, 'completed', `seed ${seed}`);
    assert.deepEqual(known.run?.output, { c: 3 }, `seed ${seed}`);
    assert.deepEqual(known.steps.map(({ status, output }) => [status, output]), [['completed', 1], ['completed', 2], ['completed', 3]], `seed ${seed}`);
    // Step a was never set back: it is told of once each.
    const ofA = seen.filter((change) => change.kind === 'step' && change.step.slug === 'a').map(name);
    assert.deepEqual(ofA, ['a started', 'a completed'], `seed ${seed}`);
    assert.equal(seen.filter((change) => name(change) === 'run completed').length, 1, `seed ${seed}`);
  }
  assert.ok(reads > 0);
});

test('an old message changes nothing', () => {
  const world = new World();
  const known = new KnownRun();
  const life = world.life();
  for (let n = 0; n < 4; n++) life.next();
  known.replace(world.copy());
  for (const message of world.told) assert.deepEqual(known.apply(message), [], message.event_type);
  assert.equal(known.apply({ event_type: 'step:started', run_id: 'r', step_slug: 'new', status: 'started' }), 'read');
});

test('what was left out of a message is read, once', () => {
  const world = new World();
  const known = new KnownRun();
  const life = world.life();
  life.next();
  life.next();
  known.replace(world.copy());
  life.next();
  const { output, ...message } = world.told.at(-1)!;
  assert.equal(known.apply({ ...message, fetch: true }), 'read');
  assert.deepEqual(known.replace(world.copy()).map(name), ['a completed']);
  assert.equal(known.steps[0]!.output, 1);
  assert.deepEqual(known.apply({ ...message, fetch: true }), []);
});

test('what has not changed stays the same object', () => {
  const world = new World();
  const known = new KnownRun();
  for (const _ of world.life());
  known.replace(world.copy());
  const { run, steps } = known;
  known.replace(world.copy());
  assert.equal(known.run, run);
  steps.forEach((step, n) => assert.equal(known.steps[n], step));
});

test('times are compared to the microsecond, whatever their zone', () => {
  assert.equal(micros('2026-11-29T13:09:13.123456+00:00') - micros('2026-11-29T13:09:13.123455+00:00'), 1);
  assert.equal(micros('2026-11-29T14:09:13.5+01:00'), micros('2026-11-29T13:09:13.500000Z'));
  assert.equal(micros('2026-11-29 14:09:13+01'), micros('2026-11-29T13:09:13+00:00'));
  assert.equal(micros(null), -Infinity);
  assert.equal(micros(undefined), -Infinity);
});
