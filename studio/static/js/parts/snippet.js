// A search's snippet is HTML with nothing but `<mark>` in it. It is read as text, piece by piece.

import { h } from "../core/dom.js";

const SAID_LETTERS = 60; // enough to find one place in a segment
const ENTITIES = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'", "&#39;": "'", "&amp;": "&" };

/** The nodes of a snippet. */
export function snippet(html) {
  return html.split(/(<mark>.*?<\/mark>)/s).map((piece) => {
    const marked = /^<mark>(.*)<\/mark>$/s.exec(piece);
    return marked ? h("mark", {}, plain(marked[1])) : plain(piece);
  });
}

/** The beginning of what a snippet says from its first mark on; empty if nothing is marked. */
export function firstSaid(html) {
  const from = html.indexOf("<mark>");
  return from < 0 ? "" : plain(html.slice(from).replace(/<\/?mark>/g, "")).slice(0, SAID_LETTERS).replace(/…$/, "");
}

function plain(html) {
  return html.replace(/&(?:lt|gt|quot|amp|#x27|#39);/g, (entity) => ENTITIES[entity]);
}
