// What every part of the page writes with. All text goes through textContent: none of it can become markup.

export const $ = (id) => document.getElementById(id);

/** A new element with these properties and children; a child that is a string stays text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function makeSvg(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export const percent = (share) => `${Math.round(100 * share)} %`;
export const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
export const suffix = (name) => name.slice(name.lastIndexOf(".") + 1).toLowerCase();

/** Minutes and seconds, with hours where there are any: 83 is "1:23". */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
