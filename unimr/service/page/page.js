/** The search page: what a person does becomes a query, a query becomes an address and an answer. */

import { listenToKeys } from "./keys.js";
import { onPicture, preview, readPicture } from "./picture.js";
import { MOST, PAGE_SIZE, asksNothing, empty, fromAddress, hasPicture, toAddress, toRequest } from "./query.js";
import * as service from "./service.js";
import { fillMenu, find, setMenu, showChips, showItem, showMessage, showNotes, showResults } from "./view.js";
import { direction, exampleQueries, languageName } from "./words.js";

const TYPING_PAUSE = 140; // milliseconds without a key before a search
const COMPOSING_PAUSE = 450; // the same while an input method still offers other words
const SETTLED_AFTER = 2000; // milliseconds after which the next key begins a new entry of the history
const SLOW_AFTER = 300; // milliseconds before the page shows that it waits
const MOST_RETRIES = 6;
const MENUS = ["lang", "style", "category"];
const text = find("text");
const results = find("results");
const dialog = find("item");

let query = fromAddress();
let answered = null; // the answer on the page
let guessed = ""; // the intent before it was taken back
let running = null; // the request whose answer is waited for: every other answer is dropped
let typing = false; // the history's entry is still being typed
let retries = 0;
let pause, settling, slow;

// --- a query, its address, its answer ---

/** Change the query by something a person did on purpose: an entry of the history of its own. */
function go(change) {
  query = { ...query, count: PAGE_SIZE, ...change };
  remember("pushState");
  typing = false;
  showQuery();
  search();
}

function remember(how) {
  history[how]({ picture: query.picture }, "", toAddress(query));
}

function searchLater(milliseconds) {
  clearTimeout(pause);
  pause = setTimeout(() => {
    remember(typing ? "replaceState" : "pushState");
    typing = true;
    clearTimeout(settling);
    settling = setTimeout(() => (typing = false), SETTLED_AFTER);
    showQuery();
    search();
  }, milliseconds);
}

async function search() {
  clearTimeout(pause);
  clearTimeout(slow);
  running?.abort();
  const mine = (running = new AbortController());
  if (asksNothing(query)) return showWelcome();
  slow = setTimeout(() => results.setAttribute("aria-busy", "true"), SLOW_AFTER);
  try {
    const answer = await service.search(toRequest(query), mine.signal);
    if (mine === running) showAnswer(answer);
  } catch (error) {
    if (mine === running) showFailure(error);
  } finally {
    if (mine === running) clearTimeout(slow);
  }
}

function toggleSlot(name) {
  const gone = query.without.includes(name);
  go({ without: gone ? query.without.filter((other) => other !== name) : [...query.without, name] });
  chipToFocus = name;
}
let chipToFocus = "";

// --- what is shown ---

function showQuery() {
  if (text.value !== query.text) text.value = query.text;
  text.placeholder = hasPicture(query) ? "Add words: “dark skin tone”…" : "Search in any language";
  for (const name of MENUS) setMenu(find(name), query[name]);
  find("clear").hidden = asksNothing(query);
  document.title = query.text.trim() ? `${query.text.trim()} · unimr` : "unimr";
  showOwnPicture();
}

async function showOwnPicture() {
  const place = find("picture");
  const shown = query.picture ?? query.like;
  place.hidden = !hasPicture(query);
  if (place.shown === shown) return;
  place.shown = shown;
  place.querySelector("img, canvas")?.remove();
  if (!shown) return;
  const image = query.picture
    ? await preview(query.picture).catch(() => document.createElement("canvas"))
    : Object.assign(new Image(64, 64), { alt: "" });
  if (place.shown !== shown) return; // another one came meanwhile
  place.prepend(image);
  if (query.like) service.showPicture(image, query.like);
}

function showAnswer(answer) {
  answered = answer;
  retries = 0;
  const labels = answer.slots.map((slot) => slot.label);
  query.without = query.without.filter((name) => name === "intent" || labels.includes(name));
  remember("replaceState");
  if (!query.without.includes("intent")) guessed = answer.intent;
  find("welcome").hidden = true;
  showMessage();
  showChips(answer, query, guessed, toggleSlot);
  showNotes(answer.notes);
  showResults(answer);
  results.removeAttribute("aria-busy");
  find("lang").options[0].textContent = query.lang ? "Language" : `${languageName(answer.lang)} (auto)`;
  const number = answer.hits.length;
  const time = `${Math.max(1, Math.round(answer.latency_ms))} ms`;
  find("status").textContent = `${number} ${number === 1 ? "result" : "results"} in ${time}`;
  showVersions(answer);
  find("further").hidden = number < query.count || number >= MOST;
  if (!number) showNothingFound();
  if (chipToFocus) find("chips").querySelector(`[data-name="${CSS.escape(chipToFocus)}"]`)?.focus();
  chipToFocus = "";
}

function showVersions({ model, index }) {
  find("made").textContent = `model ${model} · index ${index}`;
}

function showNothingFound() {
  const narrowed = query.style || query.category;
  const why = narrowed ? "The menus leave nothing of it." : "Use other words, or take back a chip that was not meant.";
  showMessage("Nothing was found.", why, narrowed ? "Take the menus back" : "", () => go({ style: "", category: "" }));
}

