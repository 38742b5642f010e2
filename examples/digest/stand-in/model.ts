/**
 * What stands in for a model. It takes its time, says 429 and 500 now and then as the real ones do, and knows two things:
 * to summarise a text by its own best sentences, and to name its words that count.
 */
import type { IncomingMessage, RequestListener } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { keywordsOf, summaryOf } from './summary.js';

/** The longest text that it takes, in characters. */
const CONTEXT = 200_000;

export function modelListener(): RequestListener {
  let requests = 0;
  return async (request, response) => {
    const answer = (status: number, body: object, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
    };
    const refuse = (status: number, message: string, headers?: Record<string, string>): void =>
      answer(status, { error: { message } }, headers);
    if (request.method !== 'POST' || request.url !== '/v1/chat/completions') return refuse(404, 'unknown path');
    if (!/^Bearer ./.test(request.headers.authorization ?? '')) return refuse(401, 'no key');
    let asked: { instruction: string; text: string };
    try {
      asked = readQuestion(await bodyOf(request));
    } catch (error) {
      return refuse(400, error instanceof Error ? error.message : String(error));
    }
    if (asked.text.length > CONTEXT) return refuse(400, `the text has more than ${CONTEXT} characters`);

    // Too many for it at the moment, or broken: by turns, so that nobody has bad luck for ever.
    requests += 1;
    if (requests % 7 === 3) return refuse(429, 'too many requests', { 'retry-after': String(1 + Math.floor(2 * Math.random())) });
    await sleep(50 + 400 * Math.random());
    if (requests % 11 === 5) return refuse(500, 'something went wrong on our side');
    const most = Number(/at most (\d+)/.exec(asked.instruction)?.[1] ?? 3);
    const isList = /keyword/i.test(asked.instruction);
    const content = isList ? keywordsOf(asked.text, most).join(', ') : summaryOf(asked.text, most);
    const choice = { index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' };
    answer(200, { object: 'chat.completion', choices: [choice] });
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  request.setEncoding('utf8');
  let body = '';
  for await (const chunk of request) body += chunk;
  return body;
}

/** The instruction is what the system says, the text is what the user says. */
function readQuestion(body: string): { instruction: string; text: string } {
  const { messages } = JSON.parse(body) as { messages?: { role?: unknown; content?: unknown }[] };
  if (!Array.isArray(messages)) throw new Error('messages is not an array');
  const said = (role: string) =>
    messages.filter((message) => message.role === role).map((message) => String(message.content)).join('\n');
  return { instruction: said('system'), text: said('user') };
}
