// Words that people add: typed or spoken, with the server's warning before they go live.

import { record } from "./microphone.js";
import { call } from "./server.js";
import { t } from "./texts.js";
import { icon, make } from "./transcript.js";

const SPOKEN = 3; // seconds
const PREFERRED = 5; // weight of a preferred word, natural log
const field = document.getElementById("word");
const say = document.getElementById("say");
const state = document.getElementById("words-state");
const warning = document.getElementById("warning");
let waiting = null; // adds the word that the warning is about

/** The words that were added, as the server has them. */
export async function showWords() {
  const { words } = await call("GET", "v1/words");
  const list = document.getElementById("added");
  list.replaceChildren(
    ...words.map((one) => {
      const text = typeof one === "string" ? one : one.word;
      const item = make("li", "chip", text);
      const button = make("button", "bare");
      button.type = "button";
      button.setAttribute("aria-label", t("remove", text));
      button.append(icon("i-close"));
      button.onclick = () => remove(text);
      item.append(button);
      return item;
    }),
  );
}

/** Ask the server what it says of a word; add it if that is nothing, or let the user decide. */
async function add(word, audio) {
  const [text] = word.split(/\s/); // without its pronunciation
  warning.hidden = true;
  tell("checking", text);
  const remarks = (await send(word, audio, true)).remarks;
  waiting = async () => {
    warning.hidden = true;
    tell("adding", text);
    const { added } = await send(word, audio, false);
    field.value = "";
    document.getElementById("prefer").checked = false;
    await showWords();
    tell("is_live", added.join(", ") || text);
  };
  if (!remarks.length) return waiting();
  state.hidden = true;
  document.getElementById("warning-text").textContent = t("before_live", text);
  document.getElementById("warning-list").replaceChildren(...remarks.map((remark) => make("li", "", remark)));
  warning.hidden = false;
  document.getElementById("warning-add").focus();
}

/** dryRun: only the remarks are wanted, nothing is added. */
function send(word, audio, dryRun) {
  const weight = document.getElementById("prefer").checked ? PREFERRED : 0;
  if (!audio) return call("POST", "v1/words", { words: [word], weight, dry_run: dryRun });
  const form = new FormData();
  form.append("word", word);
  form.append("audio", audio, "word.wav");
  form.append("weight", String(weight));
  form.append("dry_run", String(dryRun));
  return call("POST", "v1/words", form);
}

async function remove(word) {
  await call("DELETE", `v1/words/${encodeURIComponent(word)}`);
  await showWords();
  tell("is_removed", word);
}

async function speak() {
  const word = field.value.trim();
  if (!word) {
    tell("word_first");
    return field.focus();
  }
  say.classList.add("on");
  tell("say_now", word);
  try {
    const audio = await record(SPOKEN, (rms) => say.style.setProperty("--level", Math.min(1, 4 * rms).toFixed(2)));
    return await add(word, audio);
  } finally {
    say.classList.remove("on");
  }
}

function tell(key, ...values) {
  state.textContent = t(key, ...values);
  state.classList.remove("bad");
  state.hidden = false;
}

/** Run an action, one at a time; what the server refuses is shown. */
async function guarded(action) {
  const buttons = [say, document.getElementById("add"), document.getElementById("warning-add")];
  for (const button of buttons) button.disabled = true;
  try {
    await action();
  } catch (error) {
    state.textContent = error.status === 0 ? t("no_answer") : error.message;
    state.classList.add("bad");
    state.hidden = false;
  } finally {
    for (const button of buttons) button.disabled = false;
  }
  if (!warning.hidden) document.getElementById("warning-add").focus();
}

document.getElementById("words").addEventListener("submit", (event) => {
  event.preventDefault();
  const word = field.value.trim();
  if (word) guarded(() => add(word));
});
say.addEventListener("click", () => guarded(speak));
document.getElementById("warning-add").addEventListener("click", () => guarded(waiting));
document.getElementById("warning-drop").addEventListener("click", () => {
  warning.hidden = true;
  field.focus();
});
