/** An edition of the digest: what is in it, and the HTML file that it is published as. DIGEST_FILE says where. */
import { rename, writeFile } from 'node:fs/promises';

/** One page in the digest. */
export type Entry = {
  url: string;
  title: string;
  words: number;
  summary: string;
  keywords: string[];
};

/** A keyword, and the titles of the pages that have it. */
export type Topic = { keyword: string; titles: string[] };

export interface Edition {
  title: string;
  lead: string;
  topics: Topic[];
  entries: Entry[];
  /** Addresses of pages that could not be had. */
  leftOut: string[];
}

/** The keywords that several pages share, the most common ones first. */
export function topicsOf(entries: Entry[]): Topic[] {
  const titles = new Map<string, string[]>();
  for (const entry of entries) {
    for (const keyword of entry.keywords) titles.set(keyword, [...(titles.get(keyword) ?? []), entry.title]);
  }
  return [...titles]
    .map(([keyword, its]) => ({ keyword, titles: its }))
    .filter((topic) => topic.titles.length > 1)
    .sort((a, b) => b.titles.length - a.titles.length)
    .slice(0, 8);
}

/** Writes the file. Writing it twice leaves what writing it once leaves, as a handler should. */
export async function publishEdition(edition: Edition) {
  const file = process.env['DIGEST_FILE'] ?? 'digest.html';
  await writeFile(`${file}.new`, htmlOf(edition));
  await rename(`${file}.new`, file);
  return {
    file,
    pages: edition.entries.length,
    words: edition.entries.reduce((sum, entry) => sum + entry.words, 0),
    lead: edition.lead,
    topics: edition.topics,
    left_out: edition.leftOut,
  };
}

function htmlOf({ title, lead, topics, entries, leftOut }: Edition): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escape(title)}</title>
<style>
  body { font: 17px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem }
  .lead { font-size: 1.2em }
  small { opacity: .7 }
</style>
<h1>${escape(title)}</h1>
<p class="lead">${escape(lead)}</p>
<p><small>${topics.map(({ keyword, titles }) => `${escape(keyword)} (${titles.length})`).join(' · ')}</small></p>
${entries
  .map(
    ({ url, title, words, summary, keywords }) => `<h2><a href="${escape(url)}">${escape(title)}</a></h2>
<p>${escape(summary)}</p>
<p><small>${words} words · ${escape(keywords.join(', '))}</small></p>`,
  )
  .join('\n')}
${leftOut.length > 0 ? `<p><small>Left out: ${leftOut.map(escape).join(', ')}</small></p>` : ''}
</html>
`;
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
