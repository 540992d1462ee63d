// Transcripts on the page: a take is a session of the microphone or a file; its finished segments, and the open one while people speak.

import { asJson, asSrt, asText, joined, minutes } from "./forms.js";
import { locale, t } from "./texts.js";

const LOW = 0.5; // confidence under which a word is marked as unsure
const LIKELY = 0.5; // probability from which on the words at the place of a keyword are marked
const [PALE, FULL] = [0.4, 0.9]; // confidences between which words are shaded
const FORMS = { text: [asText, "txt", "text/plain"], srt: [asSrt, "srt", "application/x-subrip"], json: [asJson, "json", "application/json"] };
const takes = document.getElementById("takes");
const empty = document.getElementById("empty");
const choices = document.getElementById("choices");
const all = new Set();
let keywords = []; // each a list of words in small letters
let chosen = null; // what the open dialogue is about: {take, word, button}

/** A transcript on the page. name: of the microphone's session "" (it has the time instead), of a file its name. */
export class Take {
  constructor(name, onChange = () => {}) {
    this.file = name;
    this.started = new Date();
    this.segments = []; // {start, end, words, nbest}, by their times
    this.open = new Map(); // segment -> {start, words, stable}
    this.spans = []; // {start, end}: where keywords were heard, whatever the words are
    this.commands = new Map(); // segment -> what it orders
    this.seconds = 0;
    this.onChange = onChange;
    this.article = make("article", "take card");
    this.article.setAttribute("aria-busy", "true");
    this.heading = make("h2");
    this.downloads = make("div", "downloads");
    this.list = make("div", "segments");
    this.list.addEventListener("keydown", (event) => moveFocus(event, this.list));
    const head = make("header", "head");
    head.append(this.heading, this.downloads);
    this.article.append(head, this.list);
    takes.insertBefore(this.article, takes.firstChild);
    empty.hidden = true;
    all.add(this);
    this.translate();
  }

  get name() {
    const two = (n) => String(n).padStart(2, "0");
    const at = this.started;
    return this.file || `nuptse-${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}-${two(at.getHours())}${two(at.getMinutes())}`;
  }

