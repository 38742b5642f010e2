/**
 * The page. Who asks starts a run and watches it; who approves completes one of its steps. Both do so with their own
 * token, and the database decides whether they may.
 */
import { createClient } from '@pgflow-native/client/client';
import type { RunHandle, RunView } from '@pgflow-native/client/client';
import type { Decision, expense } from '../flow.js';
import { people } from '../people.js';
import type { Person } from '../people.js';

/** Who is in front of the screen: what stands behind # in the address. */
const hash = location.hash.slice(1);
const person: Person = Object.hasOwn(people, hash) ? (hash as Person) : 'ann';
window.addEventListener('hashchange', () => location.reload());
document.title = `Expenses: ${people[person].name}`;
document.querySelector(`nav a[href="#${person}"]`)?.setAttribute('aria-current', 'page');

// The token, and the client.

interface SignedIn {
  token: string;
  expiresIn: number;
  live: string;
}

let signedIn: Promise<SignedIn> | undefined;
let signInAgainAt = 0;

/** Signs in, and again when half of the token's time is over. */
async function signIn(): Promise<SignedIn> {
  if (signedIn === undefined || Date.now() > signInAgainAt) {
    signInAgainAt = Infinity;
    const asked = fetch('sign-in', { method: 'POST', body: JSON.stringify({ person }) });
    signedIn = asked.then((response) => response.json() as Promise<SignedIn>);
    signedIn.then(
      ({ expiresIn }) => (signInAgainAt = Date.now() + expiresIn * 500),
      () => (signInAgainAt = 0),
    );
  }
  return signedIn;
}

const getToken = async (): Promise<string> => (await signIn()).token;
const { live } = await signIn();
const pgflow = createClient<{ expense: typeof expense }>({ url: live, getToken });

// Employees.

/**
 * Of so many requests the page shows what happens. A run that is watched takes a connection until it ends, and a browser
 * opens six to a server, for all its windows together.
 */
const MOST = 3;
const shown: RunHandle<typeof expense>[] = [];

/** Asks, and shows what becomes of it. */
async function ask(form: HTMLFormElement): Promise<void> {
  const fields = new FormData(form);
  const [purpose, amount] = [String(fields.get('purpose')), Number(fields.get('amount'))];
  const run = await pgflow.startFlow('expense', { purpose, amount });
  form.reset();
  show(run);
}

/** Those that were asked for before: runs that pgflow-live lists to who started them. */
async function showEarlier(): Promise<void> {
  const headers = { authorization: `Bearer ${await getToken()}` };
  const answer = await fetch(`${live}/runs?flow_slug=expense&limit=${MOST}`, { headers });
  if (!answer.ok) throw new Error(await answer.text());
  const runs = (await answer.json()) as { run_id: string }[];
  for (const { run_id } of runs.reverse()) show(pgflow.watchRun<typeof expense>(run_id));
}

/** A card that is drawn again with each change of the run. */
function show(run: RunHandle<typeof expense>): void {
  const card = copyOf('#request');
  card.id = run.runId;
  find(card, 'details').addEventListener('toggle', () => void drawPicture(card, run.runId).catch(complain));
  run.on('change', (view) => draw(card, view));
  run.result.catch(() => {}); // What went wrong is in the view.
  draw(card, run.view());
  find(document, '#requests').prepend(card);
  shown.push(run);
  while (shown.length > MOST) {
    const oldest = shown.shift();
    oldest?.close();
    document.getElementById(oldest?.runId ?? '')?.remove();
  }
}

function draw(card: HTMLElement, { runId, run, steps, status, error, transport }: RunView<typeof expense>): void {
  card.dataset['transport'] = transport;
  if (run !== undefined) {
    const { purpose, amount } = run.payload as { purpose: string; amount: number };
    find(card, '.purpose').textContent = purpose;
    find(card, '.amount').textContent = euros(amount);
  }
  const failed = steps.find((step) => step.status === 'failed');
  const [failure] = (failed?.errorMessage ?? run?.errorMessage ?? status).split('\n');
  find(card, '.state').textContent =
    error !== undefined
      ? error.message
      : status === 'completed'
        ? (run?.output?.message ?? '')
        : status === 'failed' || status === 'cancelled'
          ? (failure ?? '')
          : steps.some((step) => step.slug === 'approve' && step.status === 'started')
            ? 'Waits for a manager.'
            : 'Is being worked on.';
  card.className = `card ${status === 'completed' ? (run?.output?.paid ? 'paid' : 'declined') : status}`;
  find(card, '.steps').replaceChildren(
    ...steps.map((step) => {
      const item = document.createElement('li');
      item.textContent = `${step.slug}: ${step.executor === 'external' && step.status === 'started' ? 'waiting' : step.status}`;
      item.dataset['step'] = step.slug;
      item.dataset['status'] = step.status;
      return item;
    }),
  );
  void drawPicture(card, runId).catch(complain);
}

