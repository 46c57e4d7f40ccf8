// The words of a transcript: lit as they are spoken, to be played from, found, and corrected.

import { h } from "../core/dom.js";
import { clock } from "../core/format.js";
import { spaceBetween } from "../core/spacing.js";
import { S } from "../strings.js";
import { VirtualList } from "./virtual_list.js";

const LINE_PIXELS = 29;
const ROW_PIXELS = 20;
const LETTER_PIXELS = 8.3;
const T = S.transcript;

export class Words {
  /** `onWord(secs)` when a word is chosen to play from, `onCorrect(s, w)` when one is chosen to correct. */
  constructor({ transcript, events, nameOf, onWord, onCorrect, onToggle, signal }) {
    this.transcript = transcript;
    this.nameOf = nameOf;
    this.choose = { play: onWord, correct: onCorrect };
    this.correcting = false;
    this.found = new Map();
    this.chosen = new Set();
    this.lit = null;
    this.events = bySegment(transcript.segments, events);
    this.element = h("section", { class: "words", tabindex: "0", "aria-label": T.words });
    this.element.addEventListener("click", (event) => this.#clicked(event.target.closest("[data-word]")), { signal });
    this.element.addEventListener("keydown", (event) => this.#key(event, onToggle), { signal });
    this.list = new VirtualList(this.element, {
      count: transcript.segments.length,
      estimate: (index) => this.#estimate(index),
      build: (index) => this.#segment(index),
      signal,
    });
  }

  /** Lights the word spoken at `secs`; with `follow` it is kept in view. */
  light(secs, follow) {
    const index = this.transcript.indexAt(secs);
    if (index === this.lit) return;
    this.lit = index;
    for (const old of this.element.querySelectorAll("[data-lit]")) delete old.dataset.lit;
    const word = this.transcript.order[index];
    if (!word) return;
    if (follow) this.list.reveal(word.s, { always: false, smooth: !matchMedia("(prefers-reduced-motion: reduce)").matches });
    this.#element(word.s, word.w)?.setAttribute("data-lit", "");
  }

  /** Shows sounds between the words. */
  showEvents(events) {
    this.events = bySegment(this.transcript.segments, events);
    this.list.refreshAll();
  }

  /** Marks what a search found, see `Transcript.find`, and shows the `chosen` one. */
  mark(found, chosen) {
    this.chosen = new Set(found[chosen]);
    this.found = Map.groupBy(found.flat(), (piece) => piece.s);
    this.list.refreshAll();
    if (found[chosen]) this.list.reveal(found[chosen][0].s);
  }

  #estimate(index) {
    const width = Math.max(200, this.element.clientWidth - (innerWidth > 800 ? 200 : 40));
    const letters = this.transcript.segments[index].text.length;
    return ROW_PIXELS + LINE_PIXELS * Math.max(1, Math.ceil((letters * LETTER_PIXELS) / width)) + (innerWidth > 800 ? 0 : 26);
  }

  #segment(index) {
    const segment = this.transcript.segments[index];
    const goesOn = index > 0 && this.transcript.segments[index - 1].speaker === segment.speaker;
    const marks = this.found.get(index) ?? [];
    const texts = (segment.words ?? []).map((_, w) => this.transcript.text(index, w).trim());
    const words = texts.map((text, w) => [this.#word(index, w, text, marks), spaceBetween(text, texts[w + 1] ?? "")]);
    const sounds = this.events.get(index) ?? [];
    for (const sound of [...sounds].reverse()) {
      const at = (segment.words ?? []).findIndex((word) => word.start >= sound.start);
      words.splice(at < 0 ? words.length : at, 0, [" ", h("span", { class: "sound" }, `[${sound.tag}]`), " "]);
    }
    return h(
      "div",
      { class: "segment", data: { segment: index } },
      h(
        "div",
        { class: "segment-side", "data-goes-on": goesOn },
        h("span", { class: "speaker", style: { "--speaker": `var(--speaker-${Number(segment.speaker) % 8})` } },
          h("span", { class: goesOn ? "visually-hidden" : undefined }, this.nameOf(segment.speaker))),
        h("span", { class: "time" }, clock(segment.start)),
      ),
      h("p", {}, words.length ? words : segment.text),
    );
  }

  #word(s, w, text, marks) {
    const found = marks.filter(({ from, to }) => from <= w && w <= to);
    const lit = this.transcript.order[this.lit];
    return h(
      "span",
      {
        class: "word",
        "data-word": `${s}:${w}`,
        "data-unsure": this.transcript.isUnsure(s, w),
        "data-corrected": this.transcript.isCorrected(s, w),
        "data-found": found.length > 0,
        "data-chosen": found.some((piece) => this.chosen.has(piece)),
        "data-lit": lit?.s === s && lit.w === w,
      },
      text,
    );
  }

  #element(s, w) {
    return this.list.rows.get(s)?.querySelector(`[data-word="${s}:${w}"]`);
  }

  #clicked(element) {
    if (!element || getSelection()?.type === "Range") return;
    const [s, w] = element.dataset.word.split(":").map(Number);
    this.#chosen(s, w);
  }

  #chosen(s, w) {
    if (this.correcting) this.choose.correct(s, w);
    else this.choose.play(this.transcript.segments[s].words[w].start, true);
  }

  /** Arrow keys go from word to word, Space plays and pauses, Enter plays from the word or corrects it. */
  #key(event, onToggle) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === " ") onToggle();
    else if (step) this.choose.play((this.transcript.order[Math.max(0, (this.lit ?? -1) + step)] ?? this.transcript.order.at(-1))?.start ?? 0, false);
    else if (event.key === "Enter" && this.transcript.order[this.lit]) this.#chosen(this.transcript.order[this.lit].s, this.transcript.order[this.lit].w);
    else return;
    event.preventDefault();
  }
}

/** Sounds by the segment that is nearest before them. */
function bySegment(segments, events) {
  let index = 0;
  return Map.groupBy([...events].sort((a, b) => a.start - b.start), (event) => {
    while (segments[index + 1]?.start <= event.start) index += 1;
    return index;
  });
}
