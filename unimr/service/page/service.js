/** The service behind the page: the only file that knows its addresses, the API key and the session. */

let key = sessionStorage.getItem("key") ?? "";
const pictures = new Map(); // promises of the addresses of pictures that were fetched with the key

/** Use an API key until the tab is closed. */
export function useKey(given) {
  key = given.trim();
  sessionStorage.setItem("key", key);
}

export const hasKey = () => key !== "";

/** What ties the queries of this tab together in the query log: a random number, nothing about the person. */
function session() {
  if (!sessionStorage.getItem("session")) {
    const numbers = crypto.getRandomValues(new Uint32Array(4));
    sessionStorage.setItem("session", [...numbers].map((number) => number.toString(36)).join("-"));
  }
  return sessionStorage.getItem("session");
}

const withKey = (headers = {}) => (key ? { ...headers, Authorization: `Bearer ${key}` } : headers);

/** What went wrong: `status` is the HTTP status, 0 where nothing answered; `wait` the seconds it asked to wait. */
export class ServiceError extends Error {
  constructor(status, message, wait) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

async function fetched(path, options = {}) {
  let response;
  try {
    response = await fetch(`v1/${path}`, { ...options, headers: withKey(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, "The service does not answer.", 0);
  }
  const value = await response.json().catch(() => ({}));
  if (response.ok) return value;
  const wait = Number(response.headers.get("Retry-After")) || 0;
  throw new ServiceError(response.status, value.error?.message ?? `The service answered ${response.status}.`, wait);
}

const encoded = (id) => id.split("/").map(encodeURIComponent).join("/");

export const search = (request, signal) =>
  fetched("search", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Session": session() },
    body: JSON.stringify(request),
    signal,
  });
export const catalogue = () => fetched("catalogue");
export const item = (id) => fetched(`items/${encoded(id)}`);

/** Let an image element show a picture of the catalogue. An element sends no key, so with one it is fetched first. */
export async function showPicture(image, id) {
  const address = `v1/pictures/${encoded(id)}`;
  if (key && !pictures.has(id)) pictures.set(id, fetchedPicture(address, 5));
  image.src = (await pictures.get(id)) ?? address;
}

/** The address of a picture fetched with the key; where the key asks too often, after the wait it is told. */
async function fetchedPicture(address, tries) {
  const response = await fetch(address, { headers: withKey() });
  if (response.ok) return URL.createObjectURL(await response.blob());
  if (response.status !== 429 || tries === 1) return undefined;
  const seconds = Number(response.headers.get("Retry-After")) || 1;
  await new Promise((done) => setTimeout(done, 1000 * seconds));
  return fetchedPicture(address, tries - 1);
}
