/** A site of the Markdown files of a folder. Its front page also links to one that is gone, as front pages do. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RequestListener } from 'node:http';

export function siteListener(folder: string): RequestListener {
  const names = readdirSync(folder).filter((name) => name.endsWith('.md')).map((name) => name.slice(0, -3)).sort();
  return (request, response) => {
    const name = (request.url ?? '').slice(1).replace(/\.html$/, '');
    if (name !== '' && !names.includes(name)) {
      response.writeHead(404, { 'content-type': 'text/html; charset=utf-8' }).end('<h1>Gone</h1>');
      return;
    }
    const body = name === '' ? frontPage([...names, 'roadmap']) : htmlOf(readFileSync(join(folder, `${name}.md`), 'utf8'));
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(`<!doctype html>\n${body}`);
  };
}

function frontPage(names: string[]): string {
  return `<h1>All pages</h1>\n<ul>\n${names.map((name) => `<li><a href="/${name}.html">${name}</a></li>`).join('\n')}\n</ul>`;
}

/** Headings, paragraphs, lists and code; tables as they are. As much of Markdown as these pages need. */
function htmlOf(markdown: string): string {
  return markdown
    .split(/^(```.*\n[^]*?^```\n)/m)
    .flatMap((part) => (part.startsWith('```') ? [codeOf(part)] : part.split(/\n{2,}/).map(blockOf)))
    .join('\n');
}

function codeOf(block: string): string {
  return `<pre>${escape(block.split('\n').slice(1, -2).join('\n'))}</pre>`;
}

function blockOf(block: string): string {
  const text = block.trim();
  if (text === '') return '';
  const heading = /^(#+) (.*)$/.exec(text);
  if (heading?.[1] !== undefined) return `<h${heading[1].length}>${inlineOf(heading[2] ?? '')}</h${heading[1].length}>`;
  if (text.startsWith('|')) return `<pre>${escape(text)}</pre>`;
  if (/^(- |\d+\. )/.test(text)) {
    return `<ul>${text.split(/^(?:- |\d+\. )/m).slice(1).map((item) => `<li>${inlineOf(item.trim())}</li>`).join('')}</ul>`;
  }
  return `<p>${inlineOf(text)}</p>`;
}

function inlineOf(text: string): string {
  return escape(text)
    .replace(/`([^`]+)`/g, '<code>$1</code>')
    .replace(/\*\*([^*]+)\*\*/g, '<strong>$1</strong>')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1');
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
