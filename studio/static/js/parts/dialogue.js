// A conversation as it goes on: captions of both sides, tools, and how long each answer took.

import { h } from "../core/dom.js";
import { S } from "../strings.js";
import { LatencyScale } from "./latency.js";

const T = S.talk;

export class Dialogue {
  constructor() {
    this.element = h("ol", { class: "dialogue", "aria-live": "polite", "aria-label": T.dialogue });
    this.lines = new Map();
    this.scale = new LatencyScale(this.element);
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

  /** How long an answer took: `marks` of `LatencyScale.line`. */
  latency(id, marks) {
    this.lines.get(id)?.append(this.scale.line(marks));
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
