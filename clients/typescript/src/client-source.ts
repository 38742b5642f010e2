/** Where changes of a run come from as they happen: server-sent events of pgflow-live, or a channel of Supabase. */

import { readEvents } from './client-events.js';
import type { Message, RunState } from './client-state.js';

/** What a source tells. */
export interface Listener {
  /** From now on every change is told. What was before is in `state`, if it has one, and else has to be read. */
  opened(state: RunState | undefined): void;
  told(message: Message): void;
  /** Changes may be missed until it opens again. */
  lost(): void;
}

/** Watches a run until the returned function is called. */
export interface Source {
  watch(runId: string, listener: Listener): () => void;
}

/** Delays between attempts to connect. */
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 15_000;

/** A stream that ends sooner has failed, whatever it told. */
const SHORTEST_STREAM_MS = 5_000;

/** A stream without a byte for so long is dead; pgflow-live sends comments more often. */
const LONGEST_SILENCE_MS = 45_000;

/** Where nobody serves events, nobody is asked again for so long. */
const ABSENT_MS = 300_000;

/** Server-sent events: `GET <url>/runs/<run_id>/events`. */
export class LiveEvents implements Source {
  readonly #url: string;
  readonly #credentials: () => Promise<Record<string, string>>;
  readonly #fetch: typeof globalThis.fetch;
  /** Until when it is taken that PostgREST is there, and no pgflow-live. */
  #absentUntil = 0;

  constructor(url: string, credentials: () => Promise<Record<string, string>>, fetch: typeof globalThis.fetch) {
    this.#url = url.replace(/\/+$/, '');
    this.#credentials = credentials;
    this.#fetch = fetch;
  }

  watch(runId: string, listener: Listener): () => void {
    const stopped = new AbortController();
    void this.#watch(runId, listener, stopped.signal);
    return () => stopped.abort();
  }

  async #watch(runId: string, listener: Listener, stopped: AbortSignal): Promise<void> {
    let failures = 0;
    while (!stopped.aborted) {
      const absent = this.#absentUntil - performance.now();
      if (absent > 0) {
        listener.lost();
        await sleep(absent, stopped);
        continue;
      }
      const connection = new AbortController();
      const stop = (): void => connection.abort();
      stopped.addEventListener('abort', stop, { once: true });
      let silence: ReturnType<typeof setTimeout> | undefined;
      const live = (): void => {
        clearTimeout(silence);
        silence = setTimeout(stop, LONGEST_SILENCE_MS);
      };
      let isExpired = false;
      let openedAt = Infinity;
      try {
        live();
        const response = await this.#fetch(`${this.#url}/runs/${runId}/events`, {
          headers: { ...(await this.#credentials()), Accept: 'text/event-stream' },
          cache: 'no-store',
          signal: connection.signal,
        });
        const isStream = (response.headers.get('content-type') ?? '').startsWith('text/event-stream');
        if (!response.ok || !isStream || response.body === null) {
          if (await isAbsent(response)) this.#absentUntil = performance.now() + ABSENT_MS;
          // Not for us: reading the state will say why; a token may be better next time.
          failures = Math.max(failures, 4);
        } else {
          for await (const { event, data } of readEvents(response.body, live)) {
            if (stopped.aborted) break;
            if (event === 'state') {
              openedAt = Math.min(openedAt, performance.now());
              listener.opened(JSON.parse(data) as RunState);
            } else if (event === 'change') {
              listener.told(JSON.parse(data) as Message);
            } else if (event === 'expired') {
              isExpired = true;
              break;
            }
          }
        }
      } catch {
        // The network; or what came was not JSON. The next stream begins with the state.
      } finally {
        clearTimeout(silence);
        stopped.removeEventListener('abort', stop);
        connection.abort();
      }
      if (stopped.aborted) return;
      listener.lost();
      if (performance.now() - openedAt >= SHORTEST_STREAM_MS) failures = 0;
      // With a new token there is nothing to wait for, once.
      if (!isExpired || failures > 0) {
        await sleep(Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures) * (0.5 + Math.random() / 2), stopped);
      }
      failures++;
    }
  }
}

