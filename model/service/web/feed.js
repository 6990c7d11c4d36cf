// The connection to the engine's figures: asks, listens, and asks again when it was lost. Knows no page.

// Relative, so that the page also works behind a proxy that puts it below a path of its own.
const EVENTS = "stats/events";
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 10_000;
const TOKEN = "tersely-token";

/** The token from the address, which is cleaned of it, or from this tab's own storage. */
function storedToken() {
  const given = location.hash.slice(1);
  if (given !== "") {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(TOKEN);
}

export class Feed {
  #handlers;
  #token = storedToken();
  #abort = null;
  #waitMs = FIRST_WAIT_MS;

  /** `snapshot(body, first)`: figures came, as the first of a connection or later; `lost()`; `refused()`: no token, or
   * a wrong one. */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  useToken(token) {
    this.#token = token;
    sessionStorage.setItem(TOKEN, token);
    this.start();
  }

  /** Listen from now on; a connection that is open is closed first. */
  start() {
    this.stop();
    this.#abort = new AbortController();
    this.#listen(this.#abort.signal);
  }

  stop() {
    this.#abort?.abort();
    this.#abort = null;
  }

  async #listen(signal) {
    while (!signal.aborted) {
      try {
        const headers = this.#token === null ? {} : { Authorization: `Bearer ${this.#token}` };
        const response = await fetch(EVENTS, { headers, signal, cache: "no-store" });
        if (response.status === 401) {
          this.#handlers.refused();
          return;
        }
        if (!response.ok) {
          throw new Error(`status ${response.status}`);
        }
        await this.#read(response.body);
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        console.info(`no figures: ${error.message}`);
      }
      this.#handlers.lost();
      await new Promise((resolve) => setTimeout(resolve, this.#waitMs));
      this.#waitMs = Math.min(2 * this.#waitMs, LONGEST_WAIT_MS);
    }
  }

  async #read(stream) {
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let first = true;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) {
        return;
      }
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        this.#waitMs = FIRST_WAIT_MS;
        this.#handlers.snapshot(JSON.parse(event.replace(/^data: /, "")), first);
        first = false;
      }
    }
  }
}
