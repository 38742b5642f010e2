/** Pays. A task may be done twice, after a crash in the wrong moment; a payment must not. */
import pg from 'pg';
import type { StepContext } from '@pgflow-native/client/worker';

// PGHOST and so on say where the database is.
const database = new pg.Pool({ max: 2 });

/**
 * Pays once, however often it is called for a task: its key is the payment's. Who gets it is who started the run, as the
 * token said, and not what a form says.
 */
export async function pay(cents: number, task: StepContext): Promise<{ amount: string }> {
  await database.query(
    `INSERT INTO payments (key, payee, amount)
     SELECT $1, created_for, $2::numeric / 100 FROM pgflow.runs WHERE run_id = $3
     ON CONFLICT (key) DO NOTHING`,
    [task.idempotencyKey, cents, task.runId],
  );
  return { amount: (cents / 100).toFixed(2) };
}