/** Whether nobody serves events there, rather than no run. */
async function isAbsent(response: Response): Promise<boolean> {
  const text = await response.text();
  if (response.ok) return true;
  if (response.status !== 404 && response.status !== 405) return false;
  try {
    return (JSON.parse(text) as { code?: unknown }).code !== 'PT404';
  } catch {
    return true;
  }
}

/** Waits, but not longer than until it is stopped. */
export function sleep(ms: number, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (stopped.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      stopped.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    stopped.addEventListener('abort', done, { once: true });
  });
}

/** As much of a client of Supabase as is used: of `@supabase/supabase-js`, or of `@supabase/realtime-js` for `channel`. */
export interface ChannelClient {
  channel(topic: string, options?: { config: { private: boolean } }): Channel;
  removeChannel(channel: never): unknown;
}

interface Channel {
  on(type: 'broadcast', filter: { event: string }, callback: (message: { event: string; payload?: unknown }) => void): Channel;
  subscribe(callback: (status: string, error?: Error) => void): unknown;
}

/** A channel, and who listens to it. */
interface Joined {
  readonly listeners: Set<Listener>;
  channel: Channel | undefined;
  isOpen: boolean;
}

/** A channel of Supabase Realtime: topic `pgflow:run:<run_id>`. */
export class ChannelSource implements Source {
  /** One for each client and kind of topic, since a topic can be joined once. */
  static readonly #known = new WeakMap<ChannelClient, Map<boolean, ChannelSource>>();

  static of(client: ChannelClient, isPrivate: boolean): ChannelSource {
    const kinds = ChannelSource.#known.get(client) ?? new Map<boolean, ChannelSource>();
    ChannelSource.#known.set(client, kinds);
    const known = kinds.get(isPrivate) ?? new ChannelSource(client, isPrivate);
    kinds.set(isPrivate, known);
    return known;
  }

  readonly #client: ChannelClient;
  readonly #isPrivate: boolean;
  readonly #channels = new Map<string, Joined>();
  /** Channels that are being left. React watches, leaves and watches again; a topic cannot be joined meanwhile. */
  readonly #leaving = new Map<string, Promise<unknown>>();

  private constructor(client: ChannelClient, isPrivate: boolean) {
    this.#client = client;
    this.#isPrivate = isPrivate;
  }

  watch(runId: string, listener: Listener): () => void {
    let joined = this.#channels.get(runId);
    if (joined === undefined) {
      joined = { listeners: new Set(), channel: undefined, isOpen: false };
      this.#channels.set(runId, joined);
      const leaving = this.#leaving.get(runId);
      if (leaving === undefined) this.#join(runId, joined);
      else void leaving.then(() => this.#join(runId, joined as Joined));
    }
    const { listeners } = joined;
    listeners.add(listener);
    if (joined.isOpen) queueMicrotask(() => listeners.has(listener) && listener.opened(undefined));
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      this.#channels.delete(runId);
      const { channel } = joined;
      if (channel === undefined) return;
      const left: Promise<unknown> = Promise.resolve(this.#client.removeChannel(channel as never))
        .catch(() => {})
        .then(() => {
          if (this.#leaving.get(runId) === left) this.#leaving.delete(runId);
        });
      this.#leaving.set(runId, left);
    };
  }

  #join(runId: string, joined: Joined): void {
    // Everybody is gone again, while the last channel was being left.
    if (this.#channels.get(runId) !== joined) return;
    const channel = this.#client.channel(`pgflow:run:${runId}`, { config: { private: this.#isPrivate } });
    joined.channel = channel;
    channel
      .on('broadcast', { event: '*' }, ({ payload }) => {
        if (typeof payload !== 'object' || payload === null) return;
        for (const one of [...joined.listeners]) one.told(payload as Message);
      })
      // After an error or a lost socket it joins again by itself.
      .subscribe((status) => {
        joined.isOpen = status === 'SUBSCRIBED';
        for (const one of [...joined.listeners]) {
          if (joined.isOpen) one.opened(undefined);
          else one.lost();
        }
      });
  }
}
