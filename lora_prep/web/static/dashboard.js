// The dashboard: what is asked before an action, and when the page asks for news. The server draws.
"use strict";

const dialog = document.getElementById("ask");
const trouble = document.getElementById("trouble");
const said = document.getElementById("said");
let opener = ""; // the id of the button that asked
const standing = () => document.querySelector("main")?.dataset.said;
let told = standing();

function fail(text) {
  trouble.textContent = text;
  trouble.hidden = false;
  (dialog.open ? dialog : document.body).append(trouble); // above the dialog, not behind it
}

const isNews = (event) => event.target.id === "now";

// No news while nobody looks, or while something is being selected to be copied.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (!isNews(event)) trouble.hidden = true;
  else if (document.hidden || !getSelection().isCollapsed) event.preventDefault();
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id === "ask-body") {
    opener = event.detail.requestConfig.elt.id; // not every browser focuses what is clicked
    dialog.showModal();
    (document.getElementById("typed") ?? document.getElementById("ask-close")).focus();
    return;
  }
  // How it stands is read out when that changes, not every second of its progress.
  const now = standing();
  if (now && now !== told) said.textContent = told = now;
  showReport();
});

// A report is drawn anew at every end of a run.
function showReport() {
  const frame = document.getElementById("report");
  const now = document.querySelector("main.one")?.dataset.report;
  if (!frame || !now || frame.dataset.report === now) return;
  frame.dataset.report = now;
  frame.src = `/runs/${frame.dataset.run}/report`;
  frame.closest("section").hidden = false;
}

document.addEventListener("htmx:afterRequest", (event) => {
  if (event.target.closest("#ask form") && event.detail.successful) dialog.close();
  else if (isNews(event) && event.detail.successful && !dialog.open) trouble.hidden = true;
});

document.addEventListener("htmx:responseError", (event) => {
  fail(event.detail.xhr.responseText.slice(0, 500));
});
document.addEventListener("htmx:sendError", () => {
  fail("lora-prep dashboard is not running any more: what is shown is old. Start it again.");
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-close]")) dialog.close();
});

dialog.addEventListener("close", () => {
  (document.getElementById(opener) ?? document.getElementById("summary"))?.focus();
  document.body.append(trouble);
  trouble.hidden = true;
});
