/** A run as React state. */

import { useMemo, useSyncExternalStore } from 'react';

import type { Client, FlowTypes } from './client.js';
import type { RunHandle, RunView } from './client-run.js';
import type { AnyFlow } from './flow.js';

/** What `useRun` knows of a run. */
export interface UseRun<F extends AnyFlow = AnyFlow> extends Omit<RunView<F>, 'runId' | 'status'> {
  /** `undefined` while no run is given. */
  readonly runId: string | undefined;
  readonly status: RunView<F>['status'] | undefined;
  /** Whether the run is given and its first state has not come yet. */
  readonly isLoading: boolean;
  /** Cancels the run; rejects if that is not allowed. */
  readonly cancel: (reason?: string) => Promise<void>;
}

/**
 * Watches a run as long as the component is there, also when it failed and is retried.
 *
 * ```tsx
 * const { status, steps, run } = useRun<typeof digest>(pgflow, runId);
 * ```
 *
 * @param client of `createClient`; the same one at each rendering
 * @param run the run's id, or a handle of `startFlow`, which stays yours to close; nothing yet: `null`
 */
export function useRun<F extends AnyFlow = AnyFlow>(
  client: Pick<Client<FlowTypes>, 'watchRun'>,
  run: string | RunHandle<F> | null | undefined,
): UseRun<F> {
  const store = useMemo(() => makeStore<F>(client, run ?? undefined), [client, run]);
  return useSyncExternalStore(store.subscribe, store.current, store.current);
}

interface Store<F extends AnyFlow> {
  subscribe: (notify: () => void) => () => void;
  current: () => UseRun<F>;
}

/** Watches while somebody subscribes, so that nothing is left open by a rendering that was thrown away. */
function makeStore<F extends AnyFlow>(
  client: Pick<Client<FlowTypes>, 'watchRun'>,
  run: string | RunHandle<F> | undefined,
): Store<F> {
  let handle: RunHandle<F> | undefined = typeof run === 'object' ? run : undefined;
  let subscribers = 0;
  const cancel = async (reason?: string): Promise<void> => {
    if (handle === undefined) throw new Error('there is no run to cancel');
    await handle.cancel(reason);
  };
  let seen: RunView<F> | undefined;
  let state: UseRun<F> = {
    runId: typeof run === 'string' ? run : undefined,
    status: undefined,
    run: undefined,
    steps: [],
    transport: 'connecting',
    error: undefined,
    isLoading: run !== undefined,
    cancel,
  };
  const current = (): UseRun<F> => {
    const view = handle?.view();
    if (view !== undefined && view !== seen) {
      seen = view;
      state = { ...view, isLoading: view.run === undefined && view.error === undefined, cancel };
    }
    return state;
  };
  const subscribe = (notify: () => void): (() => void) => {
    if (run === undefined) return () => {};
    subscribers++;
    if (typeof run === 'string') handle ??= client.watchRun<F>(run, { follow: true });
    const unsubscribe = handle?.on('change', notify);
    return () => {
      unsubscribe?.();
      subscribers--;
      if (subscribers > 0 || typeof run !== 'string') return;
      handle?.close();
      handle = undefined;
    };
  };
  return { subscribe, current };
}
