// Sends a clip to the model and draws what comes back. All text goes through textContent: none of it can become markup.

const ROWS = 500; // utterances in the list; the timeline and the files have all
const DETAILED = 500; // utterances up to which the timeline shows the weaker emotions too
const NAMED = 3; // cues that are not utterances; the JSON has all
const HELD = 0.4; // seconds around a frame in which its faces are framed by full lines
const LANE = 20; // height in the timeline, as in page.css
const SUBTITLES = ["srt", "vtt", "rttm", "csv", "txt"];

const $ = (id) => document.getElementById(id);
const model = await (await fetch("model")).json();
const tone = (emotion) => model.colours[model.classes.indexOf(emotion)];
const chosen = { clip: null, subtitles: null };
let shown = null; // the answer on the page: {utterances, spans, length, isTimed, rows, current}

introduce();

// ------------------------------------------------------------------------------------------------ small helpers

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element[name] = value;
  element.append(...children);
  return element;
}

function makeSvg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** The emotions that are the answer: one, or of a model of sets any number. */
const answers = (utterance) => utterance.labels ?? [utterance.emotion];
const percent = (share) => `${Math.round(100 * share)} %`;
const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
const suffix = (name) => name.slice(name.lastIndexOf(".") + 1).toLowerCase();

function clock(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function offer(link, name, content, type) {
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
}

// ------------------------------------------------------------------------------------------- choosing and asking

function introduce() {
  const streams = model.modalities.join(", ");
  $("model").textContent = `${model.name}: ${model.classes.join(", ")}, from ${streams}. ${model.trained_on}`;
  $("terms").textContent =
    `Up to ${model.limits.megabytes} MB and ${model.limits.minutes} minutes. ` +
    "The clip is removed from the server as soon as it is answered.";
  $("clip").onchange = $("subtitles").onchange = (event) => choose(event.target.files);
  $("ask").onsubmit = (event) => (event.preventDefault(), read());
  $("example").onclick = tryExample;
  $("again").onclick = startAgain;
  $("track").onclick = (event) => clickTrack(event);
  $("player").ontimeupdate = $("player").onseeked = () => moveTo($("player").currentTime);
  $("player").onplay = follow;
  $("player").onloadedmetadata = showPicture;
  $("player").onerror = () => $("player").src && ([$("mute").hidden, $("player").hidden] = [false, true]);
  document.ondragover = (event) => (event.preventDefault(), $("drop").classList.add("over"));
  document.ondragleave = () => $("drop").classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    if (!$("ask").hidden) choose(event.dataTransfer.files);
  };
  choose([...$("clip").files, ...$("subtitles").files]); // chosen before this script was there
  $("example").disabled = false;
}

function choose(files) {
  for (const file of files) chosen[SUBTITLES.includes(suffix(file.name)) ? "subtitles" : "clip"] = file;
  $("chosen").replaceChildren(
    ...[chosen.clip, chosen.subtitles].filter(Boolean).map((file) => make("li", { textContent: file.name })),
  );
  $("go").disabled = !(chosen.clip || chosen.subtitles);
  $("problem").hidden = true;
}

function startAgain() {
  $("player").pause();
  URL.revokeObjectURL($("player").src);
  $("player").removeAttribute("src");
  [chosen.clip, chosen.subtitles, shown] = [null, null, null];
  $("ask").reset();
  choose([]);
  show("ask");
}

/** Show one of the three states of the page: "ask", "work", "answer". */
function show(state) {
  for (const id of ["ask", "work", "answer"]) $(id).hidden = id !== state;
  $("again").hidden = state !== "answer";
}

async function tryExample() {
  const names = ["example.mp4", "example.srt"];
  choose(await Promise.all(names.map(async (name) => new File([await (await fetch(name)).blob()], name))));
  await read();
}

