// A recording's player: play and pause, ten seconds back, speed, time, and its waveform.

import { h } from "../core/dom.js";
import { clock } from "../core/format.js";
import { S } from "../strings.js";
import { button, rename, select } from "./controls.js";
import { Waveform } from "./waveform.js";

const SPEEDS = ["0.75", "1", "1.25", "1.5", "2"];

/** Plays. A pause, or another place to play from, before the sound has begun is no fault. */
export async function play(audio) {
  try {
    await audio.play();
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

export class Player {
  /** `url` of the sound; `onTime(secs)` while it plays and when it is sought. */
  constructor({ url, durationSecs, onTime, signal }) {
    this.audio = h("audio", { src: url, preload: "metadata" });
    this.onTime = onTime;
    this.waveform = new Waveform({ durationSecs, label: S.player.position, signal, onSeek: (secs) => this.seek(secs) });
    this.toggle = button("", { name: "play", kind: "round", label: S.play, onClick: () => this.playOrPause() });
    this.whole = clock(Math.round(durationSecs));
    this.time = h("span", { class: "time" }, `0:00 / ${this.whole}`);
    this.durationSecs = durationSecs;
    const speed = select(SPEEDS.map((one) => [one, `${one}×`]), "1", (value) => (this.audio.playbackRate = Number(value)), { "aria-label": S.player.speed });
    this.element = h(
      "section",
      { class: "card player", "aria-label": S.player.title },
      this.waveform.element,
      h(
        "div",
        { class: "row" },
        this.toggle,
        button("", { name: "back10", kind: "quiet", label: S.player.back, onClick: () => this.seek(this.audio.currentTime - 10) }),
        h("div", { class: "grow" }, this.time),
        h("div", { style: { width: "5.5rem" } }, speed),
      ),
      this.audio,
    );
    for (const event of ["play", "pause", "ended"]) this.audio.addEventListener(event, () => this.#changed());
    this.audio.addEventListener("seeked", () => this.#show());
    signal.addEventListener("abort", () => {
      this.audio.pause();
      this.audio.removeAttribute("src");
    });
  }

  get playing() {
    return !this.audio.paused;
  }

  playOrPause() {
    if (this.playing) this.audio.pause();
    else play(this.audio);
  }

  /** Goes to a second, and plays from there if `andPlay`. */
  seek(secs, andPlay = false) {
    this.audio.currentTime = Math.min(Math.max(0, secs), this.durationSecs);
    this.#show(secs);
    if (andPlay) play(this.audio);
  }

  #changed() {
    const { playing } = this;
    rename(this.toggle, playing ? "pause" : "play", playing ? S.pause : S.play);
    if (playing) this.#follow();
  }

  #follow() {
    this.#show();
    if (this.playing) requestAnimationFrame(() => this.#follow());
  }

  #show(secs = this.audio.currentTime) {
    this.waveform.moveTo(secs);
    this.time.textContent = `${clock(secs)} / ${this.whole}`;
    this.onTime(secs);
  }
}
