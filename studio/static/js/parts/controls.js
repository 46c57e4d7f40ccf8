// Small parts that every view uses: buttons, fields, notices, empty states, dialogs.

import { announce, fill, h, uniqueId } from "../core/dom.js";
import { place } from "../core/focus.js";
import { S } from "../strings.js";
import { icon } from "./icons.js";

/** A button with text, an icon, or both; without text, `label` names it. One that is `narrow` shows only its icon on a phone. */
export function button(text, { name, kind = "plain", label, narrow = false, onClick, ...rest } = {}) {
  const look = `button button-${kind}${text ? "" : " button-icon"}${narrow ? " button-narrow" : ""}`;
  const click = (event) => (event.currentTarget.getAttribute("aria-disabled") === "true" ? event.preventDefault() : onClick?.(event));
  return h(
    "button",
    { type: "button", class: look, "aria-label": label, title: text ? undefined : label, on: { click }, ...rest },
    name ? icon(name) : null,
    text ? h("span", {}, text) : null,
  );
}

/** Switches a button off or on. It stays where the keyboard is; the attribute `disabled` would take the focus from it. */
export function switchOff(made, off) {
  made.setAttribute("aria-disabled", String(off));
}

/** Gives a button that has both another icon and another text. */
export function relabel(made, name, text) {
  made.querySelector("svg").replaceWith(icon(name));
  made.querySelector("span").textContent = text;
}

/** The same for a button without text: another icon and name. */
export function rename(made, name, label) {
  made.replaceChildren(icon(name));
  made.setAttribute("aria-label", label);
  made.title = label;
}

/** A link that looks like a button. */
export function linkButton(text, href, { name, kind = "plain", ...rest } = {}) {
  return h("a", { class: `button button-${kind}`, href, ...rest }, name ? icon(name) : null, h("span", {}, text));
}

/** A labelled control, with an optional line of help under it. */
export function field(label, control, help) {
  control.id ||= uniqueId("field");
  const note = help ? h("p", { class: "help", id: `${control.id}-help` }, help) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

/** A choice of values: `[value, text]` pairs. */
export function select(options, value, onChange, props = {}) {
  const made = h(
    "select",
    { ...props, on: { change: () => onChange?.(made.value) } },
    options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)),
  );
  return made;
}

/** A check box beside its text. */
export function checkbox(text, checked, onChange) {
  const box = h("input", { type: "checkbox", checked, on: { change: () => onChange?.(box.checked) } });
  return { box, element: h("label", { class: "check" }, box, h("span", {}, text)) };
}

/** A row of mutually exclusive buttons: `[value, text]` pairs. */
export function choices(label, options, value, onChange) {
  const name = uniqueId("choice");
  return h(
    "fieldset",
    { class: "choices" },
    h("legend", { class: "visually-hidden" }, label),
    options.map(([key, text]) => {
      const input = h("input", { type: "radio", name, value: key, checked: key === value, on: { change: () => onChange(key) } });
      return h("label", {}, input, h("span", {}, text));
    }),
  );
}

/** Something that has not worked, in the API's words; read out at once. */
export function problem(error) {
  return h("p", { class: "notice notice-bad", role: "alert" }, error.message ?? String(error));
}

/** What a view shows before there is anything. */
export function empty(name, title, text, action) {
  return h("div", { class: "empty" }, icon(name), h("h2", {}, title), h("p", {}, text), action);
}

/** Grey bars while something is loaded. */
export function loading() {
  return h("div", { class: "loading", role: "status" }, h("span", { class: "visually-hidden" }, S.loading), h("i"), h("i"), h("i"));
}

/**
 * Shows what `load` gives in `target`; meanwhile grey bars, and its error where it fails.
 * The focus stays at the element of the same name, or goes to `otherwise()`.
 */
export async function show(target, load, otherwise) {
  const held = place(target);
  fill(target, loading());
  try {
    fill(target, await load());
  } catch (error) {
    if (error.name !== "AbortError") fill(target, problem(error));
  }
  held.restore(otherwise);
}

/** A modal dialog; `build(close)` gives its content. The focus returns to where it was, also if that was drawn anew. */
export function dialog(title, build) {
  const id = uniqueId("dialog");
  const made = h("dialog", { class: "dialog", "aria-labelledby": id });
  const close = () => made.close();
  made.append(
    h("div", { class: "dialog-head" }, h("h2", { id }, title), button("", { name: "close", label: S.close, onClick: close })),
    h("div", { class: "dialog-body" }, build(close)),
  );
  const held = place(document.body);
  made.addEventListener("close", () => {
    made.remove();
    held.restore();
  });
  document.body.append(made);
  made.showModal();
  return made;
}

/** Asks before `act`, which cannot be undone. The button `text` does it and then calls `onDone`; an error is shown. */
export function confirm({ title, question, text, act, onDone }) {
  dialog(title, (close) => {
    const said = h("div", {});
    const agree = async () => {
      try {
        await act();
      } catch (error) {
        fill(said, problem(error));
        return;
      }
      close();
      onDone();
    };
    return [h("p", {}, question), said, h("div", { class: "row" }, button(text, { kind: "bad", onClick: agree }), button(S.cancel, { onClick: close, autofocus: true }))];
  });
}

/** A short message at the lower edge, for some seconds, read out as well. */
export function toast(text) {
  document.querySelector(".toast")?.remove();
  const made = h("p", { class: "toast", "aria-hidden": "true" }, text);
  document.body.append(made);
  announce(text);
  setTimeout(() => made.remove(), 4000);
}
