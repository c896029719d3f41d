/** The service behind the page: the only file that knows its addresses. */

/** What went wrong: `status` is the HTTP status, 0 where nothing answered; `wait` the seconds it asked to wait. */
export class ServiceError extends Error {
  constructor(status, message, wait) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

async function fetched(path, options) {
  let response;
  try {
    response = await fetch(`v1/${path}`, options);
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
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
    signal,
  });
export const catalogue = () => fetched("catalogue");
export const item = (id) => fetched(`items/${encoded(id)}`);
export const pictureAddress = (id) => `v1/pictures/${encoded(id)}`;
