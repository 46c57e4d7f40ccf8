// Voices to choose from: one's own first, then the built-in ones by language, each with a preview.

import { fill, h, uniqueId } from "../core/dom.js";
import { place } from "../core/focus.js";
import { languageName, voiceName } from "../core/format.js";
import { S } from "../strings.js";
import { button, confirm, problem, rename } from "./controls.js";
import { cloneDialog } from "./clone_dialog.js";
import { play } from "./player.js";

const T = S.speak;

/** All voices of a session, the account's own first: `{id, name, about, own}`. */
export async function allVoices({ api, may }, signal) {
  const [{ voices }, own] = await Promise.all([
    api.get("vui/voices", {}, signal),
    may("speak") ? api.get("vui/v1/voices/mine", {}, signal) : { voices: [] },
  ]);
  return [
    ...own.voices.map((voice) => ({ id: voice.voice_id, name: voice.name, about: T.own, own: true })),
    ...voices.map((voice) => ({ id: voice.voice_id, name: voiceName(voice.voice_id), about: languageName(voice.language), own: false })),
  ];
}

export class VoiceList {
  constructor(session, signal) {
    const { api } = session;
    Object.assign(this, { api, session, signal, voices: [] });
    this.group = uniqueId("voice");
    this.list = h("div", { class: "voices", role: "radiogroup", "aria-label": T.voices });
    this.said = h("div", {});
    this.sound = new Audio();
    this.heard = null;
    for (const event of ["pause", "ended"]) this.sound.addEventListener(event, () => this.#quiet());
    signal.addEventListener("abort", () => this.sound.pause());
    this.filter = h("input", { type: "search", "aria-label": T.filter, placeholder: T.filter, on: { input: () => this.#draw() } });
    const clone = session.may("speak") ? button(T.clone, { name: "plus", onClick: () => cloneDialog(api, { signal, onMade: (voice) => this.load(voice.voice_id) }) }) : null;
    this.element = h("section", { class: "card", "aria-label": T.voices }, h("div", { class: "row row-wide" }, h("h2", {}, T.voices), clone), this.filter, this.said, this.list);
  }

  /** Loads all voices and chooses one: that of the id `wanted`, else the one chosen before, else the first. */
  async load(wanted = this.chosen) {
    this.voices = await allVoices(this.session, this.signal);
    this.chosen = this.voices.some((voice) => voice.id === wanted) ? wanted : this.voices[0]?.id;
    this.#draw();
  }

  #draw() {
    const wanted = this.filter.value.trim().toLowerCase();
    const shown = this.voices.filter((voice) => `${voice.name} ${voice.about}`.toLowerCase().includes(wanted));
    const held = place(this.list);
    fill(this.list, shown.length ? shown.map((voice) => this.#row(voice)) : h("p", { class: "quiet" }, T.noVoice));
    this.#choose(this.chosen);
    held.restore(() => this.list.querySelector("input:checked") ?? this.filter);
  }

  #row(voice) {
    const input = h("input", { type: "radio", name: this.group, value: voice.id, checked: voice.id === this.chosen, on: { change: () => this.#choose(voice.id) } });
    const hear = button("", { name: "play", kind: "quiet", label: T.preview(voice), onClick: ({ currentTarget }) => this.#preview(voice, currentTarget) });
    const remove = voice.own ? button("", { name: "close", kind: "quiet", label: T.removeVoice(voice.name), onClick: () => this.#remove(voice) }) : null;
    return h("div", { class: "voice", data: { voice: voice.id } }, h("label", {}, input, h("span", {}, voice.name, " ", h("small", {}, voice.about))), hear, remove);
  }

  /** Chooses a voice. The keyboard stops at the buttons of the chosen one only, or would stop a hundred times. */
  #choose(id) {
    this.chosen = id;
    for (const row of this.list.querySelectorAll(".voice")) {
      for (const one of row.querySelectorAll("button")) one.tabIndex = row.dataset.voice === id ? 0 : -1;
    }
  }

  /** Plays a voice, or ends it where it plays. */
  async #preview(voice, shown) {
    const ends = this.heard?.shown === shown;
    this.sound.pause();
    this.#quiet();
    fill(this.said);
    if (ends) return;
    this.heard = { shown, voice };
    rename(shown, "stop", T.stopPreview(voice.name));
    try {
      const response = await this.api.request(`${voice.own ? "vui/v1/voices" : "vui/voices"}/${encodeURIComponent(voice.id)}/preview`, { signal: this.signal });
      const blob = await response.blob();
      if (this.heard?.shown !== shown) return;
      URL.revokeObjectURL(this.sound.src);
      this.sound.src = URL.createObjectURL(blob);
      await play(this.sound);
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(this.said, problem(error));
      this.#quiet();
    }
  }

  #quiet() {
    if (this.heard) rename(this.heard.shown, "play", T.preview(this.heard.voice));
    this.heard = null;
  }

  #remove(voice) {
    confirm({
      title: T.removeVoice(voice.name),
      question: T.removeVoiceText,
      text: S.remove,
      act: () => this.api.post("vui/v1/voices/delete", { voice_id: voice.id }),
      onDone: () => this.load(),
    });
  }
}
