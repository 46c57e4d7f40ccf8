// Saving a render as a file: the sound that was received here, or a format that the API makes of the stored copy.

import { fill, h } from "../core/dom.js";
import { S } from "../strings.js";
import { button, problem, select, switchOff } from "./controls.js";
import { saveBlob } from "./downloads.js";

const T = S.speak;

export class SaveSound {
  constructor(api, signal) {
    Object.assign(this, { api, signal });
    this.format = select(Object.entries(T.formats), "wav", undefined, { "aria-label": T.format });
    this.button = button(T.save, { name: "download", onClick: () => this.#save() });
    this.said = h("div", {});
    this.element = h("div", { class: "row" }, h("div", { style: { width: "9rem" } }, this.format), this.button, this.said);
    this.offer({});
  }

  /** Offers a render: `wav` is a file of its sound, `id` its number in the history. Without an id there is no other format; without both, nothing. */
  offer({ name, wav = null, id = null }) {
    Object.assign(this, { name, wav, id });
    for (const option of this.format.options) option.disabled = id === null && option.value !== "wav";
    if (id === null) this.format.value = "wav";
    switchOff(this.button, !wav && id === null);
    fill(this.said);
  }

  async #save() {
    const { name, wav, id } = this;
    const format = this.format.value;
    switchOff(this.button, true);
    fill(this.said);
    try {
      saveBlob(format === "wav" && wav ? wav : await this.#stored(id, format), `${name}.${format}`);
    } catch (error) {
      if (error.name !== "AbortError") fill(this.said, problem(error));
    } finally {
      switchOff(this.button, false);
    }
  }

  async #stored(id, format) {
    const response = await this.api.request(`history/tts/${encodeURIComponent(id)}/audio`, { query: { format }, signal: this.signal });
    return response.blob();
  }
}
