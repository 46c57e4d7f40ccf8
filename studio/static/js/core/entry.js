// What the browser's history keeps for the address that is shown, so that Back shows a view as it was left. It has no words of anybody.

/** Keeps values for this address, until it is left for good. */
export function keep(values) {
  history.replaceState({ ...history.state, ...values }, "");
}

/** What was kept for this address; empty where it is new. */
export const kept = () => history.state ?? {};
