// The answer on the page: player, timeline, utterances and files, which move together.

import { $, clock, count, make, makeSvg, percent } from "./dom.js";
import { answerOf, answers, model, oddsOf, tone } from "./model.js";
import { isDark, onScheme } from "./scheme.js";
import { drawTimeline, drawWaveform } from "./timeline.js";

const ROWS = 500; // utterances in the list; the timeline and the files have all
const NAMED = 3; // cues that are not utterances; the JSON has all
const HELD = 0.4; // seconds around a frame in which its faces are framed by full lines

let shown = null; // what is on the page: {utterances, spans, length, isTimed, clip, spectrogram, rows, current}

$("track").onclick = (event) => clickTrack(event);
$("track").onkeydown = (event) => pressOnTrack(event);
$("player").ontimeupdate = $("player").onseeked = () => $("player").hidden || moveTo($("player").currentTime);
$("player").onplay = follow;
$("player").onloadedmetadata = $("photo").onload = showPicture;
$("player").onerror = () => $("player").src && ([$("mute").hidden, $("player").hidden] = [false, true]);
$("hear").onclick = () => goTo(shown.spectrogram.utterance);
onScheme(showSpectrogram);

/** Draw the answer to a clip, subtitles or both. */
export function draw(answer, { clip, subtitles }) {
  const { utterances } = answer;
  const spans = utterances.map((utterance, i) => [utterance.start_s ?? i, utterance.end_s ?? i + 1]); // a bare transcript has no times
  const isTimed = utterances.every((utterance) => utterance.start_s !== null);
  const length = Math.max(isTimed ? (answer.end_s ?? 0) : 0, ...spans.slice(-20).map(([, end]) => end));
  const drawn = { utterances, spans, length, isTimed, clip, spectrogram: answer.spectrogram, rows: [], current: -1 };
  shown = drawn;
  showPlayer();
  drawFacts(answer, (clip ?? subtitles).name);
  drawTimeline(shown);
  if (clip && isTimed) drawWaveform(clip, length, () => shown === drawn);
  drawOdds();
  drawUtterances();
  moveTo(0);
}

/** Forget the answer and the clip. */
export function clear() {
  $("player").pause();
  for (const player of [$("player"), $("captions"), $("photo")]) {
    URL.revokeObjectURL(player.src);
    player.removeAttribute("src");
  }
  shown = null;
}

// ------------------------------------------------------------------------------------------------------- drawing

function showPlayer() {
  const { clip, isTimed } = shown;
  const isPhoto = clip?.type.startsWith("image/") ?? false;
  [$("mute").hidden, $("player").hidden, $("photo").hidden] = [true, !clip || isPhoto, !isPhoto];
  if (clip) $(isPhoto ? "photo" : "player").src = URL.createObjectURL(clip);
  if (clip && isTimed) $("captions").src = URL.createObjectURL(new Blob([captions()], { type: "text/vtt" }));
}

/** The words as WebVTT, for whoever plays the clip without hearing it; markup of strangers is escaped. */
function captions() {
  const stamp = (seconds) => new Date(1000 * seconds).toISOString().slice(11, 23);
  const plain = (text) => text.replace(/\s+/g, " ").replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const cues = shown.utterances.map((utterance, i) => {
    const [start, end] = shown.spans[i];
    return `${stamp(start)} --> ${stamp(end)}\n${plain(`${wordsOf(utterance)} (${answerOf(utterance)})`)}\n`;
  });
  return ["WEBVTT\n", ...cues].join("\n");
}

const ratingsOf = ({ ratings }) =>
  Object.entries(ratings).map(([scale, value]) => `${scale} ${value < 0 ? "" : "+"}${value.toFixed(2)}`).join(", ");

const wordsOf = ({ speaker, text }) => [speaker, text ?? "no transcript"].filter(Boolean).join(": ");

