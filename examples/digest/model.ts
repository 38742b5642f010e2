/**
 * Asks a model, by the API that most of them speak. MODEL_URL, MODEL_KEY and MODEL say which; `run` names the stand-in.
 */
import { NonRetryableError, RetryAfterError } from '@pgflow-native/client/worker';
import type { StepContext } from '@pgflow-native/client/worker';

/** Nobody waits longer for an answer than this. */
const PATIENCE_MS = 20_000;

/**
 * What the model answers. What it says when it does not becomes one of three errors, and pgflow does the rest: tries again
 * when the model says so, tries again after a while, or does not try again.
 */
export async function ask(instruction: string, text: string, task: StepContext): Promise<string> {
  const { MODEL_URL, MODEL_KEY = 'none', MODEL = 'stand-in' } = process.env;
  const response = await fetch(`${MODEL_URL}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      'authorization': `Bearer ${MODEL_KEY}`,
      'content-type': 'application/json',
      // The same for each attempt: whoever heeds it does not charge twice.
      'idempotency-key': task.idempotencyKey,
    },
    body: JSON.stringify({
      model: MODEL,
      messages: [
        { role: 'system', content: instruction },
        { role: 'user', content: text },
      ],
    }),
    // The task's signal says that the work is in vain: the run was cancelled, say.
    signal: AbortSignal.any([task.signal, AbortSignal.timeout(PATIENCE_MS)]),
  });
  if (response.ok) {
    const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
    const answer = choices[0]?.message.content.trim();
    if (!answer) throw new Error('the model answered nothing');
    return answer;
  }
  const why = `the model answers ${response.status}: ${(await response.text()).slice(0, 200)}`;
  if (response.status === 429) throw new RetryAfterError(Number(response.headers.get('retry-after')) || 5, why);
  if (response.status >= 500) throw new Error(why);
  throw new NonRetryableError(why);
}
