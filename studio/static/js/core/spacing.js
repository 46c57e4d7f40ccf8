// Words joined to text: with blanks between them, but in scripts without blanks.

const UNSPACED = /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\u{20000}-\u{3ffff}]/u;

/** What stands between two words, as in the texts of the API: a blank, or nothing. */
export function spaceBetween(word, next) {
  if (!word || !next) return "";
  const [last, first] = [[...word.slice(-2)].at(-1), String.fromCodePoint(next.codePointAt(0))];
  if (last < "\u0300" && first < "\u0300") return " ";
  const without = [UNSPACED.test(last), UNSPACED.test(first)];
  if (without.every(Boolean) || /\p{M}/u.test(first)) return "";
  return without.some(Boolean) && (/\p{Nd}/u.test(last) || /\p{Nd}/u.test(first)) ? "" : " ";
}
