/** When to start a server again that ended by itself: ever later, and not for ever. Knows no servers and no clock. */

const FIRST_MS = 1_000;
const MOST = 5;
const GOOD_MS = 180_000;

export class Backoff {
  private failures = 0;

  /** The server ended after `livedMs`. Returns the milliseconds to wait; undefined: give up. */
  ended(livedMs: number): number | undefined {
    if (livedMs >= GOOD_MS) {
      this.failures = 0;
    }
    this.failures += 1;
    return this.failures > MOST ? undefined : FIRST_MS * 2 ** (this.failures - 1);
  }

  /** The user starts it again: what was is forgotten. */
  reset(): void {
    this.failures = 0;
  }
}
