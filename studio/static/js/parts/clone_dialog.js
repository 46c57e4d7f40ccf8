// A voice from a recording, with the speaker's recorded consent.

import { fill, h, uniqueId } from "../core/dom.js";
import { duration } from "../core/format.js";
import { S } from "../strings.js";
import { button, dialog, field, problem, switchOff, toast } from "./controls.js";
import { recordButton } from "./record_button.js";

const T = S.clone;

/** `onMade(voice)` gets the API's answer. */
export function cloneDialog(api, { signal, onMade }) {
  const closing = new AbortController();
  const ends = AbortSignal.any([signal, closing.signal]);
  const name = h("input", { maxlength: "100", required: true, autofocus: true });
  const clip = recording(T.clip, T.clipHelp, ends);
  const statement = h("textarea", { rows: "2" }, T.statement);
  const consent = recording(T.consent, T.consentHelp, ends);
  const said = h("div", {});
  const make = button(T.make, { kind: "main" });
  make.type = "submit";

  function say(shown) {
    fill(said, shown);
    said.scrollIntoView({ block: "nearest" }); // the dialog may be higher than the screen
  }

  async function submit(event, close) {
    event.preventDefault();
    if (!clip.blob() || !consent.blob()) {
      say(problem(new Error(clip.blob() ? T.needsConsent : T.needsClip)));
      return;
    }
    switchOff(make, true);
    say(h("p", { class: "notice", role: "status" }, T.making));
    try {
      const body = new FormData();
      body.append("audio", clip.blob(), "clip");
      body.append("name", name.value.trim());
      body.append("consent", consent.blob(), "consent");
      body.append("consent_statement", statement.value.trim());
      const made = await (await api.request("vui/v1/voices", { method: "POST", body, signal: ends })).json();
      close();
      toast(T.made(made.name, duration(made.seconds)));
      onMade(made);
    } catch (error) {
      if (error.name !== "AbortError") say(problem(error));
    } finally {
      switchOff(make, false);
    }
  }

  const shown = dialog(T.title, (close) =>
    h("form", { class: "dialog-body", on: { submit: (event) => submit(event, close) } },
      h("p", { class: "quiet" }, T.explanation), field(T.name, name), clip.element, field(T.statementLabel, statement), consent.element, said, make));
  shown.addEventListener("close", () => closing.abort());
}

/** A clip, chosen as a file or recorded here. */
function recording(label, help, signal) {
  const file = h("input", { type: "file", accept: "audio/*,video/*" });
  const preview = h("audio", { controls: true, hidden: true, "aria-label": label });
  let recorded = null;
  const use = (blob, text) => {
    recorded = blob;
    note.textContent = text;
    URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(blob);
    preview.hidden = false;
  };
  const note = h("p", { class: "help", id: uniqueId("help") }, help);
  file.addEventListener("change", () => file.files[0] && use(file.files[0], help));
  const record = recordButton({ signal, onRecording: (blob) => {
    file.value = "";
    use(blob, T.recorded);
  } });
  file.setAttribute("aria-describedby", note.id);
  return { element: h("div", { class: "field" }, h("div", { class: "row clip-row" }, h("div", { class: "grow" }, field(label, file)), record), note, preview), blob: () => recorded };
}