function showWelcome() {
  answered = null;
  for (const id of ["chips", "notes", "results"]) find(id).replaceChildren();
  find("status").textContent = "";
  find("further").hidden = true;
  find("lang").options[0].textContent = "Language";
  showMessage();
  find("welcome").hidden = false;
}

/** Say what happened and what to do; an overloaded or restarting service is asked again by itself. */
function showFailure(error, again = search) {
  if (!(error instanceof service.ServiceError)) throw error;
  results.setAttribute("aria-busy", "true");
  find("welcome").hidden = true;
  find("status").textContent = "";
  if (error.status === 401) return askForKey();
  if (error.status === 429 || error.status === 503) return showBusy(error, again);
  if (error.status === 0 || error.status >= 500) {
    return showMessage("No answer.", `${error.message} What you asked for is kept.`, "Try again", again);
  }
  for (const id of ["chips", "notes", "results"]) find(id).replaceChildren();
  const narrowed = MENUS.some((name) => query[name]) || query.without.length;
  const [action, wider] = narrowed
    ? ["Take the menus back", { lang: "", style: "", category: "", without: [] }]
    : ["Start again", empty()];
  showMessage("This cannot be searched.", error.message, action, () => go(wider));
}

function askForKey() {
  const form = find("key");
  showMessage();
  form.hidden = false;
  if (service.hasKey()) form.querySelector("p").textContent = "That key is not known here. Try another.";
  form.onsubmit = (event) => {
    event.preventDefault();
    form.hidden = true;
    service.useKey(form.elements[0].value);
    begin();
  };
}

function showBusy(error, again) {
  const seconds = Math.max(1, error.wait) * Math.max(1, retries - 1);
  const title = error.status === 429 ? "Busy at the moment." : "Not ready yet.";
  if (++retries > MOST_RETRIES) return showMessage(title, "Come back in a minute.", "Try again", again);
  pause = setTimeout(again, 1000 * seconds);
  showMessage(title, `Trying again in ${seconds} s.`, "Try now", again);
}

// --- the box ---

text.addEventListener("input", (event) => {
  query = { ...query, text: text.value, count: PAGE_SIZE };
  find("clear").hidden = asksNothing(query);
  searchLater(event.isComposing ? COMPOSING_PAUSE : TYPING_PAUSE);
});
find("search").addEventListener("submit", (event) => {
  event.preventDefault();
  go({ text: text.value });
});
find("clear").addEventListener("click", startAgain);
find("remove-picture").addEventListener("click", () => {
  go({ picture: null, like: "" });
  text.focus();
});
for (const name of MENUS) find(name).addEventListener("change", () => go({ [name]: find(name).value }));
find("further").addEventListener("click", () => {
  query = { ...query, count: Math.min(MOST, query.count + PAGE_SIZE) };
  search();
});
document.querySelector(".brand").addEventListener("click", (event) => {
  if (event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  startAgain();
});

function startAgain() {
  go(empty());
  text.focus();
}

// --- pictures ---

async function bring(file) {
  if (!file) return;
  try {
    go({ picture: await readPicture(file), like: "" });
  } catch {
    showMessage("This file cannot be read as a picture.", "PNG, JPEG and WebP can.", "Choose another", choose);
  }
}

const choose = onPicture(bring);

// --- results ---

function moreLike(image) {
  dialog.close();
  go({ ...empty(), like: image, lang: query.lang, style: query.style });
  scrollTo(0, 0);
  if (matchMedia("(hover: hover)").matches) text.focus(); // elsewhere the keyboard would cover the results
}

async function open(tile) {
  try {
    showItem(await service.item(tile.dataset.item), answered.lang);
  } catch (error) {
    showMessage("This cannot be opened.", error.message);
  }
}

results.addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (!tile) return;
  if (event.target.closest(".more")) moreLike(tile.dataset.image);
  else if (event.target.closest(".open")) open(tile);
});
dialog.querySelector(".close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => {
  const rendering = event.target.closest("[data-image]");
  if (rendering) moreLike(rendering.dataset.image);
  if (event.target === dialog) dialog.close(); // beside it
});

listenToKeys({ moreLike, onEscape });

function onEscape() {
  if (document.activeElement !== text) text.focus();
  else if (!asksNothing(query)) startAgain();
  else text.blur();
}

// --- the beginning ---

function showExamples(offered) {
  const entries = exampleQueries(offered).map(({ lang, text: words }) => {
    const entry = find("example").content.firstElementChild.cloneNode(true);
    const name = entry.querySelector(".language");
    const said = entry.querySelector(".query");
    [name.textContent, name.lang] = [languageName(lang), lang];
    [said.textContent, said.lang] = [words, lang];
    entry.dir = direction(lang);
    entry.querySelector("button").addEventListener("click", () => go({ ...empty(), text: words }));
    return entry;
  });
  find("examples").replaceChildren(...entries);
}

async function begin() {
  showQuery();
  search();
  try {
    const offered = await service.catalogue();
    fillMenu(find("lang"), offered.languages, languageName);
    fillMenu(find("style"), offered.styles);
    fillMenu(find("category"), offered.categories);
    for (const name of MENUS) setMenu(find(name), query[name]);
    showExamples(offered);
    find("items").textContent = `${offered.items.toLocaleString("en")} items`;
    if (!answered) showVersions(offered);
  } catch (error) {
    if (asksNothing(query)) showFailure(error, begin);
  }
}

addEventListener("popstate", () => {
  query = fromAddress();
  typing = false;
  showQuery();
  search();
});
begin();
