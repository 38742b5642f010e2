import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonProblem } from '../src/json.js';

test('what is JSON is no problem', () => {
  const shared = { a: 1 };
  for (const value of [null, true, 0, -1.5, '', 'ä🚀', [], {}, [null, [1]], { a: { b: [1, 'x'] }, c: undefined }, [shared, shared], Object.create(null)]) {
    assert.equal(jsonProblem(value), undefined, JSON.stringify(value));
  }
});

test('what is not JSON is named with its path', () => {
  const circle: Record<string, unknown> = {};
  circle['self'] = circle;
  const cases: [unknown, string][] = [
    [undefined, '$: undefined is not JSON'],
    [NaN, '$: NaN is not JSON'],
    [{ a: [1, Infinity] }, '$.a[1]: Infinity is not JSON'],
    [[undefined], '$[0]: undefined is not JSON'],
    [1n, '$: a bigint is not JSON'],
    [{ 'a b': () => 1 }, '$["a b"]: a function is not JSON'],
    [{ at: new Date() }, '$.at: an instance of Date is not JSON'],
    [new Map(), '$: an instance of Map is not JSON'],
    [circle, '$.self: an object that contains itself is not JSON'],
    ['a\0b', '$: PostgreSQL cannot store the character U+0000'],
    [{ 'a\0': 1 }, '$["a\\u0000"]: PostgreSQL cannot store the character U+0000'],
    ['\ud800', '$: half a surrogate pair is not text'],
    ['\udc00x', '$: half a surrogate pair is not text'],
  ];
  for (const [value, problem] of cases) assert.equal(jsonProblem(value), problem);
});
