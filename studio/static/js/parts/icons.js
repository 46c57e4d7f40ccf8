// Line icons, drawn for this page on a grid of 24.

import { svg } from "../core/dom.js";

const PATHS = {
  transcribe: "M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM5 11a7 7 0 0 0 14 0M12 18v3",
  speak: "M4 9v6h4l5 4V5L8 9zM16.5 8.5a5 5 0 0 1 0 7M19 6a8.5 8.5 0 0 1 0 12",
  talk: "M4 5h16v11H9l-5 4zM8 9h8M8 12.5h5",
  history: "M4 12a8 8 0 1 0 2.6-5.9L4 8.5M4 4v4.5h4.5M12 8v4.5l3 2",
  usage: "M4 20V10M10 20V4M16 20v-7M21 20H3",
  keys: "M8 11.500a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM11 12.500 19.500 4M15.500 8l3 3M18 5.500l2 2",
  play: "M8 5.500v13l10.500-6.500z",
  pause: "M8 5v14M16 5v14",
  stop: "M6.500 6.500h11v11h-11z",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4.500 4.500",
  download: "M12 4v11M7.500 11l4.500 4.500 4.500-4.500M5 20h14",
  upload: "M12 16V5M7.500 9.500 12 5l4.500 4.500M5 20h14",
  record: "M12 6a6 6 0 1 0 0 12 6 6 0 0 0 0-12z",
  close: "M6 6l12 12M18 6 6 18",
  remove: "M5 7h14M10 7V4.500h4V7M7 7l1 12.500h8L17 7M10.500 10.500v5.500M13.500 10.500v5.500",
  edit: "M5 19h3.500L19 8.500 15.500 5 5 15.500zM13 7.500 16.500 11",
  next: "M9 5l7 7-7 7",
  previous: "M15 5l-7 7 7 7",
  check: "M5 12.500 10 17.500 19.500 7",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  plus: "M12 5v14M5 12h14",
  leave: "M10 4H5v16h5M14 8l4 4-4 4M18 12H9",
  person: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.500 20a7.500 7.500 0 0 1 15 0",
  back10: "M5 12a7.500 7.500 0 1 0 2.300-5.400L5 8.500M5 4v4.500h4.500",
};

/** A decorative icon; the text beside it, or the button's label, names it. */
export function icon(name) {
  const filled = name === "play" || name === "stop" || name === "record";
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", "data-filled": filled },
    svg("path", { d: PATHS[name] }),
  );
}
