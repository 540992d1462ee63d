// Places: keywords that were heard, and what a search finds in what was said so far.

import { joined, minutes } from "./forms.js";
import { t } from "./texts.js";
import { make, places } from "./transcript.js";

const SHOWN = 50; // rows of a list
const LIKELY = 0.25; // probability of places that are shown though they are not sure
const NEAR = 0.5; // seconds between the middles of two hits that are one place
const heard = document.getElementById("heard");
const list = document.getElementById("hits");
const state = document.getElementById("search-state");
const middle = ({ start, end }) => (start + end) / 2;
let last = 0; // number of the newest search: answers to older ones are not shown

/** A keyword, the newest first. */
export function showHeard(take, event) {
  heard.prepend(row(take, event, event.text));
  while (heard.childElementCount > SHOWN) heard.lastChild.remove();
}

export function clearHeard() {
  heard.replaceChildren();
}

/** Search the session that runs by its sound, and all transcripts by their words. */
export async function search(query, running) {
  if (!query) return;
  const own = (last += 1);
  tell(t("searching", query));
  let hits = [];
  try {
    const found = running ? await running.session.find(query) : [];
    hits = found.filter(({ sure, probability }) => sure || probability >= LIKELY).map((hit) => ({ take: running.take, ...hit }));
  } catch (error) {
    if (error.message) return own === last && tell(error.message, true);
  }
  if (own !== last) return;
  const near = (one) => hits.some((hit) => hit.take === one.take && Math.abs(middle(hit) - middle(one)) < NEAR);
  hits.push(...places(query).filter((one) => !near(one)));
  tell(t(hits.length ? "found_places" : "found_nothing", query, hits.length));
  list.replaceChildren(...hits.slice(0, SHOWN).map((hit) => row(hit.take, hit, sentence(hit))));
}

function sentence({ take, ...hit }) {
  const words = take.at(middle(hit))?.words ?? [];
  return joined(words) || "…";
}

/** A place as a button that shows it. */
function row(take, place, text) {
  const item = make("li");
  const button = make("button", "quiet wide hit");
  button.type = "button";
  button.append(make("time", "", minutes(place.start)), make("span", "text", text));
  if (place.probability !== undefined) button.append(make("span", "share", `${Math.round(100 * place.probability)}%`));
  button.onclick = () => take.show(place) || tell(t("not_finished"));
  item.append(button);
  return item;
}

function tell(text, bad = false) {
  state.textContent = text;
  state.classList.toggle("bad", bad);
  state.hidden = false;
  if (bad) list.replaceChildren();
}
