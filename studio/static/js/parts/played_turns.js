// The turns of a conversation beside its sound: those that play are lit, and one that is chosen plays.

import { play } from "./player.js";

const ROUNDED_SECS = 0.02; // players go to a frame of their own

export class PlayedTurns {
  /** `audio`: the element that plays the sound. */
  constructor(audio) {
    this.audio = audio;
    this.turns = new Map();
    audio.addEventListener("play", () => this.#follow());
    audio.addEventListener("seeked", () => this.#light());
  }

  /** A turn's line, and the seconds between which it is heard. */
  add(line, start, end) {
    this.turns.set(line, { start, end });
    line.classList.add("plays");
    line.addEventListener("click", ({ target }) => {
      if (!target.closest("button") && getSelection()?.type !== "Range") this.from(line);
    });
  }

  /** Goes to where a turn begins, if it is heard. */
  seek(line) {
    const turn = this.turns.get(line);
    if (turn) this.audio.currentTime = turn.start;
  }

  /** Plays from there. */
  from(line) {
    this.seek(line);
    play(this.audio);
  }

  #follow() {
    this.#light();
    if (!this.audio.paused) requestAnimationFrame(() => this.#follow());
  }

  /** Both sides may speak at once. */
  #light() {
    const now = this.audio.currentTime;
    for (const [line, { start, end }] of this.turns) {
      const lit = start <= now + ROUNDED_SECS && now < (end ?? start);
      if (lit === line.hasAttribute("data-lit")) continue;
      line.toggleAttribute("data-lit", lit);
      const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (lit && !this.audio.paused) line.scrollIntoView({ block: "nearest", behavior: smooth ? "smooth" : "auto" });
    }
  }
}
