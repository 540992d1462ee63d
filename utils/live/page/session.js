// A session: sound to the server over a WebSocket, words back. It survives lost connections: sound since the last final text is sent again.

import { streamAddress } from "./server.js";

const KEPT = 15; // seconds of sound that are sent again after a lost connection, at most
const REMEMBERED = 120; // seconds: for which blocks their time of capture is known
const WAITS = [0.5, 1, 2, 4, 8, 8, 8, 8]; // seconds before each try to connect again
const LAST_WORDS = 20; // seconds to wait for the end of a session
const SILENT = new Set(["nothing_said", "nothing_kept", "cant_find"]); // a search then finds what is on the page
const FOR_GOOD = new Set(["unauthorised", "bad_message", "too_big"]); // after these errors, trying again is in vain

/**
 * Times that listeners get are seconds from the beginning of the session, whatever connection they came by.
 * on: state(name, seconds), partial({segment, words, stable}), final({segment, start, end, words, nbest}), words(event),
 *     latency(kind, seconds), dropped(segment, message), lost(), failed(code, message), ended(),
 *     keyword({text, start, end, probability}), command({segment, intent, slots, confidence}), refusedKeywords(message).
 */
export class Session {
  constructor(rate, on) {
    this.rate = rate;
    this.on = on;
    this.heard = 0; // seconds of sound so far
    this.kept = []; // {start, end, block}: sound that the server may have to get again
    this.captured = []; // {end, at}: when the sound until `end` came from the microphone
    this.settled = 0; // seconds until which texts are final
    this.tries = 0;
    this.finishing = false;
    this.over = false;
    this.wanted = []; // keywords
    this.searches = new Map(); // id -> {resolve, reject}
    this.asked = 0;
    this.connect();
  }

  connect() {
    this.on.state("connecting");
    this.ready = false;
    this.partials = new Map(); // segment -> its words
    this.closing = null; // the server's reason
    const socket = (this.socket = new WebSocket(streamAddress()));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ type: "start", rate: this.rate, format: "pcm_s16le", partials: true, find: true }));
    socket.onmessage = ({ data }) => socket === this.socket && this.take(JSON.parse(data));
    socket.onclose = ({ code }) => socket === this.socket && this.closed(code);
  }

  /** Sound from the microphone. */
  accept(block) {
    const start = this.heard;
    this.heard += block.length / this.rate;
    this.captured.push({ end: this.heard, at: performance.now() });
    while (this.captured[0].end < this.heard - REMEMBERED) this.captured.shift();
    this.kept.push({ start, end: this.heard, block });
    const from = Math.max(this.settled, this.heard - KEPT);
    while (this.kept.length && this.kept[0].end <= from) this.kept.shift();
    if (this.ready) this.socket.send(block);
  }

  /** No more sound: the server sends its last words and ends the session. */
  finish() {
    if (this.over || this.finishing) return;
    this.finishing = true;
    if (!this.ready) return this.end(); // nobody is there who could answer
    this.on.state("finishing");
    this.socket.send(JSON.stringify({ type: "finish" }));
    this.patience = setTimeout(() => this.end(), LAST_WORDS * 1000);
  }

  /** Listen for these keywords, besides those that the server has by itself. */
  watch(keywords) {
    this.wanted = keywords;
    if (!this.ready) return;
    const all = [...new Set([...this.usual, ...keywords])];
    this.socket.send(JSON.stringify({ type: "keywords", keywords: all.length ? all : null }));
  }

  /** Where something was said since the connection was made: a promise of [{start, end, probability}], the surest first. */
  find(query) {
    if (!this.ready) return Promise.resolve([]);
    const id = (this.asked += 1);
    this.socket.send(JSON.stringify({ type: "find", query, id }));
    return new Promise((resolve, reject) => this.searches.set(id, { resolve, reject }));
  }

  answered(id, how, value) {
    this.searches.get(id)?.[how](value);
    this.searches.delete(id);
  }

  /** A message of the server. */
  take(event) {
    if (event.type === "ready") {
      this.ready = true;
      this.language = event.language; // that of the model
      this.base = this.kept.length ? this.kept[0].start : this.heard; // where the connection begins in the session
      for (const { block } of this.kept) this.socket.send(block);
      this.on.state(this.tries ? "again" : "listening");
      this.tries = 0;
      this.usual = event.keywords ?? [];
      if (this.wanted.length) this.watch(this.wanted);
    } else if (event.type === "partial") {
      const words = [...(this.partials.get(event.segment) ?? []).slice(0, event.keep), ...event.words];
      this.partials.set(event.segment, words);
      this.on.partial({ ...event, start: this.base + event.start, words: words.map((word) => this.shifted(word)) });
      if (event.words.length) this.late("partial", this.base + event.heard);
    } else if (event.type === "final") {
      this.partials.delete(event.segment);
      const words = event.words.map((word) => this.shifted(word));
      this.settled = Math.max(this.settled, this.base + event.end);
      this.on.final({ ...event, start: this.base + event.start, end: this.base + event.end, words });
      if (words.length) this.late("final", words[words.length - 1].end);
    } else if (event.type === "keyword") {
      this.on.keyword(this.shifted(event));
    } else if (event.type === "command") {
      this.on.command(this.shifted(event));
    } else if (event.type === "keywords") {
      this.on.refusedKeywords("");
    } else if (event.type === "found") {
      this.answered(event.id, "resolve", event.hits.map((hit) => this.shifted(hit)));
    } else if (event.type === "refused" && event.of === "find") {
      this.answered(event.id, "reject", new Error(SILENT.has(event.code) ? "" : event.message));
    } else if (event.type === "refused") {
      this.on.refusedKeywords(event.message);
    } else if (event.type === "words") {
      this.on.words(event);
    } else if (event.type === "error") {
      this.closing = event;
    } else if (event.type === "failed") {
      this.partials.delete(event.segment);
      this.on.dropped(event.segment, event.message);
    } else if (event.type === "ended" && this.finishing) {
      this.end();
    }
  }

  shifted(word) {
    return { ...word, start: this.base + word.start, end: this.base + word.end };
  }

  /** Tell the seconds from when a moment of sound was captured until now. */
  late(kind, moment) {
    const block = this.captured.find(({ end }) => end >= moment - 1e-6);
    if (block) this.on.latency(kind, (performance.now() - block.at) / 1000);
  }

  closed(code) {
    this.ready = false;
    for (const id of [...this.searches.keys()]) this.answered(id, "resolve", []);
    if (this.over) return;
    if (this.finishing) return this.end();
    const reason = this.closing?.code ?? (code === 1008 ? "unauthorised" : null);
    if (FOR_GOOD.has(reason) || this.tries >= WAITS.length) {
      this.on.failed(reason ?? "gone", this.closing?.message ?? "");
      return this.end();
    }
    if (reason === "too_fast") this.kept = [];
    this.on.lost();
    const wait = reason === "too_long" ? 0 : WAITS[this.tries];
    this.tries += 1;
    if (wait) this.on.state(reason === "too_many_sessions" || reason === "overloaded" ? "full" : "waiting", wait);
    this.patience = setTimeout(() => this.connect(), wait * 1000);
  }

  end() {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.patience);
    this.socket.close();
    this.ready = false;
    for (const id of [...this.searches.keys()]) this.answered(id, "resolve", []);
    this.on.ended();
  }
}