async function read() {
  $("problem").hidden = true;
  show("work");
  try {
    tell("Sending the clip …");
    const clip = chosen.clip ? await upload("clip", chosen.clip) : "";
    const subtitles = chosen.subtitles ? await upload(suffix(chosen.subtitles.name), chosen.subtitles) : "";
    const answer = await analyse(clip, subtitles);
    show("answer");
    draw(answer);
  } catch (problem) {
    show("ask");
    $("problem").textContent = problem.message;
    $("problem").hidden = false;
  }
}

function tell(sentence, done, of) {
  $("doing").textContent = sentence;
  if (of) [$("bar").max, $("bar").value] = [of, done];
  else $("bar").removeAttribute("value");
}

async function upload(kind, file) {
  if (file.size > 1e6 * model.limits.megabytes)
    throw Error(`The clip has ${Math.ceil(file.size / 1e6)} MB, this page takes up to ${model.limits.megabytes}.`);
  const response = await fetch(`uploads/${kind}`, { method: "PUT", body: file }).catch(() => {
    throw Error("The server took no more of the file. Is it too large, or has the server gone?");
  });
  const answer = await response.json();
  if (!response.ok) throw Error(answer.error);
  return answer.name;
}

/** The answer to an uploaded clip, when it is first in gradio's queue. */
async function analyse(clip, subtitles) {
  const session = [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");
  const joined = await fetch("gradio_api/queue/join", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ data: [clip, subtitles], fn_index: 0, session_hash: session, simple_format: true }),
  });
  if (!joined.ok) throw Error("The server does not take the clip now. Try again in a few minutes.");
  let answer = null;
  return new Promise((resolve, reject) => {
    const events = new EventSource(`gradio_api/queue/data?session_hash=${session}`);
    const end = (settle, value) => (events.close(), settle(value));
    const said = {
      estimation: ({ rank }) => tell(rank ? `Waiting: ${count(rank, "clip")} in line before yours …` : "Yours is next …"),
      process_starts: () => tell("Reading the clip …"),
      process_generating: ({ output }) => {
        const [part] = output.data ?? [];
        if (part?.utterances) answer = part;
        else if (part) tell(`Utterance ${part.done} of ${part.of}`, part.done, part.of);
      },
      process_completed: ({ success, output }) =>
        success && answer ? end(resolve, answer) : end(reject, Error(output?.error ?? "The model failed over this clip.")),
      unexpected_error: () => end(reject, Error("The server failed over this clip. Its output says how.")),
    };
    events.onmessage = ({ data }) => ((message) => said[message.msg]?.(message))(JSON.parse(data));
    events.onerror = () => end(reject, Error("The server does not answer any more. Is `m2fnet serve` still running?"));
  });
}

// ------------------------------------------------------------------------------------------------------- drawing

function draw(answer) {
  const { utterances } = answer;
  const spans = utterances.map((utterance, i) => [utterance.start_s ?? i, utterance.end_s ?? i + 1]); // a bare transcript has no times
  const isTimed = utterances.every((utterance) => utterance.start_s !== null);
  const length = Math.max(isTimed ? (answer.end_s ?? 0) : 0, ...spans.slice(-20).map(([, end]) => end));
  shown = { utterances, spans, length, isTimed, rows: [], current: -1 };
  showPlayer();
  drawFacts(answer);
  drawTimeline();
  drawOdds();
  drawUtterances();
  moveTo(0);
}

function showPlayer() {
  [$("mute").hidden, $("player").hidden] = [true, !chosen.clip];
  if (chosen.clip) $("player").src = URL.createObjectURL(chosen.clip);
}

/** Give the faces the place of the picture, which is in the middle of the player and keeps its shape. */
function showPicture() {
  const { videoWidth, videoHeight } = $("player");
  $("player").classList.toggle("sound", !videoWidth);
  $("faces").setAttribute("viewBox", `0 0 ${videoWidth} ${videoHeight}`);
  moveTo($("player").currentTime);
}

