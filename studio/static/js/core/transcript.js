// A transcript in memory: its segments, words in order of time, corrections, and where a text is said.

import { spaceBetween } from "./spacing.js";

const UNSURE = 0.5;
const AROUND = /^[\p{P}\s]+|[\p{P}\s]+$/gu;
const WIDE_MARKS = /[\u3000-\u3004\u3008-\u3020\uff01-\uff0f\uff1a-\uff20]/g; // stand between words without blanks
const ROUNDED_SECS = 0.001; // searches, and the clocks of players, round the time of a word

export class Transcript {
  /** `segments` as the API gives them, with words; `corrections` as `/corrections` does. */
  constructor(segments, corrections) {
    this.segments = segments;
    this.correct(corrections);
    const count = segments.reduce((sum, segment) => sum + words(segment).length, 0);
    const order = new Array(count);
    let at = 0;
    segments.forEach((segment, s) => words(segment).forEach((word, w) => (order[at++] = { s, w, start: word.start, end: word.end })));
    this.order = order.sort((a, b) => a.start - b.start);
  }

  /** Takes over a revision of corrections. */
  correct(corrections) {
    this.corrections = corrections;
    this.corrected = new Map(corrections.words.map((one) => [`${one.segment}:${one.word}`, one.text]));
    this.searchable = null;
  }

  get speakers() {
    return [...new Set(this.segments.map((segment) => segment.speaker))].sort((a, b) => a - b);
  }

  /** The text of a word as it is shown. */
  text(s, w) {
    return this.corrected.get(`${s}:${w}`) ?? words(this.segments[s])[w].word;
  }

  isCorrected(s, w) {
    return this.corrected.has(`${s}:${w}`);
  }

  get hasUnsure() {
    return this.order.some(({ s, w }) => this.isUnsure(s, w));
  }

  isUnsure(s, w) {
    return words(this.segments[s])[w].confidence < UNSURE && !this.isCorrected(s, w);
  }

  /** Index in `order` of the last word that begins by `secs`, which may be rounded; -1 before the first. */
  indexAt(secs) {
    const by = secs + ROUNDED_SECS;
    let [low, high] = [0, this.order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.order[middle].start <= by) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The second at which a search's hit is said: the word with which `said` begins in the segment that begins at `secs`. */
  secondOf(secs, said) {
    const near = this.segments.filter((segment) => Math.abs(segment.start - secs) <= ROUNDED_SECS && words(segment).length);
    const segment = near.find(({ text }) => text.includes(said)) ?? near[0];
    if (!segment) return secs;
    return words(segment)[lastAtMost(begins(segment), segment.text.indexOf(said))].start;
  }

  /** Places where `query` is said, in order, each as pieces `{s, from, to}`: words `from` to `to` of segment `s`. Several segments may share one. */
  find(query) {
    const { text: wanted } = searchable(query.split(/\s+/));
    if (!wanted) return [];
    const { text, starts } = this.#searchable();
    const found = [];
    for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
      found.push(this.#pieces(lastAtMost(starts, at), lastAtMost(starts, at + wanted.length - 1)));
    }
    return found;
  }

  /** All words in the order in which they are shown. */
  #searchable() {
    if (!this.searchable) {
      this.places = this.segments.flatMap((segment, s) => words(segment).map((_, w) => ({ s, w })));
      this.searchable = searchable(this.places.map(({ s, w }) => this.text(s, w)));
    }
    return this.searchable;
  }

  #pieces(first, last) {
    const pieces = [];
    for (const { s, w } of this.places.slice(first, last + 1)) {
      if (pieces.at(-1)?.s === s) pieces.at(-1).to = w;
      else pieces.push({ s, from: w, to: w });
    }
    return pieces;
  }
}

/** Words as one text in lower case without marks around them, and where in it each word begins. */
function searchable(all) {
  const starts = [];
  let [text, before] = ["", ""];
  for (const word of all) {
    const plain = word.toLowerCase().replace("\u2019", "'").replace(AROUND, "").replace(WIDE_MARKS, "");
    text += spaceBetween(before, plain);
    starts.push(text.length);
    text += plain;
    before = plain || before;
  }
  return { text, starts };
}

function words(segment) {
  return segment.words ?? [];
}

/** Where in a segment's text each of its words begins. */
function begins({ text, words: all }) {
  let end = 0;
  return all.map(({ word }) => {
    const at = Math.max(end, text.indexOf(word.trim(), end));
    end = at + word.trim().length;
    return at;
  });
}

/** Index of the last of `starts` that is at most `value`, or 0. */
function lastAtMost(starts, value) {
  let [low, high] = [1, starts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
