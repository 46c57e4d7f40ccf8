// Views by the fragment of the address: `#/history`, `#/transcripts/12?at=3.5`. The fragment never leaves the browser.

/** `{name, id, query}` of a fragment. */
export function parse(hash) {
  const [path, search] = hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/").map(decodeURIComponent);
  return { name, id, query: new URLSearchParams(search ?? "") };
}

/** A fragment for a view. */
export function link(name, id, query) {
  const search = query ? `?${new URLSearchParams(query)}` : "";
  return `#/${name}${id === undefined ? "" : `/${encodeURIComponent(id)}`}${search}`;
}

/** Goes to a view. */
export function go(name, id, query) {
  location.hash = link(name, id, query);
}
