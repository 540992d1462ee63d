// The page: its buttons, the microphone's session, files, and the token.

import { openMicrophone } from "./microphone.js";
import { call, setToken } from "./server.js";
import { Session } from "./session.js";
import { minutes } from "./forms.js";
import { choose, t, translate } from "./texts.js";
import { counts, highlight, keywordsOf, make, Take, translateTakes } from "./transcript.js";
import { clearHeard, search, showHeard } from "./search.js";
import { showWords } from "./words.js";
import { drawLevel, clearLevel } from "./level.js";

const by = (id) => document.getElementById(id);
const SILENCE = 3; // seconds without any sound before the page asks about the microphone
const TYPED = 0.7; // seconds without a key after which the server is told the keywords
const SOUNDLESS = 1e-4; // of full scale
let running = null; // {session, microphone, take, delays}
let state = { key: "idle", values: [], bad: false };

// ---- State and latency

function say(key, ...values) {
  state = { key, values, bad: false };
  showState();
}

function complain(key, ...values) {
  state = { key, values, bad: true };
  showState();
}

function showState() {
  const element = by("state");
  element.textContent = t(state.key, ...state.values);
  element.classList.toggle("bad", state.bad);
}

function showDelays(delays) {
  for (const kind of ["partial", "final"]) {
    const sorted = [...(delays?.[kind] ?? [])].sort((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)];
    by(`latency-${kind}`).textContent = median === undefined ? "–" : t("seconds", median.toFixed(2));
  }
}

function showCounts() {
  by("counts").replaceChildren(
    ...counts().map(([text, number]) => {
      const item = make("li", "chip key", text);
      item.append(make("span", "number", String(number)));
      return item;
    }),
  );
}

// ---- The microphone

async function start() {
  if (!navigator.mediaDevices || !window.isSecureContext) return complain("insecure");
  by("listen").disabled = true;
  say("connecting");
  let silent = 0;
  try {
    const microphone = await openMicrophone({
      device: by("device-list").value,
      onBlock(block, rms) {
        if (!running) return;
        running.session.accept(block);
        drawLevel(rms);
        by("clock").textContent = minutes(running.session.heard);
        silent = rms < SOUNDLESS ? silent + block.length / microphone.rate : 0;
        if (silent > SILENCE && state.key === "listening") complain("silent");
        else if (!silent && state.key === "silent") say("listening");
      },
      onEnded() {
        complain("unplugged");
        stop();
      },
    });
    const take = new Take("", showCounts);
    const delays = { partial: [], final: [] };
    const session = new Session(microphone.rate, listeners(take, delays));
    running = { session, microphone, take };
    session.watch(keywordsOf(by("keywords").value));
    clearHeard();
    showDelays(delays);
    await showDevices(microphone.device);
  } catch (error) {
    complain(problem(error), error.message);
  }
  showButton();
}

function problem({ name }) {
  return { NotAllowedError: "no_permission", NotFoundError: "no_microphone", OverconstrainedError: "no_microphone" }[name] ?? "busy_microphone";
}

/** What a session does to the page. */
function listeners(take, delays) {
  return {
    state(name, seconds) {
      if (name === "waiting" || name === "full") complain(name, seconds);
      else say(name);
      if (name === "again") setTimeout(() => state.key === "again" && say("listening"), 4000);
    },
    partial: (event) => take.partial(event),
    final(event) {
      take.language = running.session.language;
      take.final(event);
      if (event.words.length) by("spoken").textContent = event.text;
    },
    keyword(event) {
      take.heard(event);
      showHeard(take, event);
    },
    command(event) {
      const text = take.command(event);
      if (event.intent !== null) by("ordered").textContent = text;
    },
    refusedKeywords: showProblem,
    words: () => refreshWords(),
    latency(kind, seconds) {
      delays[kind].push(seconds);
      showDelays(delays);
    },
    dropped(segment, message) {
      take.drop(segment);
      complain("refused", message);
    },
    lost: () => take.drop(),
    failed(code, message) {
      if (code === "unauthorised") askToken(true);
      if (code === "gone") complain("gone");
      else complain("refused", message || code);
    },
    ended() {
      take.seconds = Math.max(take.seconds, running.session.heard);
      running.microphone.close();
      running = null;
      take.done();
      clearLevel();
      if (!state.bad) say("idle");
      showButton();
    },
  };
}

function stop() {
  running.microphone.close();
  clearLevel();
  running.session.finish();
  showButton();
}