  translate() {
    const clock = this.started.toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });
    this.heading.textContent = this.file || t("take_microphone", clock);
    this.downloads.replaceChildren(
      ...Object.keys(FORMS).map((form) => {
        const button = make("button", "quiet small", t(`as_${form}`));
        button.type = "button";
        button.dataset.form = form;
        button.setAttribute("aria-label", t("download_as", t(`as_${form}`)));
        button.onclick = () => this.download(form);
        return button;
      }),
    );
    this.downloads.prepend(icon("i-down"));
    this.downloads.hidden = !this.segments.length;
  }

  /** The open segment so far. */
  partial({ segment, start, words, stable }) {
    let open = this.open.get(segment);
    if (!open) {
      open = { element: make("p", "segment partial") };
      open.element.append(make("time", "", minutes(start)), make("span", "said"));
      this.list.append(open.element);
      this.open.set(segment, open);
    }
    Object.assign(open, { start, words });
    const said = open.element.lastChild;
    said.replaceChildren(...spaced(words, (word, i) => shaded(make("span", i < stable ? "word" : "word fresh", word.text), word)), make("span", "caret"));
    mark(open.element, words, this.spans);
    follow(open.element);
  }

  /** A finished segment; it replaces the partial. */
  final({ segment, start, end, words, nbest }) {
    this.open.get(segment)?.element.remove();
    this.open.delete(segment);
    this.seconds = Math.max(this.seconds, end);
    if (words.length) {
      const one = { start, end, words, nbest, element: make("p", "segment"), number: segment };
      one.element.append(make("time", "", minutes(start)), make("span", "said"));
      this.segments.push(one);
      this.list.insertBefore(one.element, [...this.open.values()][0]?.element ?? null);
      this.draw(one);
      follow(one.element);
    }
    this.downloads.hidden = !this.segments.length;
    this.onChange();
  }

  draw(segment) {
    const said = segment.element.lastChild;
    const focus = this.list.querySelector("button.word[tabindex='0']");
    said.replaceChildren(
      ...spaced(segment.words, (word) => {
        const button = shaded(make("button", "word", word.text), word);
        button.type = "button";
        button.tabIndex = -1;
        button.onclick = () => ask(this, segment, word, button);
        return button;
      }),
    );
    if (!focus?.isConnected) this.list.querySelector("button.word")?.setAttribute("tabindex", "0");
    mark(segment.element, segment.words, this.spans);
    this.drawCommand(segment);
  }

  /** A keyword was heard: mark the words at its place, and those to come. */
  heard({ start, end, probability }) {
    if (probability < LIKELY) return;
    this.spans.push({ start, end });
    for (const { element, words } of [...this.segments, ...this.open.values()]) mark(element, words, this.spans);
  }

  /** What a finished segment orders; returns it as text. */
  command(event) {
    this.commands.set(event.segment, event);
    const segment = this.segments.findLast(({ number }) => number === event.segment);
    if (segment) this.drawCommand(segment);
    return ordered(event);
  }

  drawCommand(segment) {
    const event = this.commands.get(segment.number);
    if (!event) return;
    segment.element.nextElementSibling?.matches(".command") && segment.element.nextElementSibling.remove();
    const row = make("p", event.intent === null ? "command none" : "command");
    row.append(make("strong", "", event.intent ?? t("no_command")));
    for (const [name, value] of slotsOf(event)) {
      const slot = make("span", "slot", `${name}: `);
      slot.append(make("b", "", String(value)));
      row.append(slot);
    }
    row.append(make("span", "share", `${Math.round(100 * event.confidence)}%`));
    segment.element.after(row);
  }

  /** The finished segment in which a moment lies, or the nearest to it within a second. */
  at(moment) {
    const far = ({ start, end }) => Math.max(0, start - moment, moment - end);
    const nearest = this.segments.reduce((best, one) => (!best || far(one) < far(best) ? one : best), null);
    return nearest && far(nearest) < 1 ? nearest : null;
  }

  /** Show a place: its sentence is marked and has the focus. */
  show({ start, end }) {
    const segment = this.at((start + end) / 2);
    if (!segment) return false;
    for (const one of document.querySelectorAll(".word.found, .segment.found")) one.classList.remove("found");
    const buttons = [...segment.element.querySelectorAll(".word")];
    const own = buttons.filter((_, i) => overlaps(segment.words[i], [{ start, end }]));
    for (const one of [segment.element, ...own]) one.classList.add("found");
    segment.element.scrollIntoView({ block: "center" });
    (own[0] ?? buttons[0])?.focus({ preventScroll: true });
    return true;
  }

  /** Partials that can't become final any more: all, or those of one segment. */
  drop(segment) {
    for (const [number, { element }] of this.open) {
      if (segment !== undefined && segment !== number) continue;
      element.remove();
      this.open.delete(number);
    }
  }

  done(nothing) {
    this.drop();
    this.article.setAttribute("aria-busy", "false");
    if (!this.segments.length && nothing) this.list.append(make("p", "hint", nothing));
    else if (!this.segments.length) {
      this.article.remove();
      all.delete(this);
      empty.hidden = all.size > 0;
    }
  }

  download(form) {
    const [write, suffix, type] = FORMS[form];
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([write(this)], { type: `${type};charset=utf-8` }));
    link.download = `${this.name.replace(/\.[^.]*$/, "")}.${suffix}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
}

/** The keywords of a text with commas or line breaks between them. */
export function keywordsOf(text) {
  return text.split(/[,，、;；\n]+/).map((one) => one.trim()).filter(Boolean);
}

/** Mark these words wherever they are said: a text as `keywordsOf` reads it. */
export function highlight(text) {
  keywords = keywordsOf(text).map((one) => ({ text: one, parts: partsOf(one) }));
  for (const take of all) {
    for (const { element, words } of [...take.segments, ...take.open.values()]) mark(element, words, take.spans);
  }
}

/** Where finished segments have a text: [{take, start, end}]. */
export function places(text) {
  const parts = partsOf(text);
  return [...all].flatMap((take) =>
    take.segments.flatMap(({ words }) => found(words, parts).map(([a, b]) => ({ take, start: words[a].start, end: words[b].end }))),
  );
}

const slotsOf = ({ slots }) => Object.entries(slots).sort(([a], [b]) => (a < b ? -1 : 1));

/** A command in a line. */
function ordered(event) {
  return event.intent === null ? t("no_command") : `${event.intent}: ${slotsOf(event).map(([name, value]) => `${name} ${value}`).join(", ")}`;
}

/** How often each keyword was said in finished segments: [text, number]. */
export function counts() {
  const segments = [...all].flatMap((take) => take.segments);
  return keywords.map(({ text, parts }) => [text, segments.reduce((sum, { words }) => sum + found(words, parts).length, 0)]);
}

export function translateTakes() {
  for (const take of all) {
    take.translate();
    for (const segment of take.segments) take.drawCommand(segment);
  }
}

const plain = (text) => text.normalize("NFKC").toLowerCase();
const partsOf = (keyword) => plain(keyword.split("=")[0].trim()).split(/\s+/); // without its pronunciation

/** Whether at least half of a word, or of one of the spans, is where the other is. */
function overlaps(word, spans) {
  const shared = ({ start, end }) => Math.min(end, word.end) - Math.max(start, word.start);
  return spans.some((span) => shared(span) > 0.5 * Math.min(span.end - span.start, word.end - word.start));
}

/** Where a keyword begins: lists [first, last] of words. A word of a script without blanks may be a part of one, or span several. */
function found(words, parts) {
  const texts = words.map(({ text }) => plain(text));
  const out = [];
  const sought = parts.join("");
  const unspaced = /[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]/.test(sought);
  for (let i = 0; i < texts.length; i += 1) {
    if (!unspaced) {
      if (parts.every((part, k) => texts[i + k] === part)) out.push([i, i + parts.length - 1]);
      continue;
    }
    let run = texts[i];
    let j = i;
    while (run.length < sought.length && j + 1 < texts.length) run += texts[++j];
    const at = run.indexOf(sought);
    if (at >= 0 && at < texts[i].length) out.push([i, j]);
  }
  return out;
}

function mark(element, words, spans) {
  const marked = new Set(keywords.flatMap(({ parts }) => found(words, parts).flatMap(([a, b]) => Array.from({ length: b - a + 1 }, (_, k) => a + k))));
  element.querySelectorAll(".word").forEach((one, i) => one.classList.toggle("key", marked.has(i) || overlaps(words[i], spans)));
}

function shaded(element, word) {
  const sure = word.confidence ?? 1;
  element.style.setProperty("--sure", Math.max(0, Math.min(1, (sure - PALE) / (FULL - PALE))).toFixed(2));
  element.classList.toggle("low", sure < LOW && word.recognised === undefined);
  element.classList.toggle("edited", word.recognised !== undefined);
  const notes = [];
  if (word.recognised !== undefined) notes.push(t("was", word.recognised));
  else if (typeof word.confidence === "number") notes.push(t("confidence", Math.round(100 * sure)));
  element.title = notes.join(" ");
  return element;
}

/** Elements of words, with the blanks that their scripts have. */
function spaced(words, element) {
  return words.flatMap((word, i) => {
    const blank = i && joined([words[i - 1], word]).length > words[i - 1].text.length + word.text.length;
    return [...(blank ? [" "] : []), element(word, i)];
  });
}

/** Keep what is said in view, for those who look at its end. */
function follow(element) {
  const { bottom } = element.getBoundingClientRect();
  const room = window.innerHeight - parseFloat(getComputedStyle(document.documentElement).scrollPaddingBottom || 0);
  if (bottom > room && bottom < room + 200) window.scrollBy({ top: bottom - room + 16 });
}

/** Arrow keys, Home and End walk through the words; Tab leaves them. */
function moveFocus(event, list) {
  const words = [...list.querySelectorAll("button.word")];
  const at = words.indexOf(document.activeElement);
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: words.length - 1 }[event.key];
  if (at < 0 || to === undefined || !words[to]) return;
  event.preventDefault();
  words[at].tabIndex = -1;
  words[to].tabIndex = 0;
  words[to].focus();
}

/** Ask for another word in place of one. */
function ask(take, segment, word, button) {
  chosen = { take, segment, word, button };
  const others = (word.alternatives ?? []).filter(([text]) => text !== word.text);
  if (word.recognised !== undefined) others.unshift([word.recognised, word.confidence]);
  document.getElementById("choices-title").textContent = t(others.length ? "alternatives" : "no_alternatives", word.text);
  document.getElementById("choices-list").replaceChildren(
    ...others.map(([text, share]) => {
      const item = make("li");
      const option = make("button", "quiet wide", text);
      option.type = "button";
      if (typeof share === "number") option.append(make("span", "share", `${Math.round(100 * share)}%`));
      option.onclick = () => replace(text);
      item.append(option);
      return item;
    }),
  );
  document.getElementById("choices-field").value = "";
  choices.hidden = false;
  const box = button.getBoundingClientRect();
  const left = Math.max(12, Math.min(box.left, document.documentElement.clientWidth - choices.offsetWidth - 12));
  const below = box.bottom + 8 + choices.offsetHeight < window.innerHeight;
  choices.style.left = `${left + window.scrollX}px`;
  choices.style.top = `${(below ? box.bottom + 8 : Math.max(8, box.top - 8 - choices.offsetHeight)) + window.scrollY}px`;
  (choices.querySelector("li button") ?? document.getElementById("choices-field")).focus({ preventScroll: true });
}

function replace(text) {
  const { take, segment, word, button } = chosen;
  const back = text === word.recognised;
  word.recognised = back ? undefined : (word.recognised ?? word.text);
  word.text = text;
  const at = segment.words.indexOf(word);
  take.draw(segment);
  take.onChange();
  chosen.button = segment.element.querySelectorAll("button.word")[at] ?? button;
  closeChoices();
}

function closeChoices() {
  if (choices.hidden) return;
  choices.hidden = true;
  chosen.button.focus({ preventScroll: true });
}

document.getElementById("choices-own").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = document.getElementById("choices-field").value.trim();
  if (text) replace(text);
});
document.getElementById("choices-add").addEventListener("click", () => {
  const text = document.getElementById("choices-field").value.trim() || chosen.word.text;
  closeChoices();
  const field = document.getElementById("word");
  field.value = text;
  field.scrollIntoView({ block: "center" });
  field.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeChoices();
});
document.addEventListener("pointerdown", (event) => {
  if (!choices.hidden && !choices.contains(event.target) && event.target !== chosen.button) choices.hidden = true;
});
choices.addEventListener("focusout", ({ relatedTarget }) => {
  if (relatedTarget && !choices.contains(relatedTarget)) choices.hidden = true;
});

export function make(tag, classes = "", text = "") {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  if (text) element.textContent = text;
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}
