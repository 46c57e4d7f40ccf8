// A conversation as it goes on: captions of both sides, tools, and how long each answer took.

import { h } from "../core/dom.js";
import { millis } from "../core/format.js";
import { S } from "../strings.js";

const T = S.talk;
const FULL_MILLIS = 4000;

export class Dialogue {
  constructor() {
    this.element = h("ol", { class: "dialogue", "aria-live": "polite", "aria-label": T.dialogue });
    this.lines = new Map();
  }

  /** Sets the text of a turn; its place is where it first appeared. */
  show(id, role, text) {
    const line = this.#line(id, role);
    line.querySelector("p").textContent = text;
    line.hidden = !text.trim();
    line.scrollIntoView({ block: "nearest" });
  }

  /** Keeps a place for a turn whose text comes later. */
  place(id, role) {
    this.#line(id, role);
  }

  /** A call of a function, and its result when there is one. */
  tool(id, name, given, result) {
    const line = this.#line(id, "tool");
    line.hidden = false;
    line.querySelector("p").textContent = `${name}(${given === "{}" ? "" : given})${result === undefined ? "" : ` → ${result}`}`;
  }

  /** The parts of an answer's latency as a bar: understanding, thinking, speaking. */
  latency(id, { understood = 0, answered = understood, sounded }) {
    const line = this.lines.get(id);
    if (!line || sounded === undefined) return;
    line.querySelector(".latency")?.parentElement.remove();
    const parts = [understood, Math.max(0, answered - understood), Math.max(0, sounded - answered)];
    const bars = parts.map((part) => h("i", { style: { width: `${Math.min(100, (100 * part) / FULL_MILLIS)}%` } }));
    line.append(h("small", {}, T.after(millis(sounded), ...parts.map(millis)), h("span", { class: "latency", "aria-hidden": "true" }, bars)));
  }

  #line(id, role) {
    if (!this.lines.has(id)) {
      const line = h("li", { data: { role }, hidden: true }, h("small", {}, T.roles[role]), h("p", {}));
      this.lines.set(id, line);
      this.element.append(line);
    }
    return this.lines.get(id);
  }
}
