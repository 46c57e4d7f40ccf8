// A conversation as it goes on: captions of both sides, tools, and how long each answer took.

import { h } from "../core/dom.js";
import { millis } from "../core/format.js";
import { S } from "../strings.js";

const T = S.talk;
const LEAST_MILLIS = 4000;

export class Dialogue {
  constructor() {
    this.element = h("ol", { class: "dialogue", "aria-live": "polite", "aria-label": T.dialogue });
    this.lines = new Map();
    this.#scale(LEAST_MILLIS);
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

  /** The parts of an answer's latency as a bar: understanding, thinking, speaking. All bars have one scale, on which the longest has room. */
  latency(id, { understood = 0, answered = understood, sounded }) {
    const line = this.lines.get(id);
    if (!line) return;
    line.querySelector(".latency")?.parentElement.remove();
    const begun = Math.min(answered, sounded);
    const heard = Math.min(understood, begun);
    // A written turn has nothing to understand.
    const parts = Object.entries({ understood: heard, answered: begun - heard, sounded: sounded - begun }).filter(([name, part]) => part || name !== "understood");
    if (sounded > this.full) this.#scale(sounded);
    const bars = parts.map(([name, part]) => h("i", { data: { part: name }, style: { "--millis": String(part) } }));
    const text = `${T.after(millis(sounded))}: ${parts.map(([name, part]) => T.parts[name](millis(part))).join(", ")}`;
    line.append(h("small", {}, text, h("span", { class: "latency", "aria-hidden": "true" }, bars)));
  }

  #scale(millis) {
    this.full = millis;
    this.element.style.setProperty("--full-millis", String(millis));
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
