// Transcripts as text, SubRip and JSON: the same forms as those of `steps.recognise`.

const UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}";
const BETWEEN = new RegExp(`(?<=[${UNSPACED}]) (?=[${UNSPACED}])`, "gu");
const LINE = 42; // most characters of a line of subtitles
const LINES = 2;
const LONGEST_CUE = 7; // seconds
const BREAK = 1; // seconds without a word that end a subtitle

/** Words with a blank between them, except where both neighbours are of a script without blanks. */
export function joined(words) {
  return words.map(({ text }) => text).join(" ").replace(BETWEEN, "");
}

/** A line a segment. */
export function asText(take) {
  return take.segments.map(({ words }) => `${joined(words)}\n`).join("");
}

/** SubRip. */
export function asSrt(take) {
  const cues = take.segments.flatMap(({ words }) => cuesOf(words));
  return cues.map((words, i) => `${i + 1}\n${clock(words[0].start)} --> ${clock(words.at(-1).end)}\n${lines(joined(words)).join("\n")}\n`).join("\n");
}

/** Everything that is known. */
export function asJson(take) {
  const segments = take.segments.map(({ start, end, words, nbest }) => ({
    start: rounded(start),
    end: rounded(end),
    text: joined(words),
    words: words.map((word) => ({
      text: word.text,
      start: rounded(word.start),
      end: rounded(word.end),
      confidence: rounded(word.confidence),
      alternatives: (word.alternatives ?? []).map(([text, confidence]) => ({ text, confidence: rounded(confidence) })),
      ...(word.recognised === undefined ? {} : { recognised: word.recognised }), // where a person chose another word
    })),
    nbest: nbest ?? [],
  }));
  const value = { file: take.name, language: take.language ?? null, seconds: rounded(take.seconds), text: joined(take.segments.flatMap(({ words }) => words)), segments };
  return `${JSON.stringify(value, null, 1)}\n`;
}

/** Seconds as 1:02 or 1:02:03. */
export function minutes(seconds) {
  const whole = Math.floor(seconds);
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return `${hours ? `${hours}:${two(Math.floor(whole / 60) % 60)}` : Math.floor(whole / 60)}:${two(whole % 60)}`;
}

function cuesOf(words) {
  const cues = [];
  for (const word of words) {
    const cue = cues.at(-1);
    const fits = cue && lines(joined([...cue, word])).length <= LINES && word.end - cue[0].start <= LONGEST_CUE && word.start - cue.at(-1).end <= BREAK;
    if (fits) cue.push(word);
    else cues.push([word]);
  }
  return cues;
}

/** A text in lines of at most 42 characters; longer words have a line of their own, and scripts without blanks break anywhere. */
function lines(text) {
  const out = [];
  for (const word of text.split(" ")) {
    const line = out.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= LINE) out[out.length - 1] = `${line} ${word}`;
    else for (let at = 0; at < word.length; at += LINE) out.push(word.slice(at, at + LINE));
  }
  return out;
}

function clock(seconds) {
  const ms = Math.round(seconds * 1000);
  const part = (n, width = 2) => String(n).padStart(width, "0");
  return `${part(Math.floor(ms / 3600000))}:${part(Math.floor(ms / 60000) % 60)}:${part(Math.floor(ms / 1000) % 60)},${part(ms % 1000, 3)}`;
}

const rounded = (value) => (value === undefined || value === null ? null : Math.round(value * 10000) / 10000);