function showPicture() {
  $("player").classList.toggle("sound", !sizeOfPicture()[0]);
  moveTo($("photo").hidden ? $("player").currentTime : 0); // the player may still be where the clip before ended
}

const sizeOfPicture = () =>
  $("photo").hidden ? [$("player").videoWidth, $("player").videoHeight] : [$("photo").naturalWidth, $("photo").naturalHeight];

function drawFacts(answer, name) {
  const { utterances } = shown;
  $("summary").textContent = `${count(utterances.length, "utterance")}, from ${answer.source}`;
  const streams = model.modalities.map((stream) => describe(stream, utterances));
  $("streams").textContent = [...streams, describeFaces(utterances)].join(" · ");
  drawSkipped(answer.skipped, answer.notes);
  drawSpectrogram();
  const { source, skipped, notes } = answer;
  const kept = { clip: name, model: model.name, classes: model.classes, source, skipped, notes, utterances };
  const stem = name.replace(/\.[^.]*$/, "");
  offer("json", `${stem}.emotions.json`, JSON.stringify(kept, null, 2), "application/json");
  offer("csv", `${stem}.emotions.csv`, answer.csv, "text/csv");
  offer("srt", `${stem}.emotions.srt`, answer.srt, "application/x-subrip");
  const picture = answer.timeline && Uint8Array.from(atob(answer.timeline), (byte) => byte.charCodeAt(0));
  offer("png", `${stem}.emotions.png`, picture, "image/png");
}

/** Let a link save `content` under a name; without content there is no link. */
function offer(link, name, content, type) {
  $(link).hidden = content === null;
  URL.revokeObjectURL($(link).href);
  $(link).href = URL.createObjectURL(new Blob([content ?? ""], { type }));
  $(link).download = name;
}

/** How many cues of the subtitles are not utterances, the first ones, and what was assumed about the file. */
function drawSkipped(sentences, notes) {
  $("skipped").hidden = !sentences.length && !notes.length;
  const first = [...sentences.slice(0, NAMED), ...(sentences.length > NAMED ? ["…"] : [])].join("; ");
  const skipped = `Skipped ${sentences.length.toLocaleString("en")} cues, lines or sounds that are not utterances: ${first}`;
  $("skipped").textContent = [...(sentences.length ? [skipped] : []), ...notes].join(" ");
}

/** The sound of the longest utterance; a click goes there. */
function drawSpectrogram() {
  const found = shown.spectrogram;
  $("sound").hidden = !found;
  showSpectrogram();
  if (!found) return;
  const [{ speaker, text }, [start, end]] = [shown.utterances[found.utterance], shown.spans[found.utterance]];
  const part = found.seconds < end - start - 0.1 ? `first ${found.seconds.toFixed(0)} s of the ` : "";
  const words = [speaker, text].filter(Boolean).join(": ");
  $("heard").textContent = `Sound of the ${part}longest utterance, from ${clock(start)}${words && ` (${words})`}:`;
}

/** The picture of the sound in the colours of the page. */
function showSpectrogram() {
  const found = shown?.spectrogram;
  $("spectrogram").src = found ? `data:image/png;base64,${isDark() ? found.dark_png : found.png}` : "data:,";
}

function describe(stream, utterances) {
  const missing = utterances.map((utterance) => utterance.missing[stream]).filter(Boolean);
  if (!missing.length) return `${stream} used`;
  const why = [...new Set(missing)].slice(0, 2).join("; ");
  return missing.length === utterances.length
    ? `${stream} missing (${why})`
    : `${stream} used in ${utterances.length - missing.length} of ${utterances.length} utterances (${why})`;
}

function describeFaces(utterances) {
  if (!model.modalities.includes("visual")) return "no faces: the model takes no pictures";
  if (!utterances.some((utterance) => utterance.frames.length)) return "no faces: they were not looked for";
  const found = utterances.filter((utterance) => utterance.frames.some(({ faces }) => faces.length)).length;
  return found ? `faces found in ${found} of ${count(utterances.length, "utterance")}` : "no face was found";
}

