// One render of the history: its text and its sound.

import { h } from "../core/dom.js";
import { localUrl } from "../core/api.js";
import { duration, moment, voiceName } from "../core/format.js";
import { SaveSound } from "../parts/save_sound.js";
import { S } from "../strings.js";

const T = S.history;

export async function render(main, { session, id, signal }) {
  const made = await session.api.get(`history/tts/${encodeURIComponent(id)}`, {}, signal);
  const facts = [moment(made.created_at), duration(made.audio_secs), T.characters(made.chars)].join(" · ");
  main.append(
    h("div", { class: "head" }, h("div", {}, h("h1", {}, T.spoken(voiceName(made.voice))), h("p", { class: "quiet" }, facts))),
    h("section", { class: "card" }, h("p", { class: "read-along" }, made.text), made.download_url ? sound(made, session.api, signal) : null),
  );
}

function sound(made, api, signal) {
  const saving = new SaveSound(api, signal);
  saving.offer({ name: made.voice.split(".")[0], id: made.id });
  return [h("audio", { controls: true, src: localUrl(made.download_url), "aria-label": T.sound }), saving.element];
}
