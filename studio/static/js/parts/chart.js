// Bars by day on a canvas; the same numbers stand in a table beside it, which is what screen readers get.

import { h } from "../core/dom.js";
import { shortDay } from "../core/format.js";
import { S } from "../strings.js";

const LABEL_PIXELS = 22;
const TOP_PIXELS = 18;

/** A card with bars and a table. `rows`: `{day, value}`; `shown(value)` is a value as text. */
export function chartCard({ title, rows, shown, columns, signal }) {
  const canvas = h("canvas", {});
  const chart = h("div", { class: "chart", "aria-hidden": "true" }, canvas);
  const draw = () => drawBars(chart, canvas, rows, shown);
  const resized = new ResizeObserver(draw);
  resized.observe(chart);
  signal.addEventListener("abort", () => resized.disconnect());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw, { signal });
  return h("section", { class: "card", "aria-label": title }, h("h2", {}, title), chart, h("details", {}, h("summary", {}, S.usage.asTable), table(title, columns)));
}

/** A table: `columns` are `{head, cells}`, with `number` for numbers and `wide` for longer texts. A `stacked` one has its cells one below the other on a phone. */
export function table(caption, columns, { stacked = false } = {}) {
  const kind = ({ number, wide }) => (number ? "number" : wide ? "wide" : undefined);
  const length = columns[0]?.cells.length ?? 0;
  return h(
    "div",
    { class: `scroll-x${stacked ? " stacked" : ""}`, tabindex: "0", role: "group", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "visually-hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: kind(column) }, column.head)))),
      h("tbody", {}, Array.from({ length }, (_, row) => h("tr", {}, columns.map((column) => h("td", { class: kind(column), data: { head: column.head } }, column.cells[row]))))),
    ),
  );
}

function drawBars(chart, canvas, rows, shown) {
  const { clientWidth: width, clientHeight: height } = chart;
  if (!width || !height) return;
  const scale = devicePixelRatio || 1;
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const style = getComputedStyle(document.documentElement);
  const most = Math.max(...rows.map((row) => row.value), 0);
  const base = height - LABEL_PIXELS;
  const step = width / Math.max(1, rows.length);
  context.fillStyle = style.getPropertyValue("--line");
  context.fillRect(0, base, width, 1);
  context.fillStyle = style.getPropertyValue("--accent");
  rows.forEach((row, index) => {
    const tall = most ? (row.value / most) * (base - TOP_PIXELS) : 0;
    if (tall) context.fillRect(index * step + step * 0.15, base - Math.max(2, tall), step * 0.7, Math.max(2, tall));
  });
  context.fillStyle = style.getPropertyValue("--quiet");
  context.font = `12px ${style.fontFamily}`;
  const labels = Math.max(1, Math.ceil(rows.length / (width / 90)));
  rows.forEach((row, index) => {
    const [text, at] = [shortDay(row.day), index * step + step * 0.15];
    if (index % labels === 0 && at + context.measureText(text).width <= width) context.fillText(text, at, height - 5);
  });
  context.fillText(most ? shown(most) : S.usage.nothing, 0, 12);
}
