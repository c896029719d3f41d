/** Words of the page: intents and slots in plain English, languages by their own names, and example queries. */

const INTENTS = {
  find_image: "Find pictures",
  find_text: "What it means",
  filter_set: "A whole set",
  find_similar: "Something similar",
  out_of_scope: "Not quite a search",
};
const SLOTS = { subject: "about", skin_tone: "skin tone", time: "year", count: "how many" };
const RIGHT_TO_LEFT = ["ar", "arc", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"];

/** Sentences for the default catalogue, known by a style of its drawings; another has names of its own to begin with. */
const SENTENCES = [
  ["es", "gato sonriendo"],
  ["en", "scientist with medium skin tone in openmoji style"],
  ["ja", "ロケットってどういう意味？"],
  ["ar", "وجه ضاحك"],
  ["fr", "montre-moi trois animaux"],
  ["hi", "लाल दिल"],
  ["zh", "下雨"],
  ["de", "winkende Hand mit dunkler Hautfarbe"],
  ["ru", "музыкальные инструменты"],
];

export function exampleQueries({ styles, languages, examples }) {
  if (!styles.includes("openmoji")) return examples;
  const known = SENTENCES.filter(([lang]) => languages.includes(lang));
  return known.map(([lang, text]) => ({ lang, text }));
}

const spaced = (word) => word.replaceAll("_", " ");
export const intentName = (intent) => INTENTS[intent] ?? spaced(intent);
export const slotName = (label) => SLOTS[label] ?? spaced(label);
export const direction = (lang) => (RIGHT_TO_LEFT.includes(lang.split("-")[0]) ? "rtl" : "ltr");

/** The name of a language in that language; its tag where the browser knows none. */
export function languageName(tag) {
  try {
    return new Intl.DisplayNames([tag], { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag; // not a well-formed tag
  }
}
