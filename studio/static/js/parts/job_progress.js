// A job as it is worked on: its stage, how far it is, and words as they are recognised.

import { announce, fill, h } from "../core/dom.js";
import { duration } from "../core/format.js";
import { S } from "../strings.js";
import { button, problem } from "./controls.js";

const T = S.progress;

/** A card that follows a job by its events; `onDone(status)` is called at its end. */
export function watch(api, { id, filename }, { signal, onDone }) {
  const stage = h("p", { class: "quiet" }, S.status.submitted);
  const bar = h("progress", { max: "1", "aria-label": T.label(filename) });
  const text = h("p", { class: "arriving" });
  const cancel = button(S.cancel, { kind: "quiet", onClick: () => api.post(`transcriptions/${id}/cancel`).catch((error) => fill(text, problem(error))) });
  const element = h("article", { class: "card", tabindex: "-1" }, h("div", { class: "row row-wide" }, h("h2", {}, filename), cancel), stage, bar, text);

  const show = {
    status: ({ status }) => (stage.textContent = S.status[status] ?? status),
    progress: (made) => {
      bar.value = made.fraction;
      const eta = made.eta_secs === null ? "" : ` · ${T.left(duration(made.eta_secs))}`;
      stage.textContent = `${T.stages[made.stage] ?? made.stage}${eta}`;
    },
    block: ({ segments }) => {
      const words = segments.map((segment) => segment.text).join(" ");
      if (!words) return;
      ahead += words.length + 1;
      add(words);
    },
    // Segments have the whole text; its beginning came in blocks and is not shown again.
    segment: ({ text: said }) => {
      if (said.length > ahead) add(said.slice(ahead).trimStart());
      ahead = Math.max(0, ahead - said.length - 1);
    },
  };
  let ahead = 0; // characters of blocks that no segment has repeated

  function add(words) {
    text.append(words, " ");
    text.scrollTop = text.scrollHeight;
  }

  async function follow() {
    let status = "submitted";
    try {
      for await (const { event, data } of api.events(`transcriptions/${id}/events`, signal)) {
        show[event]?.(data);
        if (event === "status") status = data.status;
      }
      bar.value = 1;
      if (cancel === document.activeElement) element.focus();
      cancel.remove();
      announce(`${filename}: ${S.status[status] ?? status}`);
      onDone(status);
    } catch (error) {
      if (error.name !== "AbortError") fill(text, problem(error));
    }
  }

  follow();
  return element;
}
