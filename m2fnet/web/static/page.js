// The page from its opening on: a clip is chosen or recorded, sent, cancelled or answered, and then the next one.

import { clear, draw } from "./answer.js";
import { ask } from "./asking.js";
import { $, make, suffix } from "./dom.js";
import { model } from "./model.js";
import { record } from "./recorder.js";

const SUBTITLES = ["srt", "vtt", "rttm", "csv", "txt"];

const chosen = { clip: null, subtitles: null };
let asked = null; // what the model works on, as `ask` returns it

introduce();

function introduce() {
  const streams = model.modalities.join(", ");
  $("model").textContent = `${model.name}: ${model.classes.join(", ")}, from ${streams}. ${model.trained_on}`;
  $("terms").textContent =
    `Up to ${model.limits.megabytes} MB and ${model.limits.minutes} minutes. ` +
    "The clip is removed from the server as soon as it is answered.";
  $("unheard").textContent = model.recogniser
    ? `Without subtitles, the recogniser ${model.recogniser} writes the words.`
    : "Without subtitles there are no words, and the emotions come from voice and picture only.";
  $("unheard").hidden = !model.modalities.includes("text");
  $("clip").onchange = $("subtitles").onchange = (event) => choose(event.target.files);
  $("ask").onsubmit = (event) => (event.preventDefault(), read());
  const examples = [...document.querySelectorAll(".example")];
  for (const example of examples) example.onclick = () => tryExample(example.dataset.files.split(" "));
  $("record-sound").onclick = () => recordClip(false);
  $("record-video").onclick = () => recordClip(true);
  for (const button of [...examples, $("record-sound"), $("record-video")]) button.disabled = false; // until now no click was heard
  $("cancel").onclick = cancel;
  $("again").onclick = startAgain;
  document.ondragover = (event) => (event.preventDefault(), $("drop").classList.add("over"));
  document.ondragleave = () => $("drop").classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    if (!$("ask").hidden) choose(event.dataTransfer.files);
  };
  choose([...$("clip").files, ...$("subtitles").files]); // chosen before this script was there
}

function choose(files) {
  for (const file of files) chosen[SUBTITLES.includes(suffix(file.name)) ? "subtitles" : "clip"] = file;
  $("chosen").replaceChildren(
    ...[chosen.clip, chosen.subtitles].filter(Boolean).map((file) => make("li", { textContent: file.name })),
  );
  $("go").disabled = !(chosen.clip || chosen.subtitles);
  $("problem").hidden = $("notice").hidden = true;
}

function startAgain() {
  clear();
  [chosen.clip, chosen.subtitles] = [null, null];
  $("ask").reset();
  choose([]);
  show("ask");
  $("clip").focus();
}

/** Show one of the three states of the page: "ask", "work", "answer". */
function show(state) {
  for (const id of ["ask", "work", "answer"]) $(id).hidden = id !== state;
  $("again").hidden = state !== "answer";
}

async function tryExample(names) {
  [chosen.clip, chosen.subtitles] = [null, null];
  const files = names.map(async (name) => new File([await (await fetch(name)).blob()], name));
  choose(await Promise.all(files));
  await read();
}

async function recordClip(withCamera) {
  $("problem").hidden = $("notice").hidden = true;
  const buttons = [...document.querySelectorAll("#ask button:not(#stop)")];
  const enabled = buttons.filter((button) => !button.disabled);
  for (const button of enabled) button.disabled = true;
  try {
    const file = await record(withCamera);
    for (const button of enabled) button.disabled = false;
    chosen.subtitles = null; // they are those of another clip
    choose([file]);
    $("go").focus();
  } catch (problem) {
    for (const button of enabled) button.disabled = false;
    complain(problem.message);
  }
}

async function read() {
  $("problem").hidden = $("notice").hidden = true;
  show("work");
  $("cancel").focus();
  const mine = ask(chosen, tell);
  asked = mine;
  try {
    const answer = await mine.answer;
    if (asked !== mine) return;
    show("answer");
    draw(answer, chosen);
    $("summary").focus();
  } catch (problem) {
    if (asked !== mine) return; // it was cancelled, and is told so
    show("ask");
    complain(problem.message);
    $("go").focus();
  }
}

async function cancel() {
  const { cancel } = asked;
  asked = null;
  show("ask");
  $("go").focus();
  const isGone = await cancel().then(() => true, () => false); // prettier-ignore
  $("notice").textContent = isGone
    ? "Cancelled. Nothing of the clip is left on the server."
    : "Cancelled, but the server does not answer. Is `m2fnet serve` still running?";
  $("notice").hidden = false;
}

function complain(sentence) {
  $("problem").textContent = sentence;
  $("problem").hidden = false;
}

function tell(sentence, done, of) {
  $("doing").textContent = sentence;
  if (of) [$("bar").max, $("bar").value] = [of, done];
  else $("bar").removeAttribute("value");
}