function drawOdds() {
  $("odds").replaceChildren(
    ...model.classes.flatMap((emotion) => {
      const gauge = make("i");
      gauge.style.background = tone(emotion);
      return [make("dt", { textContent: emotion }), make("dd", { className: "gauge" }, gauge), make("dd")];
    }),
  );
}

function drawUtterances() {
  const { utterances } = shown;
  shown.rows = utterances.slice(0, ROWS).map(makeRow);
  $("utterances").replaceChildren(...shown.rows);
  $("utterances").scrollTop = 0;
  $("rest").hidden = utterances.length <= ROWS;
  $("rest").textContent = `The first ${ROWS} utterances are listed; the timeline and the files have all ${count(utterances.length, "utterance")}.`;
}

function makeRow(utterance, i) {
  const time = make("button", { type: "button", className: "time", textContent: shown.isTimed ? clock(utterance.start_s) : i + 1 });
  const words = make("span", { className: "words" });
  if (utterance.speaker) words.append(make("span", { className: "speaker", textContent: utterance.speaker }), " ");
  if (utterance.speaker && utterance.speaker_source)
    words.append(makeMark("guessed", `Nobody named the speaker: guessed by ${utterance.speaker_source}.`), " ");
  words.append(utterance.text ?? make("span", { className: "none", textContent: "no transcript" }));
  if (utterance.text && utterance.text_source)
    words.append(" ", makeMark("machine", `Written by the recogniser ${utterance.text_source}, not by a person.`));
  const emotion = make("span", { className: "emotion" }, make("i"), answerOf(utterance));
  const mix = make("span", { className: "mix", role: "img", ariaLabel: oddsOf(utterance), title: oddsOf(utterance) });
  const whole = Math.max(1, model.classes.reduce((sum, name) => sum + utterance.probabilities[name], 0));
  for (const name of model.classes) {
    const part = make("i");
    part.style.width = `${(100 * utterance.probabilities[name]) / whole}%`;
    part.style.background = tone(name);
    mix.append(part);
  }
  const inputs = make("span", { className: "inputs" }, ...model.modalities.map((stream) => makeBadge(stream, utterance)));
  const row = make("li", { className: "utterance", onclick: () => goTo(i) }, time, words, emotion, mix, inputs);
  row.style.setProperty("--tone", tone(utterance.emotion));
  return row;
}

/** A word that says that something is not from a person, with the whole sentence for whoever asks. */
const makeMark = (word, sentence) =>
  make("span", { className: "mark", title: sentence }, word, make("span", { className: "unseen", textContent: `: ${sentence}` }));

function makeBadge(stream, utterance) {
  const why = utterance.missing[stream];
  if (!why) return make("span", { textContent: stream });
  const unseen = make("span", { className: "unseen", textContent: ` not used: ${why}` });
  return make("span", { className: "missing", title: `not used: ${why}` }, make("s", { textContent: stream }), unseen);
}

// --------------------------------------------------------------------------------------------------- moving along

/** Go to where an utterance begins, in the player if there is one. */
function goTo(i) {
  const begin = shown.spans[i][0];
  if (shown.isTimed && shown.clip && !$("player").hidden) $("player").currentTime = begin + 0.01;
  moveTo(begin);
}

function clickTrack(event) {
  if (event.target.dataset.utterance) return goTo(Number(event.target.dataset.utterance));
  const box = $("track").getBoundingClientRect();
  const at = (shown.length * (event.clientX - box.left)) / box.width;
  return goTo(utteranceAt(at));
}

/** Go from utterance to utterance by the keys of a slider. */
function pressOnTrack(event) {
  const [here, last] = [shown.current, shown.spans.length - 1];
  const to = {
    ArrowRight: here + 1, ArrowDown: here + 1, PageDown: here + 10, End: last,
    ArrowLeft: here - 1, ArrowUp: here - 1, PageUp: here - 10, Home: 0,
  }[event.key]; // prettier-ignore
  if (to === undefined) return;
  event.preventDefault(); // the page would scroll
  goTo(Math.min(last, Math.max(0, to)));
}

