/** Reads pages of a site. Regular expressions are enough for pages as plain as these. */
import { NonRetryableError } from '@pgflow-native/client/worker';
import type { StepContext } from '@pgflow-native/client/worker';

/** A page, as far as a reader sees it. */
export interface Page {
  url: string;
  title: string;
  text: string;
  words: number;
}

/** The pages that a page links to, each once, without those of other sites. */
export async function scrapeLinks(url: string, task: StepContext): Promise<string[]> {
  const html = await get(url, task);
  const links = [...html.matchAll(/<a [^>]*href="([^"#]+)/g)].map(([, href = '']) => new URL(href, url));
  return [...new Set(links.filter(({ origin }) => origin === new URL(url).origin).map(({ href }) => href))];
}

export async function scrapePage(url: string, task: StepContext): Promise<Page> {
  const html = await get(url, task);
  const title = textOf(/<h1[^>]*>(.*?)<\/h1>/s.exec(html)?.[1] ?? url);
  const paragraphs = [...html.matchAll(/<(?:p|li)>(.*?)<\/(?:p|li)>/gs)].map(([, inner = '']) => textOf(inner));
  const text = paragraphs.join('\n\n');
  return { url, title, text, words: text.split(/\s+/).length };
}

async function get(url: string, { signal }: StepContext): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]) });
  // Asking again will not bring it back; anything else might be better next time.
  if (response.status === 404 || response.status === 410) throw new NonRetryableError(`${url} is gone (${response.status})`);
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return response.text();
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'", nbsp: ' ' };

function textOf(html: string): string {
  return html
    .replace(/<[^>]*>/g, '')
    .replace(/&([a-z]+|#\d+);/g, (entity, name: string) => ENTITIES[name] ?? entity)
    .replace(/\s+/g, ' ')
    .trim();
}