function drawFacts(answer) {
  const { utterances } = shown;
  const name = (chosen.clip ?? chosen.subtitles).name;
  $("summary").textContent = `${count(utterances.length, "utterance")}, from ${answer.source}`;
  const streams = model.modalities.map((stream) => describe(stream, utterances));
  $("streams").textContent = [...streams, describeFaces(utterances)].join(" · ");
  drawSkipped(answer.skipped, answer.notes);
  drawSpectrogram(answer.spectrogram);
  const { source, skipped, notes } = answer;
  const kept = { clip: name, model: model.name, classes: model.classes, source, skipped, notes, utterances };
  const stem = name.replace(/\.[^.]*$/, "");
  offer($("json"), `${stem}.emotions.json`, JSON.stringify(kept, null, 2), "application/json");
  offer($("csv"), `${stem}.emotions.csv`, answer.csv, "text/csv");
  $("srt").hidden = answer.srt === null;
  offer($("srt"), `${stem}.emotions.srt`, answer.srt ?? "", "application/x-subrip");
  $("png").hidden = answer.timeline === null;
  offer($("png"), `${stem}.emotions.png`, Uint8Array.from(atob(answer.timeline ?? ""), (byte) => byte.charCodeAt(0)), "image/png");
}

/** How many cues of the subtitles are not utterances, the first ones, and what was assumed about the file. */
function drawSkipped(sentences, notes) {
  $("skipped").hidden = !sentences.length && !notes.length;
  const first = [...sentences.slice(0, NAMED), ...(sentences.length > NAMED ? ["…"] : [])].join("; ");
  const skipped = `Skipped ${sentences.length.toLocaleString("en")} cues, lines or sounds that are not utterances: ${first}`;
  $("skipped").textContent = [...(sentences.length ? [skipped] : []), ...notes].join(" ");
}

