// Searching within a transcript: matches are marked, and one of them is chosen.

import { h } from "../core/dom.js";
import { S } from "../strings.js";
import { button } from "./controls.js";

const T = S.transcript;

/** The field and its buttons. `onChosen(secs, asked)`: the chosen match begins there; `asked` if it was gone to, rather than found while typing. */
export function findBar({ transcript, words, onChosen }) {
  const found = h("span", { class: "quiet", role: "status" });
  const search = h("input", { type: "search", "aria-label": T.search, placeholder: T.search });
  const steps = [["previous", T.previousHit, -1], ["next", T.nextHit, 1]].map(([name, label, by]) => button("", { name, kind: "quiet", label, hidden: true, onClick: () => step(by) }));
  let hits = [];
  let chosen = 0;

  function choose(index, asked) {
    chosen = index;
    words.mark(hits, chosen);
    for (const one of steps) one.hidden = !hits.length;
    found.textContent = search.value.trim() ? T.found(hits.length ? chosen + 1 : 0, hits.length) : "";
    if (!hits.length) return;
    const [{ s, from }] = hits[chosen];
    onChosen(transcript.segments[s].words[from].start, asked);
  }

  const step = (by) => hits.length && choose((chosen + by + hits.length) % hits.length, true);
  search.addEventListener("input", () => {
    hits = transcript.find(search.value);
    choose(0, false);
  });
  search.addEventListener("keydown", (event) => event.key === "Enter" && step(event.shiftKey ? -1 : 1));
  return [
    h("div", { class: "grow" }, search),
    found,
    steps,
  ];
}