/** The picture that the database draws, while it is open. An image cannot send a token, so it is fetched. */
async function drawPicture(card: HTMLElement, runId: string): Promise<void> {
  if (!find<HTMLDetailsElement>(card, 'details').open) return;
  const answer = await fetch(`${live}/rpc/run_svg?run_id=${runId}`, {
    headers: { authorization: `Bearer ${await getToken()}`, accept: 'image/svg+xml' },
  });
  if (!answer.ok) throw new Error(await answer.text());
  const image = find<HTMLImageElement>(card, 'img');
  const before = image.src;
  image.src = URL.createObjectURL(await answer.blob());
  if (before.startsWith('blob:')) URL.revokeObjectURL(before);
}

// Managers.

interface Question {
  run_id: string;
  who: string;
  purpose: string;
  amount: number;
}

/** Shows what is new, and takes away what others have answered. */
async function showInbox(): Promise<void> {
  const answer = await fetch('inbox', { headers: { authorization: `Bearer ${await getToken()}` } });
  if (!answer.ok) throw new Error(await answer.text());
  const questions = (await answer.json()) as Question[];
  for (const card of document.querySelectorAll('#inbox .card')) {
    if (!questions.some(({ run_id }) => run_id === card.id)) card.remove();
  }
  for (const question of questions) {
    if (document.getElementById(question.run_id) === null) find(document, '#inbox').append(cardOf(question));
  }
  find(document, '#nothing').hidden = questions.length > 0;
}

function cardOf({ run_id, who, purpose, amount }: Question): HTMLElement {
  const card = copyOf('#question');
  card.id = run_id;
  find(card, '.purpose').textContent = purpose;
  find(card, '.amount').textContent = euros(amount);
  find(card, '.who').textContent = Object.hasOwn(people, who) ? people[who as Person].name : who;
  const answer = (approved: boolean) => (): void => {
    const comment = find<HTMLInputElement>(card, 'input').value;
    void decide(run_id, { approved, by: people[person].name, comment }).then(() => card.remove()).catch(complain);
  };
  find(card, '.yes').addEventListener('click', answer(true));
  find(card, '.no').addEventListener('click', answer(false));
  return card;
}

/**
 * Ends the step that waits. The token's role was granted this one step; the name is what this page says, since all who
 * have the role may answer for it.
 */
async function decide(runId: string, decision: Decision): Promise<void> {
  const receipt = await pgflow.call('complete_step', { run_id: runId, step_slug: 'approve', output: decision });
  if (!(receipt as { accepted: boolean }).accepted) throw new Error('Somebody has answered it already.');
}

// The rest.

function find<E extends HTMLElement = HTMLElement>(where: ParentNode, selector: string): E {
  const element = where.querySelector<E>(selector);
  if (element === null) throw new Error(`the page has no ${selector}`);
  return element;
}

function copyOf(template: string): HTMLElement {
  const copy = find<HTMLTemplateElement>(document, template).content.firstElementChild?.cloneNode(true);
  return copy as HTMLElement;
}

function euros(amount: number): string {
  return new Intl.NumberFormat('en', { style: 'currency', currency: 'EUR' }).format(amount);
}

function complain(error: unknown): void {
  const trouble = find(document, '#trouble');
  trouble.textContent = error instanceof Error ? error.message : String(error);
  trouble.hidden = false;
}

if (people[person].role === 'manager') {
  find(document, '#manager').hidden = false;
  for (let isDown = false; ; ) {
    try {
      await showInbox();
      if (isDown) find(document, '#trouble').hidden = true;
      isDown = false;
    } catch (error) {
      isDown = true;
      complain(error);
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
} else {
  find(document, '#employee').hidden = false;
  find(document, '#ask').addEventListener('submit', (event) => {
    event.preventDefault();
    void ask(event.target as HTMLFormElement).catch(complain);
  });
  await showEarlier().catch(complain);
}
