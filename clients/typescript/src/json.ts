/**
 * What JSON can say: as a type, as a check that the compiler makes of a handler's result, and as one at run time.
 */

/** Any JSON value, as `JSON.parse` returns it. */
export type Json = null | boolean | number | string | Json[] | JsonObject;

/** A JSON object. */
export type JsonObject = { [key: string]: Json };

declare const problem: unique symbol;

/**
 * Stands where a value would be right if the flow were: nothing can be assigned to it, and the compiler shows the
 * message.
 */
export interface FlowError<Message extends string> {
  readonly [problem]: Message;
}

/**
 * `T` where it is JSON, and `FlowError` in the places where it is not. A type is JSON exactly if it is assignable to
 * this. Interfaces count, properties that may be missing or `undefined` are left out by JSON and count too.
 */
export type AsJson<T> = [T] extends [Json] ? T : AsJsonSlowly<T>;

/** What is no `Json` may be JSON all the same: an interface, an optional property. */
type AsJsonSlowly<T> = T extends null | boolean | number | string
  ? T
  : T extends bigint
    ? FlowError<'a bigint is not JSON: convert it to a string or a number'>
    : T extends undefined | void
      ? FlowError<'undefined is not JSON: use null'>
      : T extends symbol
        ? FlowError<'a symbol is not JSON'>
        : T extends (...args: never) => unknown
          ? FlowError<'a function is not JSON'>
          : T extends Date
            ? FlowError<'a Date is not JSON, it would arrive as a string: use date.toISOString()'>
            : T extends ReadonlyMap<unknown, unknown>
              ? FlowError<'a Map is not JSON, it would arrive as {}: use Object.fromEntries(map)'>
              : T extends ReadonlySet<unknown>
                ? FlowError<'a Set is not JSON, it would arrive as {}: use [...set]'>
                : T extends ArrayBuffer | ArrayBufferView
                  ? FlowError<'bytes are not JSON: encode them, as base64 say'>
                  : T extends Promise<unknown>
                    ? FlowError<'a Promise is not JSON: await it'>
                    : T extends readonly unknown[]
                      ? { [K in keyof T]: AsJson<T[K]> }
                      : T extends object
                        ? { [K in keyof T]: AsJsonProperty<T[K]> }
                        : FlowError<'unknown is not known to be JSON: say what it is'>;

type AsJsonProperty<T> = T extends undefined ? T : AsJson<T>;

/** What arrives of a handler's result: nothing arrives as null. */
export type JsonResult<T> = 0 extends 1 & T
  ? any
  : [T] extends [undefined | void]
    ? null
    : undefined extends T ? Exclude<T, undefined> | null : T;

/** The deepest nesting that is looked into; `jsonb` takes more, and nobody writes it. */
const DEEPEST = 1_000;

/**
 * What keeps `value` from arriving as it is when it is sent as JSON to PostgreSQL, with the path to it; `undefined` if
 * nothing does. Properties that are `undefined` do not count: JSON leaves them out.
 */
export function jsonProblem(value: unknown, path = '$'): string | undefined {
  return problemOf(value, path, 0, new Set());
}

function problemOf(value: unknown, path: string, depth: number, around: Set<object>): string | undefined {
  switch (typeof value) {
    case 'boolean':
      return undefined;
    case 'number':
      return Number.isFinite(value) ? undefined : `${path}: ${value} is not JSON`;
    case 'string':
      return at(path, textProblem(value));
    case 'object':
      break;
    default:
      return `${path}: ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`} is not JSON`;
  }
  if (value === null) return undefined;
  if (around.has(value)) return `${path}: an object that contains itself is not JSON`;
  if (depth > DEEPEST) return `${path}: nested more than ${DEEPEST} levels deep`;
  around.add(value);
  try {
    if (Array.isArray(value)) {
      for (let n = 0; n < value.length; n++) {
        const found = problemOf(value[n], `${path}[${n}]`, depth + 1, around);
        if (found !== undefined) return found;
      }
      return undefined;
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    // A plain object of another realm has another Object.prototype, whose own prototype is null as well.
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
      return `${path}: an instance of ${value.constructor?.name ?? 'a class'} is not JSON`;
    }
    for (const [key, member] of Object.entries(value)) {
      if (member === undefined) continue;
      const inside = /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
      const found = at(inside, textProblem(key)) ?? problemOf(member, inside, depth + 1, around);
      if (found !== undefined) return found;
    }
    return undefined;
  } finally {
    around.delete(value);
  }
}

function at(path: string, problem: string | undefined): string | undefined {
  return problem === undefined ? undefined : `${path}: ${problem}`;
}

/** What keeps PostgreSQL from storing a text. */
export function textProblem(text: string): string | undefined {
  if (text.includes('\0')) return 'PostgreSQL cannot store the character U+0000';
  if (/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(text)) {
    return 'half a surrogate pair is not text';
  }
  return undefined;
}
