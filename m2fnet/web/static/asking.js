// A clip on its way to the model and its answer on the way back, which may be cancelled at any time.

import { count, suffix } from "./dom.js";
import { model } from "./model.js";

const PICTURES = ["jpg", "jpeg", "png", "webp", "bmp"]; // a clip is known by its content, a photograph by its suffix

/**
 * Send a clip, subtitles or both.
 *
 * `tell(sentence, done, of)` is called as the work proceeds. Returns the promise of the answer, and a function that
 * cancels it: once its own promise is kept, neither file is on the server any more.
 */
export function ask({ clip, subtitles }, tell) {
  const ending = new AbortController();
  const names = [];
  const send = async (kind, file) => {
    const name = file ? await upload(kind, file, ending.signal) : "";
    names.push(name);
    return name;
  };
  const work = async () => {
    tell("Sending the clip …");
    const isPhoto = clip && PICTURES.includes(suffix(clip.name));
    const sent = [await send(isPhoto ? suffix(clip.name) : "clip", clip), await send(subtitles && suffix(subtitles.name), subtitles)];
    return analyse(sent, tell, ending.signal);
  };
  const cancel = async () => {
    ending.abort();
    await Promise.all(names.filter(Boolean).map((name) => fetch(`uploads/${name}`, { method: "DELETE" })));
  };
  return { answer: work(), cancel };
}

async function upload(kind, file, signal) {
  if (file.size > 1e6 * model.limits.megabytes)
    throw Error(`The clip has ${Math.ceil(file.size / 1e6)} MB, this page takes up to ${model.limits.megabytes}.`);
  const response = await fetch(`uploads/${kind}`, { method: "PUT", body: file, signal }).catch(() => {
    throw Error("The server took no more of the file. Is it too large, or has the server gone?");
  });
  const answer = await response.json();
  if (!response.ok) throw Error(answer.error);
  return answer.name;
}

/** The answer to uploaded files, when they are first in gradio's queue. */
async function analyse(names, tell, signal) {
  const session = [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");
  const joined = await fetch("gradio_api/queue/join", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ data: names, fn_index: 0, session_hash: session, simple_format: true }),
    signal,
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
        else if (part) tell(...progressOf(part));
      },
      process_completed: ({ success, output }) =>
        success && answer ? end(resolve, answer) : end(reject, Error(output?.error ?? "The model failed over this clip.")),
      unexpected_error: () => end(reject, Error("The server failed over this clip. Its output says how.")),
    };
    signal.onabort = () => end(reject, signal.reason);
    events.onmessage = ({ data }) => ((message) => said[message.msg]?.(message))(JSON.parse(data));
    events.onerror = () => end(reject, Error("The server does not answer any more. Is `m2fnet serve` still running?"));
  });
}

/** What the server says while it works, as arguments of `tell`. */
function progressOf({ loading, what, done, of }) {
  if (loading) return ["Loading the model again, which takes a moment …"];
  if (what === "words") return [`Listening for words: ${done} of ${of}`, done, of];
  if (what === "voices") return [`Telling voices apart: ${done} of ${of}`, done, of];
  return [`Utterance ${done} of ${of}`, done, of];
}
