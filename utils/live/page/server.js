// The server's HTTP interface, and the token that it may ask for.

const KEPT = "nuptse-token";
const address = new URL(location.href);
if (address.searchParams.has("token")) {
  sessionStorage.setItem(KEPT, address.searchParams.get("token"));
  address.searchParams.delete("token"); // addresses are shared and shown; the token stays in this tab
  history.replaceState(null, "", address);
}

export const token = () => sessionStorage.getItem(KEPT);
export const setToken = (value) => sessionStorage.setItem(KEPT, value);

/** A refusal: `message` is the server's sentence, `status` that of HTTP, 0 where no answer came. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Call the server; returns the JSON of its answer, throws Refused. */
export async function call(method, path, body, signal) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  const json = body && !(body instanceof FormData);
  if (json) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(new URL(path, document.baseURI), { method, headers, body: json ? JSON.stringify(body) : body, signal });
  } catch (error) {
    throw new Refused(0, signal?.aborted ? "" : error.message);
  }
  const value = await answer.json().catch(() => null);
  if (!answer.ok) {
    const said = value?.error?.message ?? value?.error ?? value?.message;
    throw new Refused(answer.status, typeof said === "string" ? said : `${answer.status} ${answer.statusText}`);
  }
  return value;
}

/** The address of the stream. */
export function streamAddress() {
  const url = new URL("v1/stream", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  if (token()) url.searchParams.set("token", token());
  return url;
}
