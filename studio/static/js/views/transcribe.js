// Recordings in: dropped, chosen, or recorded here. Each is followed until its transcript can be opened.

import { h } from "../core/dom.js";
import { languageName, percent } from "../core/format.js";
import { link } from "../core/router.js";
import { button, checkbox, field, linkButton, problem, select } from "../parts/controls.js";
import { icon } from "../parts/icons.js";
import { watch } from "../parts/job_progress.js";
import { recordButton } from "../parts/record_button.js";
import { S } from "../strings.js";

const T = S.transcribe;
const LANGUAGES = ["en", "es", "fr", "de", "it", "pt", "nl", "pl", "ru", "uk", "tr", "ar", "hi", "zh", "ja", "ko"];

export function render(main, { session, signal }) {
  // Uploads go on, and are seen again, when another view is shown meanwhile.
  if (!session.kept.has("jobs")) session.kept.set("jobs", h("section", { class: "stack", "aria-label": T.jobs }));
  const jobs = session.kept.get("jobs");
  const chosen = options();
  const send = (file, name = file.name) => jobs.prepend(sent(session.api, file, name, chosen.values(), session.signal));
  main.append(h("h1", {}, T.title), dropArea(send, signal), chosen.element, jobs);
}

function dropArea(send, signal) {
  const input = h("input", { type: "file", multiple: true, accept: "audio/*,video/*", hidden: true, "aria-label": T.choose });
  input.addEventListener("change", () => {
    for (const file of input.files) send(file);
    input.value = "";
  });
  const area = h(
    "section",
    { class: "drop", "aria-label": T.area },
    icon("upload"),
    h("h2", {}, matchMedia("(pointer: coarse)").matches ? T.dropTouch : T.drop),
    h("p", { class: "quiet" }, T.kinds),
    h("div", { class: "row" },
      button(T.choose, { name: "upload", kind: "main", onClick: () => input.click() }),
      recordButton({ signal, onRecording: (blob) => send(blob, T.recordingName(new Date())) })),
    input,
  );
  const over = (is) => (event) => {
    event.preventDefault();
    area.toggleAttribute("data-over", is);
  };
  area.addEventListener("dragover", over(true));
  area.addEventListener("dragleave", over(false));
  area.addEventListener("drop", (event) => {
    over(false)(event);
    for (const file of event.dataTransfer.files) send(file);
  });
  return area;
}

function options() {
  const language = select([["", T.findOut], ...LANGUAGES.map((tag) => [tag, languageName(tag)])], "");
  const speakers = h("input", { type: "number", min: "1", max: "20", inputmode: "numeric", placeholder: T.findOut });
  const terms = h("input", { placeholder: T.termsExample });
  const sounds = checkbox(T.sounds, true);
  const element = h(
    "details",
    { class: "card" },
    h("summary", {}, T.options),
    h("div", { class: "filters" }, h("div", { class: "grow" }, field(T.language, language)), h("div", { class: "grow" }, field(T.speakers, speakers)), h("div", { class: "grow" }, field(T.terms, terms))),
    sounds.element,
  );
  const values = () => ({ language: language.value, num_speakers: speakers.value, non_speech: String(sounds.box.checked), keyterms: terms.value.split(",").map((term) => term.trim()).filter(Boolean) });
  return { element, values };
}

/** The card of a recording: its upload, then its job, then a link to the transcript. */
function sent(api, file, filename, values, signal) {
  const bar = h("progress", { max: "1", value: "0", "aria-label": T.uploading(filename) });
  const said = h("p", { class: "quiet" }, T.uploading(filename));
  const card = h("article", { class: "card" }, h("h2", {}, filename), said, bar);
  upload();
  return card;

  async function upload() {
    try {
      const job = await api.upload("submit", {
        query: { filename, ...values },
        body: file,
        contentType: file.type || "application/octet-stream",
        onProgress: (fraction) => {
          bar.value = fraction;
          said.textContent = `${T.uploading(filename)} · ${percent(fraction)}`;
        },
        signal,
      });
      card.replaceWith(followed(api, { id: job.id, filename }, signal));
    } catch (error) {
      if (error.name !== "AbortError") card.replaceChildren(h("h2", {}, filename), problem(error));
    }
  }
}

function followed(api, job, signal) {
  const card = watch(api, job, {
    signal,
    onDone: async (status) => {
      if (status === "completed") card.append(linkButton(T.open, link("transcripts", job.id), { name: "next", kind: "main" }));
      else if (status === "failed") card.append(problem(new Error((await api.get(`transcriptions/${job.id}`)).error_message)));
    },
  });
  return card;
}