/** Number of the last utterance that has begun. */
function utteranceAt(time) {
  let [low, high] = [0, shown.spans.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (shown.spans[middle][0] <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}

function follow() {
  if ($("player").paused || !shown) return;
  moveTo($("player").currentTime);
  requestAnimationFrame(follow);
}

function moveTo(time) {
  if (!shown) return;
  $("cursor").hidden = false;
  $("cursor").style.left = `${Math.min(100, (100 * time) / shown.length)}%`;
  const i = utteranceAt(time);
  drawFaces(shown.utterances[i], time);
  if (i === shown.current) return;
  mark(shown.rows[shown.current], false);
  shown.current = i;
  mark(shown.rows[i], true);
  if (shown.rows[i]) reveal(shown.rows[i]);
  showUtterance(shown.utterances[i], i);
}

function mark(row, isHere) {
  row?.classList.toggle("here", isHere);
  row?.setAttribute("aria-current", isHere);
}

/** Scroll the list, and not the page, until the row is in it. */
function reveal(row) {
  const list = $("utterances");
  const [top, bottom] = [row.offsetTop - list.offsetTop, row.offsetTop - list.offsetTop + row.offsetHeight];
  if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 3;
}

/** The faces of the frame that the model looked at and that is nearest in time, until its utterance ends. */
function drawFaces(utterance, time) {
  const [width, height] = sizeOfPicture();
  const away = ({ time_s }) => Math.abs(time_s - time);
  const nearest = utterance.frames.reduce((best, frame) => (best && away(best) <= away(frame) ? best : frame), null);
  const faces = nearest && time <= (utterance.end_s ?? Infinity) && !($("player").hidden && $("photo").hidden) ? nearest.faces : [];
  $("faces").setAttribute("viewBox", `0 0 ${width} ${height}`); // the picture keeps its shape in the middle of the player
  $("faces").classList.toggle("later", nearest !== null && $("photo").hidden && away(nearest) > HELD);
  $("faces").replaceChildren(
    ...faces.map(([left, top, right, bottom]) => {
      const place = { x: left * width, y: top * height };
      const size = { width: (right - left) * width, height: (bottom - top) * height };
      const face = makeSvg("rect", { ...place, ...size });
      face.style.stroke = tone(utterance.emotion);
      return face;
    }),
  );
}

function describeLook({ frames }) {
  if (!frames.length) return "No face was looked for in this utterance.";
  const found = frames.filter(({ faces }) => faces.length).length;
  return `Looked for faces in ${count(frames.length, "frame")}: ${found ? `found in ${found}` : "none was found"}.`;
}

function showUtterance(utterance, i) {
  $("looked").textContent = describeLook(utterance);
  $("said").textContent = wordsOf(utterance);
  $("rated").textContent = ratingsOf(utterance);
  const [names, values] = [$("odds").querySelectorAll("dt"), $("odds").querySelectorAll("dd:not(.gauge)")];
  $("odds").querySelectorAll(".gauge i").forEach((gauge, lane) => {
    const share = utterance.probabilities[model.classes[lane]];
    gauge.style.width = `${100 * share}%`;
    const threshold = utterance.thresholds?.[model.classes[lane]];
    values[lane].textContent = threshold === undefined ? percent(share) : `${percent(share)} of ${percent(threshold)}`;
    names[lane].className = answers(utterance).includes(model.classes[lane]) ? "top" : "";
  });
  const when = shown.isTimed ? `${clock(utterance.start_s)}, ` : "";
  Object.assign($("track"), {
    ariaValueMax: shown.utterances.length,
    ariaValueNow: i + 1,
    ariaValueText: `${when}${answerOf(utterance)}. ${wordsOf(utterance)}`,
  });
}
