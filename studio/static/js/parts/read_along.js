// A text beside its sound: passages as they arrive, and the word that is being said.

import { fill, h } from "../core/dom.js";
import { percent } from "../core/format.js";
import { S } from "../strings.js";

const T = S.speak;

export class ReadAlong {
  constructor() {
    this.element = h("div", { class: "read-along" });
    this.clear();
  }

  clear() {
    this.words = [];
    this.lit = null;
    fill(this.element);
  }

  /** Adds a passage; within it, words are taken to last in proportion to their letters. */
  add({ text, start_secs: start, end_secs: end, passed, retries, word_error_rate: rate }) {
    const spans = text.split(/\s+/).filter(Boolean).map((word) => h("span", {}, word));
    const letters = spans.reduce((sum, span) => sum + span.textContent.length + 1, 0);
    let at = start;
    for (const span of spans) {
      const secs = ((span.textContent.length + 1) / letters) * (end - start);
      this.words.push({ span, start: at, end: at + secs });
      at += secs;
    }
    const verdict = passed === null ? null : passed ? T.verified(retries) : T.notVerified(percent(rate ?? 1));
    const tag = verdict && h("span", { class: `tag ${passed ? "tag-good" : "tag-bad"}` }, verdict);
    this.element.append(h("p", {}, spans.map((span) => [span, " "]), tag));
  }

  /** Lights the word said at `secs`. */
  light(secs) {
    const word = this.words.find(({ start, end }) => start <= secs && secs < end);
    if (word === this.lit) return;
    if (this.lit) delete this.lit.span.dataset.lit;
    if (word) word.span.dataset.lit = "";
    this.lit = word;
  }
}
