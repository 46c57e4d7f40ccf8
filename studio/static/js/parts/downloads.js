// Saving a transcript in the formats of the API. The file is fetched with the token, so no address carries a secret.

import { fill, h } from "../core/dom.js";
import { S } from "../strings.js";
import { button, dialog, problem } from "./controls.js";

const FORMATS = ["txt", "srt", "vtt", "json", "docx"];

/** A button that offers the formats. */
export function downloads(api, path, filename) {
  return button(S.transcript.download, {
    name: "download",
    onClick: () =>
      dialog(S.transcript.download, () => {
        const said = h("div", {});
        const save = async (format) => {
          try {
            const query = format === "json" ? { word_level_timestamps: true } : { format };
            const response = await api.request(path, { query });
            saveBlob(await response.blob(), `${filename.replace(/\.[^.]+$/, "")}.${format}`);
          } catch (error) {
            fill(said, problem(error));
          }
        };
        return [h("div", { class: "row" }, FORMATS.map((format) => button(S.transcript.formats[format], { onClick: () => save(format) }))), said];
      }),
  });
}

/** Has the browser save bytes under a name. */
export function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  const anchor = h("a", { href: url, download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
