// The model behind the page, and the colours of its emotions.

import { percent } from "./dom.js";

export const model = await (await fetch("model")).json();

// one variable for each emotion, which is light or dark with everything else on the page
model.classes.forEach((_, i) =>
  document.documentElement.style.setProperty(`--emotion-${i}`, `light-dark(${model.colours[i]}, ${model.dark_colours[i]})`),
);

export const tone = (emotion) => (emotion === undefined ? "var(--soft)" : `var(--emotion-${model.classes.indexOf(emotion)})`);

/** The emotions that are the answer: one, or of a model of sets any number. */
export const answers = (utterance) => utterance.labels ?? [utterance.emotion];
export const answerOf = (utterance) =>
  answers(utterance).map((name) => `${name} ${percent(utterance.probabilities[name])}`).join(", ") || "none";
export const oddsOf = (utterance) => model.classes.map((name) => `${name} ${percent(utterance.probabilities[name])}`).join(", ");
