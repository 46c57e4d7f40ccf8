// Texts out: a voice, a text with cues, and sound from the first chunk on.

import { announce, fill, h } from "../core/dom.js";
import { duration, millis } from "../core/format.js";
import { PcmPlayer, wavOf } from "../audio/pcm_player.js";
import { speak } from "../audio/speech_socket.js";
import { button, checkbox, field, problem, relabel, switchOff } from "../parts/controls.js";
import { ReadAlong } from "../parts/read_along.js";
import { SaveSound } from "../parts/save_sound.js";
import { VoiceList } from "../parts/voice_list.js";
import { S } from "../strings.js";

const T = S.speak;
const CUES = ["sigh", "laugh", "gasp", "sniff", "cough", "hesitate", "breath", "pause"];
const RATE = 24_000;

export async function render(main, { session, signal }) {
  const voices = new VoiceList(session, signal);
  const view = new Speak(session, voices, signal);
  main.append(h("h1", {}, T.title), h("div", { class: "speak" }, h("div", { class: "stack" }, view.form, view.result), voices.element));
  switchOff(view.go, true);
  await voices.load();
  switchOff(view.go, false);
}

class Speak {
  constructor({ api, may }, voices, signal) {
    Object.assign(this, { api, voices, signal, stopping: null, player: null, sound: [] });
    this.readsHistory = may("history");
    this.text = h("textarea", { rows: "7" }, T.example);
    this.counted = h("span", { class: "help counted" });
    this.text.addEventListener("input", () => this.#count());
    this.#count();
    this.verify = checkbox(T.verify, true);
    this.speed = h("input", { type: "range", min: "0.5", max: "2", step: "0.05", value: "1", on: { input: () => this.#showSpeed() } });
    this.speedShown = h("output", { class: "time" });
    this.#showSpeed();
    this.go = button(T.speak, { name: "play", kind: "main", onClick: () => (this.stopping ? this.stopping.abort() : this.start()) });
    this.form = h("section", { class: "card" }, field(T.text, this.text), this.#cues(), this.#options());
    this.read = new ReadAlong();
    this.said = h("p", { class: "quiet", role: "status" });
    this.problems = h("div", {});
    this.saving = new SaveSound(api, signal);
    this.result = h("section", { class: "card", hidden: true, "aria-label": T.result }, this.said, this.problems, this.read.element, this.saving.element);
    signal.addEventListener("abort", () => this.player?.close());
  }

  #count() {
    this.counted.textContent = S.history.characters(this.text.value.length);
  }

  #showSpeed() {
    this.speedShown.textContent = T.times(this.speed.value);
    this.speed.setAttribute("aria-valuetext", T.times(this.speed.value));
  }

  #cues() {
    const insert = (cue) => {
      const apart = /\S$/.test(this.text.value.slice(0, this.text.selectionStart)) ? " " : "";
      this.text.setRangeText(`${apart}[${cue}] `, this.text.selectionStart, this.text.selectionEnd, "end");
      this.text.focus();
      this.#count();
    };
    return h("div", { class: "row", role: "group", "aria-label": T.cues }, CUES.map((cue) => button(`[${cue}]`, { kind: "cue", label: T.insert(cue), onClick: () => insert(cue) })), this.counted);
  }

  #options() {
    const speed = h("div", { class: "row speed" }, field(T.speed, this.speed), this.speedShown);
    return h("div", { class: "row row-wide" }, h("div", { class: "row" }, speed, this.verify.element), this.go);
  }

  #ask() {
    const speed = Number(this.speed.value);
    return { voice: this.voices.chosen, input: this.text.value, verify_chunks: this.verify.box.checked, ...(speed === 1 ? {} : { speed }) };
  }

  async start() {
    if (!this.text.value.trim()) {
      this.text.focus();
      return;
    }
    this.stopping = new AbortController();
    const signal = AbortSignal.any([this.signal, this.stopping.signal]);
    this.asked = this.#ask();
    this.sound = [];
    this.read.clear();
    fill(this.problems);
    this.result.hidden = false;
    this.said.textContent = T.rendering;
    relabel(this.go, "stop", T.stop);
    this.saving.offer({});
    await this.player?.close();
    this.player = new PcmPlayer(RATE);
    const began = performance.now();
    this.#follow();
    const on = { sound: (bytes) => this.#received(bytes, began), passage: (passage) => this.read.add(passage), done: (message) => this.#say(message) };
    let id = null;
    try {
      id = await speak(this.api, this.asked, on, signal);
      this.#offer(id);
      await Promise.race([this.player.ended(), aborted(signal)]);
    } catch (error) {
      if (error.name !== "AbortError") fill(this.problems, problem(error));
      else this.said.textContent = T.stopped;
    } finally {
      if (signal.aborted) this.player.reset();
      this.stopping = null;
      this.#offer(id);
      relabel(this.go, "play", T.speak);
    }
  }

  #received(bytes, began) {
    if (!this.sound.length) this.said.textContent = T.firstSound(millis(performance.now() - began));
    this.sound.push(bytes);
    this.player.push(bytes);
  }

  #say({ audio_secs: secs, verify }) {
    const verdict = verify.enabled ? T.verdict(verify.chunks - verify.failed, verify.chunks, verify.retries) : T.unchecked;
    this.said.textContent = `${this.said.textContent} · ${duration(secs)} · ${verdict}`;
    announce(T.done);
  }

  #follow() {
    this.read.light(this.player.position);
    if (this.stopping && !this.signal.aborted) requestAnimationFrame(() => this.#follow());
    else this.read.light(-1);
  }

  #offer(id) {
    const wav = this.sound.length ? wavOf(this.sound, RATE) : null;
    this.saving.offer({ name: this.asked.voice.split(".")[0], wav, id: this.readsHistory ? id : null });
  }
}

function aborted(signal) {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new DOMException("", "AbortError"))));
}
