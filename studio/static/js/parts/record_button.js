// A button that records: press to begin, press to end; time and level beside it.

import { announce, fill, h } from "../core/dom.js";
import { clock } from "../core/format.js";
import { Recorder } from "../audio/recorder.js";
import { S } from "../strings.js";
import { button, problem, relabel } from "./controls.js";

const T = S.record;

/** `onRecording(blob)` gets the file. */
export function recordButton({ onRecording, signal, text = T.begin }) {
  const said = h("div", {});
  const level = h("meter", { class: "level", min: "0", max: "1", "aria-label": T.level, hidden: true });
  const time = h("span", { class: "time" });
  let recorder = null;
  let opening = false;
  let timer = null;
  const toggle = button(text, { name: "record", onClick: () => (recorder ? end() : begin()) });

  async function begin() {
    if (opening) return;
    opening = true;
    fill(said);
    try {
      recorder = await Recorder.start((value) => (level.value = value));
    } catch (error) {
      fill(said, problem(error));
      return;
    } finally {
      opening = false;
    }
    if (signal.aborted) {
      recorder.release();
      return;
    }
    timer = setInterval(() => (time.textContent = clock(recorder.secs)), 200);
    show(true);
    announce(T.begun);
  }

  async function end() {
    const ending = recorder;
    recorder = null;
    show(false);
    onRecording(await ending.stop());
  }

  function show(recording) {
    if (!recording) clearInterval(timer);
    level.hidden = !recording;
    time.textContent = "";
    relabel(toggle, recording ? "stop" : "record", recording ? T.end : text);
    toggle.classList.toggle("button-main", recording);
  }

  signal.addEventListener("abort", () => {
    clearInterval(timer);
    recorder?.release();
  });
  return h("div", { class: "row" }, toggle, level, time, said);
}
