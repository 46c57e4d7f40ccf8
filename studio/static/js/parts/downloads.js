// Saving a transcript or a conversation in several formats. Files are fetched with the token, so no address carries a secret.

import { fill, h } from "../core/dom.js";
import { S } from "../strings.js";
import { button, dialog, problem } from "./controls.js";

const FORMATS = ["txt", "srt", "vtt", "json", "docx"];

/** A button that offers a transcript in the formats of the API. */
export function downloads(api, path, filename) {
  const save = async (format) => {
    const query = format === "json" ? { word_level_timestamps: true } : { format };
    const response = await api.request(path, { query });
    saveBlob(await response.blob(), `${filename.replace(/\.[^.]+$/, "")}.${format}`);
  };
  return downloadButton(FORMATS.map((format) => [S.transcript.formats[format], () => save(format)]));
}

/** A button that offers files: each the text of a button and what saves it. */
export function downloadButton(files) {
  return button(S.download, {
    name: "download",
    narrow: true,
    onClick: () =>
      dialog(S.download, () => {
        const said = h("div", {});
        const save = (act) => async () => {
          fill(said);
          try {
            await act();
          } catch (error) {
            fill(said, problem(error));
          }
        };
        return [h("div", { class: "row" }, files.map(([text, act]) => button(text, { onClick: save(act) }))), said];
      }),
  });
}

/** Has the browser save bytes under a name. */
export function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  saveUrl(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Has the browser save what is at an address, under a name if the address is of this origin. */
export function saveUrl(url, name) {
  h("a", { href: url, download: name }).click();
}
