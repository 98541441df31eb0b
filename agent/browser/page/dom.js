"use strict";

// Elements are made, never parsed: what a model wrote reaches the page as text and nothing else.

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

/** A custom property, which the style sheet turns into a size or a shade. */
function withProperty(element, name, value) {
  element.style.setProperty(name, value);
  return element;
}

function byId(id) {
  return document.getElementById(id);
}

const MISSING = "–";

function decimal(value, digits = 2) {
  if (value === null || value === undefined) return MISSING;
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

function signed(value, digits = 2) {
  const text = decimal(value, digits);
  return value !== null && value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

/** Only none is 0 % and only all is 100 %. */
function percent(value) {
  if (value === null) return MISSING;
  const rounded = Math.round(100 * value);
  if (rounded === 0 && value > 0) return "<1 %";
  return rounded === 100 && value < 1 ? ">99 %" : `${rounded} %`;
}

function count(number) {
  return number.toLocaleString("en-GB");
}

function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** A name as a reader would write it. */
function label(name) {
  return name.replaceAll("_", " ");
}

function announce(text) {
  byId("status").textContent = text;
}
