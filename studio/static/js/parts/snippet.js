// A search's snippet is HTML with nothing but `<mark>` in it. It is read as text, piece by piece.

import { h } from "../core/dom.js";

const ENTITIES = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'", "&#39;": "'", "&amp;": "&" };

/** The nodes of a snippet. */
export function snippet(html) {
  return html.split(/(<mark>.*?<\/mark>)/s).map((piece) => {
    const marked = /^<mark>(.*)<\/mark>$/s.exec(piece);
    return marked ? h("mark", {}, plain(marked[1])) : plain(piece);
  });
}

function plain(html) {
  return html.replace(/&(?:lt|gt|quot|amp|#x27|#39);/g, (entity) => ENTITIES[entity]);
}
