/** A query as the page holds it, as the address shows it, and as the service is asked it. */

export const PAGE_SIZE = 24;
export const MOST = 96;

const EMPTY = { text: "", picture: null, like: "", lang: "", style: "", category: "", without: [], count: PAGE_SIZE };
const IN_ADDRESS = { text: "q", like: "like", lang: "lang", style: "style", category: "category" };

/** The query of the current address. A picture of one's own is not in it: the history entry keeps that. */
export function fromAddress() {
  const given = new URLSearchParams(location.search);
  const query = { ...EMPTY, picture: history.state?.picture ?? null };
  for (const [name, short] of Object.entries(IN_ADDRESS)) query[name] = given.get(short) ?? "";
  query.without = (given.get("without") ?? "").split(",").filter(Boolean);
  return query;
}

/** The address that shows a query: everything in it but a picture of one's own. */
export function toAddress(query) {
  const shown = new URLSearchParams();
  for (const [name, short] of Object.entries(IN_ADDRESS)) if (query[name].trim()) shown.set(short, query[name].trim());
  if (query.without.length) shown.set("without", query.without.join(","));
  return `${location.pathname}${shown.size ? "?" : ""}${shown}`;
}

export const hasPicture = (query) => Boolean(query.picture || query.like);
export const asksNothing = (query) => !query.text.trim() && !hasPicture(query);
export const empty = () => ({ ...EMPTY });

/** The body of `POST /v1/search`. Without `k` the query's own words may say how many ("three flags"). */
export function toRequest(query) {
  const filters = {};
  for (const name of ["style", "category"]) if (query[name]) filters[name] = query[name];
  return {
    text: query.text.trim() || null,
    image: query.picture,
    image_id: query.picture ? null : query.like || null,
    lang: query.lang || null,
    filters,
    ignore_slots: query.without,
    ...(query.count > PAGE_SIZE && { k: query.count }),
  };
}
