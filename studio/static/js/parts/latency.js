// How long an answer took, as a bar of its steps and in words. All bars of a list have one scale, on which the longest has room.

import { h } from "../core/dom.js";
import { millis } from "../core/format.js";
import { S } from "../strings.js";

const T = S.latency;
const LEAST_MILLIS = 4000;

/** The scale of the bars in `element`. */
export class LatencyScale {
  constructor(element) {
    this.element = element;
    this.#set(LEAST_MILLIS);
  }

  /** A line of text with its bar. `marks`: when each step was done, by its name in `S.latency.steps`, in order, milliseconds from the end of speech. Of a written turn, which has none, `ended` is not known, and they count from its sending. */
  line(marks) {
    const whole = Object.values(marks).at(-1);
    if (whole > this.full) this.#set(whole);
    const steps = lengths(marks);
    const bars = steps.map(([name, length]) => h("i", { data: { part: name }, style: { "--millis": String(length) } }));
    const after = "ended" in marks ? T.after : T.afterWriting;
    const text = `${after(millis(whole))}: ${steps.map(([name, length]) => T.steps[name](millis(length))).join(", ")}`;
    return h("small", { class: "timed" }, text, h("span", { class: "latency", "aria-hidden": "true" }, bars));
  }

  #set(full) {
    this.full = full;
    this.element.style.setProperty("--full-millis", String(full));
  }
}

/** How long each step took. One that ended after a later step, as work that was begun ahead, counts up to that one's end. */
function lengths(marks) {
  const names = Object.keys(marks);
  const ends = Object.values(marks);
  for (let index = ends.length - 2; index >= 0; index -= 1) ends[index] = Math.min(ends[index], ends[index + 1]);
  return names.map((name, index) => [name, ends[index] - (ends[index - 1] ?? 0)]);
}
