/**
 * The flow: an expense is checked, approved by a manager unless it is small, and paid or declined. Read this first;
 * `grants.sql` says who may do what, `page/page.ts` is what people see.
 */
import { Flow, type } from '@pgflow-native/client';
import { NonRetryableError } from '@pgflow-native/client/worker';
import { pay } from './payments.js';

/** What an employee asks for, in euros. */
export interface Expense {
  purpose: string;
  amount: number;
}

/** What a manager says. It comes from a browser, so it is looked at before anything is done. */
export interface Decision {
  approved: boolean;
  by: string;
  comment: string;
}

/** Expenses of so many cents are paid without asking. */
const SMALL = 50_00;
/** Nobody pays more than this. */
const MOST = 1_000_000_00;
const WEEK = 7 * 24 * 3600;

export const expense = new Flow<Expense>({ slug: 'expense', baseDelay: 1 })
  // The payload comes from a browser, too.
  .step({ slug: 'check' }, ({ run }) => {
    const { purpose, amount } = run;
    const cents = typeof amount === 'number' ? Math.round(amount * 100) : NaN;
    if (typeof purpose !== 'string' || purpose.trim() === '') throw new NonRetryableError('there is no purpose');
    if (!(cents >= 1 && cents <= MOST)) throw new NonRetryableError('the amount makes no sense');
    return { purpose: purpose.trim(), cents, needs_approval: cents > SMALL };
  })
  // Waits for a person, and nothing runs meanwhile: it is a row. Skipped if the pattern is not in what check returned.
  .external({
    slug: 'approve',
    dependsOn: ['check'],
    requiredInputPattern: { check: { needs_approval: true } },
    timeout: WEEK,
    whenExhausted: 'skip',
    output: type<Decision>(),
  })
  // Whoever may complete the step above may say anything there. Only a plain yes is one.
  .step({ slug: 'decide', dependsOn: ['check', 'approve'] }, ({ check, approve }) => {
    if (!check.needs_approval) return { granted: true, why: 'it is small' };
    if (approve === undefined) return { granted: false, why: 'nobody answered within a week' };
    const { approved, by, comment }: Partial<Decision> = Object(approve);
    const granted = approved === true;
    return { granted, why: `${by || 'somebody'} says ${granted ? 'yes' : 'no'}${comment ? `: ${comment}` : ''}` };
  })
  // One of these two is skipped.
  .step(
    { slug: 'pay', dependsOn: ['check', 'decide'], requiredInputPattern: { decide: { granted: true } } },
    ({ check }, task) => pay(check.cents, task),
  )
  .step(
    { slug: 'decline', dependsOn: ['decide'], requiredInputPattern: { decide: { granted: false } } },
    ({ decide }) => decide.why,
  )
  .step({ slug: 'tell', dependsOn: ['decide', 'pay', 'decline'] }, ({ decide, pay, decline }) => ({
    paid: pay !== undefined,
    message: pay === undefined ? `Declined: ${decline}.` : `Paid ${pay.amount} €: ${decide.why}.`,
  }))
  .output('tell');