/** The sound of the longest utterance; a click goes there. */
function drawSpectrogram(found) {
  $("sound").hidden = !found;
  $("spectrogram").src = found ? `data:image/png;base64,${found.png}` : "data:,";
  if (!found) return;
  const [{ speaker, text }, [start, end]] = [shown.utterances[found.utterance], shown.spans[found.utterance]];
  const part = found.seconds < end - start - 0.1 ? `first ${found.seconds.toFixed(0)} s of the ` : "";
  const words = [speaker, text].filter(Boolean).join(": ");
  $("heard").textContent = `Sound of the ${part}longest utterance, from ${clock(start)}${words && ` (${words})`}:`;
  $("spectrogram").onclick = () => goTo(found.utterance);
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

function drawTimeline() {
  const { utterances, spans, length } = shown;
  $("lanes").replaceChildren(...model.classes.map((emotion) => make("span", { textContent: emotion })));
  const height = LANE * model.classes.length;
  const svg = makeSvg("svg", { viewBox: `0 0 1000 ${height}`, preserveAspectRatio: "none" });
  for (let lane = 0; lane < model.classes.length; lane += 2)
    svg.append(makeSvg("rect", { class: "stripe", x: 0, y: LANE * lane, width: 1000, height: LANE }));
  utterances.forEach((utterance, i) => {
    const x = (1000 * spans[i][0]) / length;
    const width = Math.max(1.5, (1000 * (spans[i][1] - spans[i][0])) / length - 1);
    model.classes.forEach((emotion, lane) => {
      const isTop = answers(utterance).includes(emotion);
      const share = utterance.probabilities[emotion];
      if (!isTop && (utterances.length > DETAILED || share < 0.05)) return;
      const bar = makeSvg("rect", { x, y: LANE * lane + 3, width, height: LANE - 6, fill: model.colours[lane] });
      bar.setAttribute("opacity", isTop ? 0.3 + 0.7 * share : 0.6 * share);
      bar.dataset.utterance = i;
      if (isTop) bar.classList.add("top");
      svg.append(bar);
    });
  });
  $("track").querySelector("svg")?.remove();
  $("track").prepend(svg);
  drawAxis();
}

function drawAxis() {
  const { length, isTimed } = shown;
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3000, 6000];
  const most = $("track").clientWidth / 56; // marks that have room next to each other
  const step = steps.find((candidate) => length / candidate <= most) ?? length / 6;
  const marks = [];
  for (let at = 0; at <= length; at += step) {
    const mark = make("span", { textContent: isTimed ? clock(at) : `utterance ${Math.round(at) + 1}` });
    mark.style.left = `${(100 * at) / length}%`;
    marks.push(mark);
  }
  $("axis").replaceChildren(...marks);
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
  words.append(utterance.text ?? make("span", { className: "none", textContent: "no transcript" }));
  const emotion = make("span", { className: "emotion" }, make("i"));
  emotion.append(answers(utterance).map((name) => `${name} ${percent(utterance.probabilities[name])}`).join(", ") || "none");
  const mix = make("span", { className: "mix", title: odds(utterance) });
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

function makeBadge(stream, utterance) {
  const why = utterance.missing[stream];
  return why
    ? make("span", { className: "missing", textContent: stream, title: `not used: ${why}` })
    : make("span", { textContent: stream });
}

const odds = (utterance) => model.classes.map((name) => `${name} ${percent(utterance.probabilities[name])}`).join(", ");

// --------------------------------------------------------------------------------------------------- moving along

/** Go to where an utterance begins, in the player if there is one. */
function goTo(i) {
  const begin = shown.spans[i][0];
  if (shown.isTimed && chosen.clip && !$("player").hidden) $("player").currentTime = begin + 0.01;
  moveTo(begin);
}

function clickTrack(event) {
  if (event.target.dataset.utterance) return goTo(Number(event.target.dataset.utterance));
  const box = $("track").getBoundingClientRect();
  const at = (shown.length * (event.clientX - box.left)) / box.width;
  return goTo(utteranceAt(at));
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
  shown.rows[shown.current]?.classList.remove("here");
  shown.current = i;
  shown.rows[i]?.classList.add("here");
  if (shown.rows[i]) reveal(shown.rows[i]);
  showUtterance(shown.utterances[i]);
}

/** Scroll the list, and not the page, until the row is in it. */
function reveal(row) {
  const list = $("utterances");
  const [top, bottom] = [row.offsetTop - list.offsetTop, row.offsetTop - list.offsetTop + row.offsetHeight];
  if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 3;
}

/** The faces of the frame that the model looked at and that is nearest in time, until its utterance ends. */
function drawFaces(utterance, time) {
  const { videoWidth, videoHeight } = $("player");
  const away = ({ time_s }) => Math.abs(time_s - time);
  const nearest = utterance.frames.reduce((best, frame) => (best && away(best) <= away(frame) ? best : frame), null);
  const faces = nearest && time <= utterance.end_s && !$("player").hidden ? nearest.faces : [];
  $("faces").classList.toggle("later", nearest !== null && away(nearest) > HELD);
  $("faces").replaceChildren(
    ...faces.map(([left, top, right, bottom]) => {
      const place = { x: left * videoWidth, y: top * videoHeight };
      const size = { width: (right - left) * videoWidth, height: (bottom - top) * videoHeight };
      return makeSvg("rect", { ...place, ...size, stroke: tone(utterance.emotion) });
    }),
  );
}

function describeLook({ frames }) {
  if (!frames.length) return "No face was looked for in this utterance.";
  const found = frames.filter(({ faces }) => faces.length).length;
  return `Looked for faces in ${count(frames.length, "frame")}: ${found ? `found in ${found}` : "none was found"}.`;
}

function showUtterance(utterance) {
  $("looked").textContent = describeLook(utterance);
  $("said").textContent = [utterance.speaker, utterance.text ?? "no transcript"].filter(Boolean).join(": ");
  const [names, values] = [$("odds").querySelectorAll("dt"), $("odds").querySelectorAll("dd:not(.gauge)")];
  $("odds").querySelectorAll(".gauge i").forEach((gauge, lane) => {
    const share = utterance.probabilities[model.classes[lane]];
    gauge.style.width = `${100 * share}%`;
    const threshold = utterance.thresholds?.[model.classes[lane]];
    values[lane].textContent = threshold === undefined ? percent(share) : `${percent(share)} of ${percent(threshold)}`;
    names[lane].className = answers(utterance).includes(model.classes[lane]) ? "top" : "";
  });
}