function showButton() {
  const on = Boolean(running && !running.session.finishing);
  by("listen").disabled = Boolean(running?.session.finishing);
  by("listen").classList.toggle("on", on);
  by("listen").setAttribute("aria-pressed", String(on));
  by("listen").querySelector("use").setAttribute("href", on ? "#i-stop" : "#i-mic");
  by("listen-text").dataset.t = on ? "stop" : "start";
  by("listen-text").textContent = t(on ? "stop" : "start");
  by("device").hidden = Boolean(running) || by("device-list").length < 2;
}

function showProblem(message) {
  by("keywords-problem").textContent = message;
  by("keywords-problem").hidden = !message;
}

/** Offer a choice where there are several microphones; their names are known once one was opened. */
async function showDevices(current) {
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "audioinput");
  by("device-list").replaceChildren(
    ...devices.map(({ deviceId, label }) => {
      const option = make("option", "", label || deviceId);
      option.value = deviceId;
      option.selected = deviceId === current;
      return option;
    }),
  );
}

// ---- Files

let queue = Promise.resolve();

function take(files) {
  for (const file of files) {
    const item = make("li", "job", t("recognising", file.name));
    const abort = new AbortController();
    const cancel = make("button", "quiet small", t("cancel"));
    cancel.type = "button";
    cancel.onclick = () => abort.abort();
    item.append(cancel);
    by("jobs").append(item);
    queue = queue.then(() => recognise(file, item, abort.signal));
  }
}

async function recognise(file, item, signal) {
  const form = new FormData();
  form.append("file", file);
  form.append("model", "nuptse");
  form.append("response_format", "verbose_json");
  for (const unit of ["word", "segment"]) form.append("timestamp_granularities[]", unit);
  try {
    if (!signal.aborted) show(file, await call("POST", "v1/audio/transcriptions", form, signal));
    item.remove();
  } catch (error) {
    if (signal.aborted) return item.remove();
    if (error.status === 401) askToken(true);
    item.className = "job bad";
    item.textContent = t("file_failed", file.name, error.status === 0 ? t("no_answer") : error.message);
  }
}

/** An answer in OpenAI's form as a take. */
function show(file, { language, duration, segments, words }) {
  const one = new Take(file.name, showCounts);
  one.language = language;
  one.seconds = duration;
  const all = (words ?? []).map(({ word, start, end, confidence, alternatives }) => ({ text: word, start, end, confidence: confidence ?? undefined, alternatives }));
  (segments ?? []).forEach((segment, i) => {
    const next = segments[i + 1]?.start ?? Infinity;
    one.final({ segment: i, start: segment.start, end: segment.end, words: all.filter(({ start }) => start < next && (start >= segment.start || i === 0)), nbest: segment.nbest });
  });
  one.done(t("nothing_said"));
  by("spoken").textContent = one.segments.flatMap((segment) => segment.words.map(({ text }) => text)).join(" ");
  one.article.scrollIntoView({ block: "nearest" });
}

// ---- The token

function askToken(wrong) {
  by("token").hidden = false;
  by("token-problem").hidden = !(wrong && sessionStorage.getItem("nuptse-token"));
  by("token-problem").textContent = t("token_wrong");
  by("token-field").focus();
}

async function refreshWords() {
  try {
    await showWords();
    by("token").hidden = true;
    if (state.key === "no_answer") say("idle");
  } catch (error) {
    if (error.status === 401 || error.status === 403) askToken(true);
    else if (error.status === 0) complain("no_answer");
  }
}

// ---- What people do

by("listen").addEventListener("click", () => (running ? stop() : start()));
by("token").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(by("token-field").value.trim());
  refreshWords();
});
by("choose").addEventListener("click", () => by("file").click());
by("file").addEventListener("change", ({ target }) => {
  take(target.files);
  target.value = "";
});
let depth = 0; // of elements that a file is dragged over
for (const [name, step] of [["dragenter", 1], ["dragleave", -1]]) {
  addEventListener(name, ({ dataTransfer }) => {
    if (!dataTransfer.types.includes("Files")) return;
    depth += step;
    by("over").hidden = depth <= 0;
  });
}
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  by("over").hidden = true;
  take(event.dataTransfer.files);
});
by("keywords").value = localStorage.getItem("nuptse-keywords") ?? "";
let typing = 0;
by("keywords").addEventListener("input", ({ target }) => {
  localStorage.setItem("nuptse-keywords", target.value);
  highlight(target.value);
  showCounts();
  showProblem("");
  clearTimeout(typing);
  typing = setTimeout(() => running?.session.watch(keywordsOf(target.value)), TYPED * 1000);
});
by("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search(by("query").value.trim(), running);
});
for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    choose(button.dataset.language);
    showState();
    translateTakes();
    refreshWords();
  });
}
addEventListener("beforeunload", (event) => running && event.preventDefault());

translate();
showState();
highlight(by("keywords").value);
showCounts();
refreshWords();
