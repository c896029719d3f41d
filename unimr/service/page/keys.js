/** The keyboard: / to the box, arrows among the results, M for more like one, Escape back. */

const text = document.getElementById("text");
const results = document.getElementById("results");
const dialog = document.getElementById("item");

/** Listen; `moreLike` gets the id of a picture, `onEscape` nothing. The dialog closes itself. */
export function listenToKeys({ moreLike, onEscape }) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || dialog.open) return;
    const writes = event.target.closest("input, select, textarea");
    if (event.key === "/" && !writes) {
      event.preventDefault();
      text.focus();
      text.select();
    } else if (event.key === "Escape") onEscape();
    else if (event.target === text) onBoxKey(event);
    else if (event.target.closest("#results")) onResultKey(event, moreLike);
  });
  results.addEventListener("focusin", (event) => {
    for (const button of results.querySelectorAll("[tabindex='0']")) button.tabIndex = -1;
    for (const button of event.target.closest(".tile").querySelectorAll("button")) button.tabIndex = 0;
  });
}

function onBoxKey(event) {
  if (event.key !== "ArrowDown" || !results.children.length) return;
  event.preventDefault();
  results.querySelector(".open").focus();
}

function onResultKey(event, moreLike) {
  const tiles = [...results.children];
  const tile = event.target.closest(".tile");
  if (event.key.toLowerCase() === "m" && tile.dataset.image) {
    event.preventDefault(); // the box that is now to be typed in would get it
    return moreLike(tile.dataset.image);
  }
  const step = stepOf(event.key, tiles);
  if (!step) return;
  event.preventDefault();
  const goal = tiles.indexOf(tile) + step;
  if (event.key === "ArrowUp" && goal < 0) text.focus();
  else tiles[goal]?.querySelector(".open").focus();
}

/** How many tiles an arrow goes on; in the rows of a right-to-left language the next one is on the left. */
function stepOf(key, tiles) {
  const columns = tiles.filter((tile) => tile.offsetTop === tiles[0].offsetTop).length;
  const onward = results.dir === "rtl" ? -1 : 1;
  return { ArrowRight: onward, ArrowLeft: -onward, ArrowDown: columns, ArrowUp: -columns }[key] ?? 0;
}
