// Light, dark or as the system says: chosen in the head of the page, and remembered in this browser.

import { $ } from "./dom.js";

const REMEMBERED = "m2fnet-scheme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = [];

export const isDark = () => $("scheme").value === "dark" || ($("scheme").value === "system" && system.matches);

/** Call ``listener`` whenever the page has turned light or dark. */
export const onScheme = (listener) => listeners.push(listener);

function use(scheme) {
  $("scheme").value = scheme;
  document.documentElement.dataset.scheme = scheme;
  for (const listener of listeners) listener();
}

/** The choice of the last visit; a browser may be told to remember nothing. */
function remembered() {
  try {
    const scheme = localStorage.getItem(REMEMBERED);
    return ["light", "dark"].includes(scheme) ? scheme : "system";
  } catch {
    return "system";
  }
}

use(remembered());
system.onchange = () => use($("scheme").value);
$("scheme").onchange = () => {
  use($("scheme").value);
  try {
    localStorage.setItem(REMEMBERED, $("scheme").value);
  } catch {
    // the choice lasts as long as the page
  }
};
