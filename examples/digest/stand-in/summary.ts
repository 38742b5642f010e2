/** Summaries by extraction: words that a text uses often count, and sentences are as good as their words. */

const TOO_COMMON = new Set(
  `about above after again against all also and any are because been before being below between both but can cannot could
  did does doing down during each else few for from further had has have having her here hers him his how into its itself
  just let like made make makes many may might more most much must name named names need needs never new nor not nothing
  now off once one ones only other others our out over own same see should so some such than that the their them then there
  these they this those through time too two under until upon use used uses very was were what when where whether which
  while who whom whose why will with within without would you your`.split(/\s+/),
);

/** The words of a text that say something. A plural is the same word. */
function wordsOf(text: string): string[] {
  const words = text.toLowerCase().match(/[a-z][a-z_]{2,}/g) ?? [];
  const all = new Set(words);
  return words
    .map((word) => (word.endsWith('s') && all.has(word.slice(0, -1)) ? word.slice(0, -1) : word))
    .filter((word) => !TOO_COMMON.has(word));
}

function frequencies(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of wordsOf(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

/** The words that occur most often, at most so many. */
export function keywordsOf(text: string, most: number): string[] {
  return [...frequencies(text)].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, most).map(([word]) => word);
}

/** The best sentences of a text, at most so many, in the order in which they stand there. */
export function summaryOf(text: string, most: number): string {
  const counts = frequencies(text);
  const sentences = text.split(/(?<=[.!?])\s+(?=[A-Z`"])|\n{2,}/).map((sentence) => sentence.trim());
  const scored = sentences.map((sentence, place) => {
    const words = wordsOf(sentence);
    const weight = words.reduce((sum, word) => sum + (counts.get(word) ?? 0), 0);
    // Long sentences have more words without being better; short ones say little. What comes first is often the point.
    const length = sentence.split(/\s+/).length;
    const fits = /[.!?]$/.test(sentence) && length >= 6 && length <= 45;
    return { sentence, place, score: fits ? (weight / (words.length + 4)) * (place < 3 ? 1.5 : 1) : 0 };
  });
  const best = scored.filter(({ score }) => score > 0).sort((a, b) => b.score - a.score).slice(0, most);
  return best.sort((a, b) => a.place - b.place).map(({ sentence }) => sentence).join(' ') || (sentences[0] ?? '');
}
