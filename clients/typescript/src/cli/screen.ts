/** How runs and steps look in a terminal. */
import type { WriteStream } from 'node:tty';

export type Colour = 'red' | 'green' | 'yellow' | 'blue' | 'dim' | 'bold';

const CODES: Record<Colour, string> = { red: '31', green: '32', yellow: '33', blue: '34', dim: '2', bold: '1' };

/** Colours a text if the stream is a terminal that wants colours. */
export function colour(stream: WriteStream, name: Colour | undefined, text: string): string {
  if (name === undefined || text.trim() === '' || !stream.isTTY || process.env['NO_COLOR']) return text;
  return `\u001b[${CODES[name]}m${text}\u001b[0m`;
}

/** The colour of a status. */
export function colourOf(status: string): Colour | undefined {
  switch (status) {
    case 'completed':
      return 'green';
    case 'failed':
    case 'expired':
      return 'red';
    case 'started':
      return 'blue';
    case 'skipped':
    case 'cancelled':
      return 'yellow';
    default:
      return 'dim';
  }
}

/** A duration in milliseconds, as short as can be. */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 1) return `${Math.round(seconds * 1000)}ms`;
  if (seconds < 60) return `${seconds.toFixed(1)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${Math.floor(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h ${minutes % 60}m` : `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

/** A text on one line that does no harm to a terminal: control characters are shown as escapes. */
export function oneLine(text: string, longest = Infinity): string {
  const line = text
    .replace(/\s*\n\s*/g, ' ')
    .replace(/[\p{Cc}\p{Cf}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
  return line.length > longest ? `${line.slice(0, Math.max(0, longest - 1))}…` : line;
}

/** A cell: its text, and the colour of it. */
export interface Cell {
  text: string;
  colour?: Colour | undefined;
}

/** Rows as lines, each column as wide as its widest cell but the last one; no line is wider than `width`. */
export function table(stream: WriteStream, rows: readonly (readonly (string | Cell)[])[], width = Infinity): string[] {
  const cells = rows.map((row) => row.map((cell): Cell => (typeof cell === 'string' ? { text: cell } : cell)));
  const widths: number[] = [];
  for (const row of cells) {
    row.forEach(({ text }, n) => (widths[n] = Math.max(widths[n] ?? 0, text.length)));
  }
  return cells.map((row) => {
    let left = width;
    let line = '';
    row.forEach((cell, n) => {
      const last = n === row.length - 1;
      const text = (last ? cell.text : cell.text.padEnd(widths[n] ?? 0)).slice(0, Math.max(0, left));
      left -= text.length + 2;
      line += colour(stream, cell.colour, text) + (last || left <= 0 ? '' : '  ');
    });
    return line.trimEnd();
  });
}
