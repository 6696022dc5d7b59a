// The conversation over time: its sound, a row for each speaker, and a row for each emotion.

import { $, clock, make, makeSvg } from "./dom.js";
import { answers, model, tone } from "./model.js";

const DETAILED = 500; // utterances up to which the weaker emotions are drawn too
const LANE = 20; // height of a row, as in page.css
const SPEAKERS = 8; // rows; of more, those who speak least share the last one
const SOUND_HZ = 8000; // enough for its loudness
const COLUMNS = 600; // of the waveform

/** Draw `shown`, which has utterances, their spans (start, end), the length of all, and whether that is in seconds. */
export function drawTimeline(shown) {
  const { utterances, spans } = shown;
  const speakers = rowsOfSpeakers(utterances, spans);
  const rows = [...new Set(speakers)];
  $("lanes").replaceChildren(
    ...rows.map((name) => make("span", { className: "person", textContent: name, title: name })),
    ...model.classes.map((emotion) => make("span", { className: "feeling", textContent: emotion })),
  );
  const people = makeRows("people", rows.length);
  const feelings = makeRows("feelings", model.classes.length);
  utterances.forEach((utterance, i) => {
    const top = utterance.labels?.length === 0 ? undefined : utterance.emotion;
    if (rows.length) people.append(makeBar(shown, i, rows.indexOf(speakers[i]), tone(top), 1));
    model.classes.forEach((emotion, lane) => {
      const isTop = answers(utterance).includes(emotion);
      const share = utterance.probabilities[emotion];
      if (!isTop && (utterances.length > DETAILED || share < 0.05)) return;
      const bar = makeBar(shown, i, lane, tone(emotion), isTop ? 0.3 + 0.7 * share : 0.6 * share);
      if (isTop) bar.classList.add("top");
      feelings.append(bar);
    });
  });
  $("sheet").replaceChildren(...(rows.length ? [people] : []), feelings);
  $("wave").hidden = $("loudness").hidden = true;
  drawAxis(shown);
}

/** The name of the row of each utterance; none where nobody is named. */
function rowsOfSpeakers(utterances, spans) {
  if (!utterances.some(({ speaker }) => speaker)) return [];
  const names = utterances.map(({ speaker }) => speaker ?? "unknown");
  const spoken = new Map();
  names.forEach((name, i) => spoken.set(name, (spoken.get(name) ?? 0) + spans[i][1] - spans[i][0]));
  if (spoken.size <= SPEAKERS) return names;
  const kept = [...spoken.keys()].sort((a, b) => spoken.get(b) - spoken.get(a)).slice(0, SPEAKERS - 1);
  return names.map((name) => (kept.includes(name) ? name : `${spoken.size - kept.length} others`));
}

function makeRows(name, rows) {
  const svg = makeSvg("svg", { class: name, viewBox: `0 0 1000 ${LANE * rows}`, preserveAspectRatio: "none" });
  for (let row = 0; row < rows; row += 2)
    svg.append(makeSvg("rect", { class: "stripe", x: 0, y: LANE * row, width: 1000, height: LANE }));
  svg.style.height = `${LANE * rows}px`;
  return svg;
}

function makeBar({ spans, length }, i, row, colour, opacity) {
  const x = (1000 * spans[i][0]) / length;
  const width = Math.max(1.5, (1000 * (spans[i][1] - spans[i][0])) / length - 1);
  const bar = makeSvg("rect", { x, y: LANE * row + 3, width, height: LANE - 6, opacity });
  bar.style.fill = colour;
  bar.dataset.utterance = i;
  return bar;
}

function drawAxis({ length, isTimed }) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3000, 6000];
  const most = $("track").clientWidth / 56; // marks that have room next to each other
  const step = steps.find((candidate) => length / candidate <= most) ?? length / 6;
  const marks = [];
  const isInside = (at) => (isTimed ? at <= length : at < length); // utterances have numbers, their ends have none
  for (let at = 0; isInside(at); at += step) {
    const mark = make("span", { textContent: isTimed ? clock(at) : `utterance ${Math.round(at) + 1}` });
    mark.style.left = `${(100 * at) / length}%`;
    mark.classList.toggle("last", at > 0.97 * length);
    marks.push(mark);
  }
  $("axis").replaceChildren(...marks);
}

/** Draw the loudness of `file` over the rows; nothing where the browser cannot decode it or it has no sound. */
export async function drawWaveform(file, length, isStillShown) {
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, SOUND_HZ).decodeAudioData(await file.arrayBuffer());
  } catch {
    return;
  }
  if (!isStillShown()) return;
  const peaks = peaksOf(sound.getChannelData(0), Math.ceil((SOUND_HZ * length) / COLUMNS));
  const loudest = Math.max(...peaks, 1e-4);
  const svg = makeSvg("svg", { viewBox: `0 -1 ${COLUMNS} 2`, preserveAspectRatio: "none" });
  const upper = peaks.map((peak, column) => `${column},${(-peak / loudest).toFixed(3)}`);
  const lower = peaks.map((peak, column) => `${column},${(peak / loudest).toFixed(3)}`).reverse();
  svg.append(makeSvg("polygon", { points: [...upper, ...lower].join(" ") }));
  $("wave").replaceChildren(svg);
  $("wave").hidden = $("loudness").hidden = false;
}

/** The loudest sample of each `size` samples, silence after the end. */
function peaksOf(samples, size) {
  return Array.from({ length: COLUMNS }, (_, column) => {
    let peak = 0;
    const end = Math.min(samples.length, (column + 1) * size);
    for (let at = column * size; at < end; at++) peak = Math.max(peak, Math.abs(samples[at]));
    return peak;
  });
}
