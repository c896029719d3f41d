/** What is drawn: every text goes through `textContent`, every element from a template of the page. */

import { showPicture } from "./service.js";
import { direction, intentName, languageName, slotName } from "./words.js";

export const find = (id) => document.getElementById(id);
const SURE = 0.6; // an intent the model is less sure of is not acted on, so its confidence says nothing

const part = (element, selector) => element.querySelector(selector);
const fromTemplate = (id) => find(id).content.firstElementChild.cloneNode(true);

/** Fill a menu anew: its first entry stays. One that offers no choice is hidden. */
export function fillMenu(menu, values, name = (value) => value) {
  menu.length = 1;
  menu.parentElement.hidden = values.length < 2;
  const options = values.map((value) => new Option(name(value), value));
  options.sort((one, other) => one.text.localeCompare(other.text));
  menu.append(...options);
}

/** Show a value in a menu, also one that it does not offer (an old address). */
export function setMenu(menu, value) {
  if (![...menu.options].some((option) => option.value === value)) menu.append(new Option(value, value));
  menu.value = value;
  menu.classList.toggle("chosen", value !== "");
}

/** Chips of what was understood; `onToggle` gets the label of one that is taken back or put back. */
export function showChips(answer, query, guessed, onToggle) {
  const chips = [intentChip(answer, query, guessed), ...slotChips(answer, query)];
  find("chips").replaceChildren(...chips.map((chip) => drawChip(chip, onToggle)));
}

function intentChip(answer, query, guessed) {
  const gone = query.without.includes("intent");
  const words = query.text.trim() !== "" && !query.picture && !query.like;
  const sure = words && !gone && answer.confidence >= SURE ? `${Math.round(100 * answer.confidence)} %` : "";
  const removable = gone || (words && answer.intent !== "find_image");
  return { label: sure, value: intentName(gone && guessed ? guessed : answer.intent), name: "intent", gone, removable };
}

function slotChips(answer, query) {
  const found = new Map(answer.slots.map((slot) => [`${slot.label} ${slot.text}`, slot]));
  return [...found.values()].map((slot) => {
    const gone = query.without.includes(slot.label);
    return {
      name: slot.label,
      label: slotName(slot.label),
      value: slot.value ?? slot.text,
      words: slot.text,
      unread: !gone && slot.value === null,
      gone,
      removable: true,
    };
  });
}

function drawChip(chip, onToggle) {
  const element = fromTemplate("chip");
  const button = part(element, "button");
  button.dataset.name = chip.name;
  button.classList.toggle("gone", chip.gone);
  button.classList.toggle("unread", Boolean(chip.unread));
  button.classList.toggle("intent", chip.name === "intent");
  button.disabled = !chip.removable;
  part(button, ".label").textContent = chip.label;
  part(button, ".value").textContent = chip.value;
  part(button, ".sign").textContent = chip.removable ? (chip.gone ? "+" : "×") : "";
  const what = `${slotName(chip.name)}: ${chip.value}`;
  button.setAttribute("aria-label", chip.removable ? `${chip.gone ? "Put back" : "Take back"} ${what}` : what);
  if (chip.words && chip.words !== chip.value) button.title = `“${chip.words}”`;
  button.addEventListener("click", () => onToggle(chip.name));
  return element;
}

export function showNotes(notes) {
  const lines = notes.map((note) => Object.assign(document.createElement("p"), { textContent: note }));
  find("notes").replaceChildren(...lines);
}

/** Results in the order of the answer; tiles that are there already are used again, so that no picture flashes. */
export function showResults(answer) {
  const list = find("results");
  const there = new Map([...list.children].map((tile) => [tile.dataset.key, tile]));
  const tiles = answer.hits.map((hit, number) => {
    const tile = there.get(`${hit.item_id} ${hit.image_id}`) ?? newTile(hit);
    fillTile(tile, hit, answer.lang);
    for (const button of tile.querySelectorAll("button")) button.tabIndex = number === 0 ? 0 : -1;
    return tile;
  });
  list.dir = direction(answer.lang);
  list.classList.toggle("texts", answer.hits[0]?.kind === "text");
  list.replaceChildren(...tiles);
}

function newTile(hit) {
  const tile = fromTemplate("tile");
  Object.assign(tile.dataset, { key: `${hit.item_id} ${hit.image_id}`, item: hit.item_id, image: hit.image_id ?? "" });
  if (hit.image_id) showPicture(part(tile, "img"), hit.image_id);
  part(tile, "img").hidden = part(tile, ".more").hidden = !hit.image_id;
  return tile;
}

function fillTile(tile, hit, lang) {
  part(tile, ".more").setAttribute("aria-label", `More like this: ${hit.title}`);
  const title = part(tile, ".title");
  [title.textContent, title.lang] = [hit.title, lang];
  part(tile, ".english").textContent = hit.english === hit.title ? "" : hit.english;
  const about = part(tile, ".about");
  [about.textContent, about.lang] = [withoutTitle(hit.text ?? "", hit.title), lang];
}

/** A description without the title it begins with. */
function withoutTitle(text, title) {
  return text.startsWith(`${title}:`) ? text.slice(title.length + 1).trim() : text;
}

/** A message with one thing to do, in the place of any other; nothing given leaves none. */
export function showMessage(title = "", text = "", action = "", onAction = null) {
  const box = find("message");
  box.hidden = !title;
  find("key").hidden = true;
  part(box, "h2").textContent = title;
  part(box, "p").textContent = text;
  const button = part(box, "button");
  button.textContent = action;
  button.hidden = !action;
  button.onclick = onAction;
}

/** An item in the dialog: its pictures, its texts, and its names in other languages. */
export function showItem(item, lang) {
  const dialog = find("item");
  dialog.dir = direction(lang);
  part(dialog, ".pictures").replaceChildren(...item.pictures.map(drawPicture));
  const title = part(dialog, "h2");
  [title.textContent, title.lang] = [item.names[lang] ?? item.names.en ?? item.item_id, lang];
  const about = part(dialog, ".about");
  about.textContent = withoutTitle(item.descriptions[lang] ?? item.descriptions.en ?? "", title.textContent);
  showAttributes(part(dialog, ".attributes"), item.attributes);
  showNames(part(dialog, ".names"), item.names, lang);
  dialog.showModal();
}

function drawPicture(picture) {
  const button = fromTemplate("rendering");
  button.dataset.image = picture.image_id;
  button.setAttribute("aria-label", `More like this, in style ${picture.style}`);
  showPicture(part(button, "img"), picture.image_id);
  part(button, "span").textContent = picture.style;
  return button;
}

function showAttributes(list, attributes) {
  const shown = Object.entries(attributes).filter(([name]) => name !== "base");
  list.replaceChildren(
    ...shown.map(([name, value]) => {
      return Object.assign(document.createElement("li"), { textContent: `${slotName(name)}: ${value}` });
    }),
  );
}

function showNames(list, names, lang) {
  const others = Object.keys(names).filter((tag) => tag !== lang);
  const rows = others.map((tag) => {
    const row = fromTemplate("name");
    part(row, "dt").textContent = languageName(tag);
    part(row, "bdi").textContent = names[tag];
    for (const words of row.children) words.lang = tag;
    return row;
  });
  rows.sort((one, other) => one.textContent.localeCompare(other.textContent));
  list.replaceChildren(...rows);
}
