// A recording from microphone and camera, which becomes the chosen clip like a file.

import { $, clock } from "./dom.js";
import { model } from "./model.js";

const REFUSED = {
  NotAllowedError: "The browser may not use the {what}. Allow it, often by the sign next to the address, and try again.",
  NotFoundError: "The browser finds no {what}. Connect one, or choose a file.",
  NotReadableError: "Another program uses the {what}. Close it and try again, or choose a file.",
};

/** Record until "Stop" is pressed or a clip may be no longer; the file, or an error that says why there is none. */
export async function record(withCamera) {
  const what = withCamera ? "camera and the microphone" : "microphone";
  if (!navigator.mediaDevices || !globalThis.MediaRecorder)
    throw Error("This browser records only on pages of this machine (http://localhost) or with https. Choose a file.");
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: withCamera }).catch((problem) => {
    throw Error((REFUSED[problem.name] ?? `Recording failed: ${problem.message}`).replace("{what}", what));
  });
  try {
    return await recorded(stream, withCamera);
  } finally {
    for (const track of stream.getTracks()) track.stop(); // the light of the camera goes off
    [$("recording").hidden, $("preview").srcObject] = [true, null];
  }
}

function recorded(stream, withCamera) {
  const recorder = new MediaRecorder(stream);
  const parts = [];
  const begun = Date.now();
  const tick = () => {
    const seconds = (Date.now() - begun) / 1000;
    $("elapsed").textContent = `Recording, ${clock(seconds)}`;
    if (seconds >= 60 * model.limits.minutes - 1 && recorder.state === "recording") recorder.stop();
  };
  [$("recording").hidden, $("preview").hidden, $("preview").srcObject] = [false, !withCamera, withCamera ? stream : null];
  const timer = setInterval(tick, 500);
  tick();
  $("stop").onclick = () => recorder.state === "recording" && recorder.stop();
  $("stop").focus();
  return new Promise((resolve, reject) => {
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onerror = ({ error }) => (clearInterval(timer), reject(Error(`Recording failed: ${error.message}`)));
    recorder.onstop = () => {
      clearInterval(timer);
      const type = recorder.mimeType.split(";")[0]; // such as video/webm
      resolve(new File(parts, `recording.${type.split("/")[1] || "webm"}`, { type }));
    };
    recorder.start(1000); // a part each second
  });
}
