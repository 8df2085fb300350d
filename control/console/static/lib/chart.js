// Charts, drawn by uPlot (vendor/uplot). Colours come from the style sheet, so that they follow the theme.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { h, setAttribute, setText } from "./dom.js";
import { clock, minute } from "./format.js";
import { onTheme } from "./theme.js";

const HEIGHT_PX = 132;
const BARS_HEIGHT_PX = 208;
const LEAST_SPAN_SECONDS = 60;
const POWERS_OF_TWO = Array.from({ length: 50 }, (_, power) => 2 ** power);
const AXIS_FONT = "11px system-ui, sans-serif";

/** The colour that a custom property has just now. */
function colour(name) {
  const probe = h("span", { hidden: true });
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function axes(format, size, { isBinary = false } = {}) {
  const shared = { stroke: () => colour("--muted"), font: AXIS_FONT, ticks: { show: false } };
  return [
    { ...shared, size: 28, grid: { show: false }, space: 64, values: (_chart, values) => values.map((each) => minute(new Date(each * 1000))) },
    {
      ...shared,
      ...(isBinary ? { incrs: POWERS_OF_TWO } : {}),
      size,
      space: 34,
      gap: 6,
      grid: { stroke: () => colour("--line"), width: 1 },
      values: (_chart, values) => values.map((each) => format(each)),
    },
  ];
}

/** Keeps a chart as wide as its place, and redraws it when the colours change. */
function attend(chart, place, height, signal) {
  const resizing = new ResizeObserver(() => {
    const width = place.clientWidth;
    if (width && width !== chart.width) chart.setSize({ width, height });
  });
  resizing.observe(place);
  onTheme(() => chart.redraw(false, true), signal);
  signal.addEventListener("abort", () => {
    resizing.disconnect();
    chart.destroy();
  });
}

/** A line over the last minutes, with its newest value beside the title. */
export class LiveChart {
  #chart = null;
  #data = [[], []];

  /** `format` is for values with their unit, `spanSeconds` is how much time is shown. */
  constructor(title, { format, axisFormat = format, spanSeconds, least, isStepped = false, isBinary = false, signal }) {
    this.format = format;
    this.least = least;
    this.spanSeconds = spanSeconds;
    this.title = title;
    this.value = h("span", { class: "now", text: "–" });
    this.place = h("div", { class: "plot", role: "img", "aria-label": title });
    this.element = h("figure", { class: "chart" }, h("figcaption", {}, h("span", { text: title }), this.value), this.place);
    this.options = { axisFormat, isStepped, isBinary, signal };
  }

  /** Shows these samples: seconds since 1970, and values or null. */
  set(times, values) {
    this.#data = [times, values];
    if (!this.#chart && this.place.clientWidth) this.#make();
    this.#chart?.setData(this.#data);
    this.#describe();
  }

  #make() {
    const { axisFormat, isStepped, isBinary, signal } = this.options;
    const last = () => this.#data[0].at(-1) ?? Date.now() / 1000;
    // The first minute fills the chart; from then on it grows to its whole span.
    const span = () => Math.min(this.spanSeconds, Math.max(LEAST_SPAN_SECONDS, last() - (this.#data[0][0] ?? last())));
    const line = { stroke: () => colour("--accent"), fill: () => colour("--accent-soft"), width: 1.5, points: { size: 4 } };
    this.#chart = new uPlot(
      {
        width: this.place.clientWidth,
        height: HEIGHT_PX,
        legend: { show: false },
        padding: [8, 24, 0, 0],
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
        scales: {
          x: { range: () => [last() - span(), last()] },
          y: { range: (_chart, _low, high) => [0, Math.max(this.least, (high ?? 0) * 1.1)] },
        },
        axes: axes(axisFormat, 62, { isBinary }),
        series: [{}, isStepped ? { ...line, paths: uPlot.paths.stepped({ align: 1 }) } : line],
        hooks: { setCursor: [() => this.#describe()] },
      },
      this.#data,
      this.place,
    );
    attend(this.#chart, this.place, HEIGHT_PX, signal);
  }

  #describe() {
    const [times, values] = this.#data;
    const pointed = this.#chart?.cursor.idx;
    const newest = this.format(values.at(-1));
    const isPointed = pointed !== null && pointed !== undefined && pointed < times.length - 1;
    setText(this.value, isPointed ? `${this.format(values[pointed])} at ${clock(new Date(times[pointed] * 1000))}` : newest);
    const known = values.filter((each) => each !== null);
    const most = known.length ? this.format(Math.max(...known)) : "unknown";
    setAttribute(this.place, "aria-label", `${this.title}: now ${newest}, at most ${most} while this page is open`);
  }
}

/** Stacked bars: one for each of `names`, made of `series` ({label, colour, values}). */
export class BarChart {
  constructor(names, series, { format, label, signal }) {
    this.place = h("div", { class: "plot bars", role: "img", "aria-label": label });
    this.parts = { names, series, format, signal };
    const wait = new ResizeObserver(() => {
      if (!this.place.clientWidth) return;
      wait.disconnect();
      this.#make();
    });
    wait.observe(this.place);
    signal.addEventListener("abort", () => wait.disconnect());
  }

  #make() {
    const { names, series, format, signal } = this.parts;
    const places = names.map((_, index) => index);
    const sums = places.map(() => 0);
    const stacked = series.map(({ values }) => values.map((value, index) => (sums[index] += value)));
    const bars = uPlot.paths.bars({ size: [0.72, 44], radius: 0.08 });
    const [x, y] = axes(format, 68);
    const named = (_chart, splits) => splits.map((each) => (Number.isInteger(each) ? names[each] ?? "" : ""));
    const chart = new uPlot(
      {
        width: this.place.clientWidth,
        height: BARS_HEIGHT_PX,
        legend: { show: false },
        padding: [8, 20, 0, 0],
        cursor: { show: false },
        scales: {
          x: { time: false, range: () => [-0.6, Math.max(names.length, 7) - 0.4] },
          y: { range: (_chart, _low, high) => [0, high > 0 ? high * 1.08 : 1] },
        },
        axes: [{ ...x, incrs: [1, 2, 5, 7, 14, 31], space: 52, values: named }, y],
        // The tallest first: each next one is drawn over its foot.
        series: [{}, ...series.map(({ colour: name }) => ({ stroke: () => colour("--surface"), fill: () => colour(name), width: 1, paths: bars, points: { show: false } })).reverse()],
      },
      [places, ...stacked.reverse()],
      this.place,
    );
    attend(chart, this.place, BARS_HEIGHT_PX, signal);
  }
}
