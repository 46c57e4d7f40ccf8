// The place of the keyboard, kept where a part of the page is drawn anew.

const STOPS = "a[href], button, input, select, textarea, summary, [tabindex]";

/** Where the focus is in `area`, by the name of the element that has it; `data-keep` names one whose text changes. */
export function place(area) {
  const held = document.activeElement;
  if (held === document.body || !area.contains(held)) return { restore() {} };
  const name = nameOf(held);
  const nth = named(area, name).indexOf(held);
  return {
    /** Gives the focus to the element that is there now, or to `otherwise()`, unless something else has it already. */
    restore(otherwise = () => null) {
      if (document.activeElement !== document.body) return;
      const same = named(area, name);
      (same[Math.min(nth, same.length - 1)] ?? otherwise())?.focus();
    },
  };
}

function named(area, name) {
  return [...area.querySelectorAll(STOPS)].filter((element) => nameOf(element) === name);
}

function nameOf(element) {
  return element.dataset.keep ?? element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent;
}
