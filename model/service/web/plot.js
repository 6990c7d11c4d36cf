// Bars, stacked bars and lines, over uPlot, in the page's colours, for mouse and keyboard. Knows no engine.

const { uPlot } = globalThis;
const HEIGHT = 230;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/**
 * One plot. `parts`: `{label, colour}` each, stacked from the bottom up. `kind`: "bars" or "line". `name(x)`: what stands
 * below x on the axis; `words(value)`: a value in the legend; `steps`, `rises`: how far apart the marks on the axes
 * may be.
 */
export class Plot {
  #place;
  #options;
  #plot = null;
  #columns = [[]];
  #about = "";

  constructor(place, options) {
    this.#place = place;
    this.#options = options;
    place.tabIndex = 0;
    place.setAttribute("role", "img");
    place.addEventListener("keydown", (event) => this.#key(event));
    place.addEventListener("blur", () => this.#plot?.setCursor({ left: -10, top: -10 }));
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** `columns`: x values, then one array for each part. `about`: the plot in a sentence. */
  show(columns, about) {
    this.#columns = columns;
    this.#about = about;
    this.#place.setAttribute("aria-label", about);
    if (this.#plot === null) {
      this.#draw();
    } else {
      this.#plot.setData(this.#stacked());
    }
  }

  /** What is drawn: sums from the top of the pile down, so that each part covers all but its own share. */
  #stacked() {
    const [xs, ...parts] = this.#columns;
    const sums = [];
    for (const part of parts) {
      const below = sums.at(-1);
      sums.push(part.map((value, index) => value + (below?.[index] ?? 0)));
    }
    return [xs, ...sums.reverse()];
  }

  #size() {
    return { width: Math.max(240, this.#place.clientWidth), height: HEIGHT };
  }

  #draw() {
    if (this.#columns[0].length === 0) {
      return;
    }
    this.#plot?.destroy();
    const { kind, name, words } = this.#options;
    const axis = { stroke: colour("faint"), ticks: { show: false } };
    const bars = uPlot.paths.bars({ size: [0.78, 26], radius: 0.12 });
    const parts = this.#options.parts.map((part, index) => ({ ...part, column: index + 1 })).reverse();
    const series = parts.map((part) => ({
      label: part.label,
      stroke: colour(part.colour),
      fill: kind === "bars" ? colour(part.colour) : `color-mix(in srgb, ${colour(part.colour)} 14%, transparent)`,
      width: kind === "bars" ? 0 : 2,
      paths: kind === "bars" ? bars : undefined,
      points: { show: false },
      value: (_, __, ___, index) => (index === null ? "–" : words(this.#columns[part.column][index])),
    }));
    const options = {
      ...this.#size(),
      padding: [8, 8, 0, 0],
      cursor: { y: false, drag: { x: false, y: false } },
      legend: { live: true },
      scales: {
        x: { time: false, range: (_, low, high) => [low - 0.6, high + 0.6] },
        y: { range: (_, __, high) => [0, Math.max(high * 1.06, 1)] },
      },
      axes: [
        { ...axis, size: 28, grid: { show: false }, incrs: this.#options.steps, values: (_, at) => at.map(name) },
        { ...axis, size: 58, grid: { stroke: colour("line"), width: 1 }, incrs: this.#options.rises, values: (_, at) => at.map((value) => words(value)) },
      ],
      series: [{ label: this.#options.axis, value: (_, x) => (x === null || x === undefined ? "–" : name(x)) }, ...series],
    };
    this.#place.replaceChildren();
    this.#plot = new uPlot(options, this.#stacked(), this.#place);
  }

  #key(event) {
    const xs = this.#columns[0];
    if (this.#plot === null || xs.length === 0) {
      return;
    }
    const last = xs.length - 1;
    const at = this.#plot.cursor.idx ?? null;
    const places = {
      ArrowLeft: at === null ? last : Math.max(0, at - 1),
      ArrowRight: at === null ? 0 : Math.min(last, at + 1),
      Home: 0,
      End: last,
    };
    if (event.key in places) {
      event.preventDefault();
      this.#plot.setCursor({ left: this.#plot.valToPos(xs[places[event.key]], "x"), top: 10 });
    }
  }
}
