/**
 * The flows of the digest: read these first. `scrape.ts`, `model.ts` and `edition.ts` do the work, `worker.ts` is the
 * process that does it, and `stand-in/` is what stands in for the internet.
 */
import { Flow } from '@pgflow-native/client';
import { publishEdition, topicsOf } from './edition.js';
import { ask } from './model.js';
import { scrapeLinks, scrapePage } from './scrape.js';

/**
 * For steps that ask the model, which refuses now and then. They have a queue of their own, which can be limited for all
 * workers together.
 */
const MODEL = { queue: 'model', maxAttempts: 10, timeout: 30 };

/**
 * What is done for one page. Each page has a run of its own, so that one that is gone costs the digest that page and no
 * more: scrape throws a NonRetryableError then, and is skipped with all that would come of it. So whatever does run has
 * its output, hence the exclamation marks.
 */
export const page = new Flow<{ item: string; index: number }>({ slug: 'page', baseDelay: 1 })
  .step({ slug: 'scrape', whenExhausted: 'skip-cascade' }, ({ run }, task) => scrapePage(run.item, task))
  .step({ slug: 'summarise', dependsOn: ['scrape'], ...MODEL }, ({ scrape }, task) =>
    ask('Summarise this page in at most 2 sentences.', scrape!.text, task),
  )
  .step({ slug: 'keywords', dependsOn: ['scrape'], ...MODEL }, async ({ scrape }, task) => {
    const answer = await ask('List at most 5 keywords of this page, separated by commas.', scrape!.text, task);
    return answer.split(/\s*,\s*/);
  })
  .step({ slug: 'entry', dependsOn: ['scrape', 'summarise', 'keywords'] }, ({ scrape, summarise, keywords }) => {
    const { url, title, words } = scrape!;
    return { url, title, words, summary: summarise!, keywords: keywords! };
  })
  .output('entry');

/** The digest of a site: all its pages at once, then what is said about all of them, published when it is due. */
export const digest = new Flow<{ site: string; title: string; publishAt: string }>({ slug: 'digest', baseDelay: 1 })
  .step({ slug: 'discover' }, ({ run }, task) => scrapeLinks(run.site, task))
  // A run of the other flow for each link. What it returns is known here, and that it may be null.
  .map({ slug: 'pages', dependsOn: ['discover'], executor: 'flow', target: page })
  // Nice to have: without it the digest is published all the same.
  .step({ slug: 'lead', dependsOn: ['pages'], ...MODEL, whenExhausted: 'skip' }, ({ pages }, task) =>
    ask('Summarise these pages in at most 3 sentences.', pages.map((entry) => entry?.summary ?? '').join('\n\n'), task),
  )
  .step({ slug: 'topics', dependsOn: ['pages'] }, ({ pages }) => topicsOf(pages.filter((entry) => entry !== null)))
  .timer({ slug: 'due', target: '/run/publishAt' })
  .step(
    { slug: 'publish', dependsOn: ['discover', 'pages', 'lead', 'topics', 'due'] },
    ({ run, discover, pages, lead, topics }) =>
      publishEdition({
        title: run.title,
        // The compiler knows that it may have been skipped.
        lead: lead ?? 'No lead today.',
        topics,
        entries: pages.filter((entry) => entry !== null),
        leftOut: discover.filter((_, index) => pages[index] === null),
      }),
  )
  .output('publish');
