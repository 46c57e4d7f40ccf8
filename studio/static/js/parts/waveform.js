// A waveform on a canvas, its speakers as coloured regions, with a slider over it to seek by pointer and keyboard.

import { h } from "../core/dom.js";
import { clock } from "../core/format.js";

const BAR = 2;
const GAP = 1;

export class Waveform {
  /** `durationSecs` of the recording; `onSeek(secs)`. */
  constructor({ durationSecs, label, onSeek, signal }) {
    this.durationSecs = durationSecs;
    this.peaks = [];
    this.regions = [];
    this.at = 0;
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.slider = h("input", {
      type: "range", min: "0", max: String(Math.max(durationSecs, 0.01)), step: "0.01", value: "0", "aria-label": label,
      on: { input: () => onSeek(Number(this.slider.value)) },
    });
    this.slider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -5, ArrowRight: 5, PageDown: -30, PageUp: 30 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      onSeek(Math.min(this.durationSecs, Math.max(0, this.at + step)));
    });
    this.element = h("div", { class: "waveform" }, this.canvas, this.slider);
    const resized = new ResizeObserver(() => this.draw());
    resized.observe(this.element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", () => this.#drawAnew(), { signal });
    signal.addEventListener("abort", () => resized.disconnect());
    this.moveTo(0);
  }

  /** `peaks`: numbers 0 to 255 over the whole recording; `regions`: `{start, end, speaker}`. */
  show({ peaks = this.peaks, regions = this.regions }) {
    this.peaks = peaks;
    this.element.toggleAttribute("data-drawn", peaks.length > 0);
    this.regions = [...regions].sort((a, b) => a.start - b.start);
    this.#drawAnew();
  }

  moveTo(secs) {
    this.at = secs;
    this.slider.value = String(secs);
    this.slider.setAttribute("aria-valuetext", `${clock(secs)} / ${clock(this.durationSecs)}`);
    this.draw();
  }

  #drawAnew() {
    this.laidOut = null;
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    if (this.laidOut?.width !== width || this.laidOut.height !== height) this.#layOut(width, height);
    const { context, bars, ink } = this.laidOut;
    context.clearRect(0, 0, width, height);
    const played = this.at ? (this.at / this.durationSecs) * bars.length : bars.length;
    bars.forEach((bar, index) => drawBar(context, bar, index, height, index <= played));
    context.globalAlpha = 1;
    context.fillStyle = ink;
    context.fillRect(Math.min(width - 2, (this.at / this.durationSecs) * width || 0), 0, 2, height);
  }

  /** What stays the same from frame to frame: the size of each bar and its colour. */
  #layOut(width, height) {
    const scale = devicePixelRatio || 1;
    [this.canvas.width, this.canvas.height] = [width * scale, height * scale];
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const count = Math.max(1, Math.floor(width / (BAR + GAP)));
    const loudest = this.peaks.reduce((most, one) => Math.max(most, one), 24);
    const speakers = this.#speakers(count);
    const bars = Array.from({ length: count }, (_, bar) => ({
      tall: Math.max(2, (this.#peak(bar, count) / loudest) * (height - 14)),
      colour: style.getPropertyValue(speakers[bar] === undefined ? "--strong-line" : `--speaker-${speakers[bar] % 8}`),
      strip: speakers[bar] === undefined ? style.getPropertyValue("--line") : null,
    }));
    this.laidOut = { width, height, context, bars, ink: style.getPropertyValue("--ink") };
  }

  #peak(bar, bars) {
    const [from, to] = [Math.floor((bar * this.peaks.length) / bars), Math.ceil(((bar + 1) * this.peaks.length) / bars)];
    let most = 0;
    for (let index = from; index < to; index += 1) most = Math.max(most, this.peaks[index]);
    return most;
  }

  #speakers(bars) {
    const found = new Array(bars);
    for (const { start, end, speaker } of this.regions) {
      const last = Math.min(bars - 1, Math.floor((end / this.durationSecs) * bars));
      for (let bar = Math.max(0, Math.floor((start / this.durationSecs) * bars)); bar <= last; bar += 1) found[bar] = Number(speaker);
    }
    return found;
  }
}

function drawBar(context, { tall, colour, strip }, index, height, played) {
  context.globalAlpha = played ? 1 : 0.55;
  context.fillStyle = colour;
  context.fillRect(index * (BAR + GAP), (height - 8 - tall) / 2, BAR, tall);
  // A strip under the waveform, so that who speaks is seen where the sound is soft.
  context.globalAlpha = strip ? 0.35 : 1;
  if (strip) context.fillStyle = strip;
  context.fillRect(index * (BAR + GAP), height - 4, BAR + GAP, 4);
}
