// A list of which only the visible rows are elements, so that a hundred thousand words scroll like ten.

import { h } from "../core/dom.js";

const BEYOND_PIXELS = 600;

export class VirtualList {
  /** `count` rows; `estimate(index)` is a row's height in pixels until it was measured, `build(index)` its element. */
  constructor(element, { count, estimate, build, signal }) {
    this.element = element;
    this.build = build;
    this.count = count;
    this.estimate = estimate;
    this.rows = new Map();
    this.placed = new WeakMap();
    this.space = h("div", { class: "words-space" });
    this.width = 0;
    element.append(this.space);
    element.addEventListener("scroll", () => this.#draw(), { passive: true, signal });
    const resized = new ResizeObserver(() => this.#draw());
    resized.observe(element);
    signal.addEventListener("abort", () => resized.disconnect());
  }

  /** Draws a row again, if it is an element now. */
  refresh(index) {
    const old = this.rows.get(index);
    if (!old) return;
    old.remove();
    this.rows.delete(index);
    this.#draw();
  }

  refreshAll() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.#draw();
  }

  /** Brings a row into view; `smooth` where it is near. */
  reveal(index, { smooth = false, always = true } = {}) {
    if (!this.#fits()) return;
    const { scrollTop, clientHeight } = this.element;
    const [top, bottom] = [this.tops[index], this.tops[index] + this.heights[index]];
    if (!always && top >= scrollTop && bottom <= scrollTop + clientHeight) return;
    this.element.scrollTo({ top: Math.max(0, top - clientHeight / 3), behavior: smooth ? "smooth" : "instant" });
    this.#draw();
  }

  #guess() {
    this.heights = Float64Array.from({ length: this.count }, (_, index) => this.estimate(index));
    this.tops = new Float64Array(this.count + 1);
    this.#sum(0);
  }

  #sum(from) {
    for (let index = from; index < this.count; index += 1) this.tops[index + 1] = this.tops[index] + this.heights[index];
    this.space.style.setProperty("height", `${this.tops[this.count]}px`);
  }

  /** Guesses all heights anew where the width is another; false while the list is not on the page, where rows have no height. */
  #fits() {
    const { clientWidth: width, scrollTop } = this.element;
    if (!width || !this.count) return false;
    if (width === this.width) return true;
    const first = this.width ? this.#rowAt(scrollTop) : 0;
    this.width = width;
    this.#guess();
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.element.scrollTop = this.tops[first];
    return true;
  }

  #rowAt(pixels) {
    let [low, high] = [0, this.count - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= pixels) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  #draw() {
    if (!this.#fits()) return;
    const { scrollTop, clientHeight } = this.element;
    const first = this.#rowAt(scrollTop - BEYOND_PIXELS);
    const last = this.#rowAt(scrollTop + clientHeight + BEYOND_PIXELS);
    for (const [index, row] of this.rows) {
      if (index < first || index > last) {
        row.remove();
        this.rows.delete(index);
      }
    }
    for (let index = first; index <= last; index += 1) {
      if (!this.rows.has(index)) {
        const row = this.build(index);
        this.rows.set(index, row);
        this.space.append(row);
      }
    }
    this.#measure(first, last);
  }

  /** Moves the rows that are not where they belong; each one moved costs the browser a part of a frame. */
  #place() {
    for (const [index, row] of this.rows) {
      const top = this.tops[index];
      if (this.placed.get(row) === top) continue;
      row.style.setProperty("transform", `translateY(${top}px)`);
      this.placed.set(row, top);
    }
  }

  #measure(first, last) {
    const anchor = this.#rowAt(this.element.scrollTop);
    const before = this.tops[anchor];
    let changed = -1;
    for (let index = first; index <= last; index += 1) {
      const height = this.rows.get(index).offsetHeight;
      if (Math.abs(height - this.heights[index]) > 0.5) {
        this.heights[index] = height;
        if (changed < 0) changed = index;
      }
    }
    if (changed >= 0) this.#sum(changed);
    this.#place();
    // What is read stays where it is when rows above turn out higher or lower than guessed.
    if (this.tops[anchor] !== before) this.element.scrollTop += this.tops[anchor] - before;
  }
}
