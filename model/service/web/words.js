// Numbers as people read them. Knows no page.

const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });

export const count = (number) => whole.format(number);

export const count1 = (number) => tenths.format(number);

/** Milliseconds, as exact as they matter; a dash where there are none. */
export function milliseconds(ms) {
  if (ms === null || ms === undefined) {
    return "–";
  }
  return ms >= 10_000 ? `${tenths.format(ms / 1000)} s` : `${ms < 10 ? tenths.format(ms) : whole.format(ms)} ms`;
}

/** Seconds up to days. */
export function seconds(s) {
  if (s === null) {
    return "–";
  }
  if (s < 1) {
    return `${whole.format(s * 1000)} ms`;
  }
  if (s < 120) {
    return `${tenths.format(s)} s`;
  }
  return s < 7_200 ? `${tenths.format(s / 60)} min` : `${tenths.format(s / 3600)} h`;
}

export const megabytes = (bytes) => `${whole.format(bytes / 1e6)} MB`;

export const share = (part, all) => (all > 0 ? `${whole.format((100 * part) / all)} %` : "–");

/** A count of parameters. */
export function parameters(number) {
  return number >= 1e9 ? `${tenths.format(number / 1e9)} B` : `${whole.format(number / 1e6)} M`;
}

export const clock = (unixSeconds) => new Date(unixSeconds * 1000).toLocaleTimeString("en-GB");

/** The upper bound of a bucket of the histogram, in seconds. */
export function upTo(s) {
  if (s === null) {
    return "more";
  }
  return s < 1 ? `${tenths.format(s * 1000)} ms` : `${tenths.format(s)} s`;
}
