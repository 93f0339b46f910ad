// Draws the page to rate on. `element`, `props` and `server` are Gradio's. All text is put in as text, never as markup.
const GUIDELINES = {
  rate: [
    "Put the answers in order, the best first, then rate each from 1 (poor) to 10 (excellent). Your culture is the measure: is it right there, does it answer what was asked, does it say enough?",
    "1 to 2: mostly wrong, or beside the question.",
    "3 to 4: some of it is right; much is missing, or does not belong there.",
    "5: right on the whole, with a small mistake. No answer with a mistake gets more.",
    "6: nothing in it is wrong, and it says little.",
    "7 to 8: nothing in it is wrong, and it says what matters.",
    "9 to 10: nothing in it is wrong, and it says all that somebody from your culture would want to say.",
    "Not true here: people of your culture would say that this is false of them. Say why, if you like.",
    "Do not look anything up, and do not mind grammar. A short answer can be the best one.",
  ],
  compare: [
    "Read both sides. They may answer different questions.",
    "Accurate: what it says is true of most people of your culture today.",
    "Salient: what it speaks of matters to people of your culture, and is typical of it rather than of people anywhere.",
    "Not true here: people of your culture would say that this is false of them. Say why, if you like.",
  ],
};
const KEYS = {
  rate: "Keys: Tab to an answer, then 1 to 9, and 0 for 10; Shift with ↑ or ↓ moves it; X: not true here; N and P: next and previous.",
  compare: "Keys: Tab to a question, then 1 left, 2 equal, 3 right; N and P: next and previous.",
};
const KINDS = { rate: "Rate answers to a question", compare: "Compare two datasets side by side" };
const MEASURES = {
  accuracy: (culture) => `Which is more accurate of ${culture}?`,
  salience: (culture) => `Which is more salient for ${culture}?`,
};
const SIDES = { left: "Left", same: "Equal", right: "Right" };
const REMEMBERED = "caredio-rate";
const UNANSWERED = "Not saved: the server does not answer. Click again, or type on, when it runs.";
const LEFT = "What was clicked last before the name was changed is not saved.";

const root = element.querySelector(".rate");
root.tabIndex = -1;
const start = props.start;
let me = remembered();
let shown = null; // the task as the person sees it, with what the server has not answered yet
let kept = null; // the task as the server answered last
let typed = {}; // item -> comment that was not sent yet
let timer = null; // sends it
let queue = []; // what the server is to be asked
let sending = false;
let held = null; // what was pressed while a task is opened; null: none is

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(REMEMBERED)) || {};
  } catch {
    return {};
  }
}

function say(text, wrong = false) {
  const line = root.querySelector(".status");
  if (!line) return;
  line.textContent = text;
  line.className = wrong ? "status wrong" : "status";
}

// What is clicked is seen at once. The server is asked one question at a time, in the order of the clicks, and only the
// last of them can be to open a task: what is pressed after it waits, and then acts on that task.
function ask(task, click = null) {
  queue.push({ by: me, asked: { ...me, task, seen: shown?.seen, click } });
  if (!sending) send();
}

async function send() {
  sending = true;
  while (queue.length) {
    const { by, asked } = queue.shift();
    const found = (await server.annotate(asked).catch(() => null)) || { error: UNANSWERED };
    const lost = found.error || found.refused ? [asked, ...unqueue(by)] : [];
    if (by !== me) {
      if (lost.some((one) => one.click)) say(LEFT, true);
    } else if (found.error) failed(found.error, lost);
    else if (found.refused || !asked.click) opened(found);
    else saved(found);
  }
  sending = false;
}

// Takes from the queue what a person asked: what follows a click that is not saved was made on top of it.
function unqueue(by) {
  const theirs = queue.filter((one) => one.by === by).map((one) => one.asked);
  queue = queue.filter((one) => one.by !== by);
  return theirs;
}

// Shows what is kept; text that was typed stays, and is sent with the next click.
function failed(error, lost) {
  held = null;
  if (!shown) return signIn(error);
  const texts = lost.filter(({ click }) => click?.untrue).map(({ click }) => [click.item, click.untrue]);
  typed = { ...Object.fromEntries(texts), ...typed };
  shown = structuredClone(kept);
  Object.assign(shown.untrue, typed);
  if (texts.length < lost.length) draw();
  say(error, true);
}

function opened(found) {
  const pressed = held || [];
  held = null;
  typed = {};
  clearTimeout(timer);
  kept = found;
  shown = structuredClone(found);
  draw(true);
  if (found.refused) say(found.refused, true);
  else pressed.forEach(press);
}

// Only counts and notes are drawn anew: what is being clicked or typed stays under the hand.
function saved(found) {
  kept = found;
  const { number, tasks, done, next, finished, contradictions } = found;
  Object.assign(shown, { number, tasks, done, next, finished, contradictions });
  drawCounts();
  if (!queue.length && !held && !Object.keys(typed).length) say(next === null ? "Saved. All tasks are done: thank you." : "Saved.");
}

// Shows a click as `rating_tasks.clicked` will keep it, and sends it.
function act(click) {
  const { item } = click;
  if ("verdict" in click) shown.verdicts[click.verdict] = click.side;
  else if ("rate" in click) shown.ratings[item] = click.rate;
  else if ("move" in click) {
    shown.order = shown.order.filter((one) => one !== item);
    shown.order.splice(click.move, 0, item);
  } else {
    delete typed[item];
    if (click.untrue === null) delete shown.untrue[item];
    else shown.untrue[item] = click.untrue;
  }
  draw();
  say("Saving…");
  sendTyped();
  ask(shown.number, click);
}

// Sends what was typed, without drawing the page anew, which would move the cursor.
function sendTyped() {
  clearTimeout(timer);
  const texts = Object.entries(typed);
  typed = {};
  for (const [item, untrue] of texts) ask(shown.number, { item: Number(item), untrue });
}

function open(task) {
  sendTyped();
  held = [];
  if (document.activeElement.type === "text") root.focus(); // else what is typed goes into a comment on the task before
  say("Opening…");
  ask(task);
}

function leave() {
  sendTyped();
  me = { ...me }; // replies to what was asked before find another
  held = null;
  signIn();
}

// Holds what is pressed while a task is opened. The answers of the task before cannot be clicked any more.
function hold(event) {
  const leaving = event.target.closest("[data-key=leave]") && event.type !== "keydown";
  if (!held || leaving || (event.type === "keydown" && !pressable(event))) return;
  event.preventDefault();
  event.stopPropagation();
  if (event.type === "keydown" || (event.type === "click" && event.target.closest(".footer"))) held.push(event);
}

function pressable(event) {
  return !event.ctrlKey && !event.altKey && !event.metaKey && (event.key.length === 1 || /^(Tab|Enter|Arrow.*)$/.test(event.key));
}

// Acts on the page as it is now as an event that was held would have.
function press(event) {
  const at = document.activeElement;
  if (held) held.push(event);
  else if (event.type === "click") root.querySelector(`[data-key="${event.target.dataset.key}"]`).click();
  else if (event.key === "Tab") tab(event.shiftKey ? -1 : 1);
  else if (at.matches("button, summary") && [" ", "Enter"].includes(event.key)) at.click();
  else if (at.matches("[type=checkbox], [type=radio]") && event.key === " ") at.click();
  else at.dispatchEvent(new KeyboardEvent("keydown", event));
}

// Moves the focus as Tab does: a group of radio buttons is one stop.
function tab(by) {
  const stop = (one) => one.type !== "radio" || one === (one.closest(".scale").querySelector(":checked") || one.closest(".scale").querySelector("input"));
  const stops = [...root.querySelectorAll("[tabindex], button:enabled, input, summary")].filter(stop);
  stops[stops.indexOf(document.activeElement) + by]?.focus();
}

function signIn(note = "") {
  shown = null;
  typed = {};
  const name = make("input", { type: "text", name: "name", autocomplete: "off", maxlength: 200, required: true });
  name.value = me.name || "";
  const culture = make("select", { name: "culture" }, ...Object.entries(start.cultures).map(([one, name]) => make("option", { value: one }, name)));
  if (me.culture in start.cultures) culture.value = me.culture;
  const kind = make("select", { name: "kind" }, ...start.kinds.map((one) => make("option", { value: one }, KINDS[one])));
  if (start.kinds.includes(me.kind)) kind.value = me.kind;
  const form = make(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        me = { name: name.value, culture: culture.value, kind: kind.value };
        sessionStorage.setItem(REMEMBERED, JSON.stringify(me));
        open(null);
      },
    },
    make("label", {}, "Your name", name),
    make("p", { class: "small" }, "Always the same one: your work goes on where you stopped. It is kept as a hash only."),
    make("label", {}, "A culture that you lived in for years", culture),
    ...(start.kinds.length > 1 ? [make("label", {}, "What to do", kind)] : []),
    make("button", { class: "main", type: "submit" }, "Start"),
  );
  root.replaceChildren(make("h2", {}, "Rate answers"), form, make("p", { class: "status", role: "status" }));
  say(note, Boolean(note));
  name.focus();
}

function draw(fresh = false) {
  const { dataset: { key }, selectionStart: from, selectionEnd: to } = document.activeElement;
  const open = fresh ? !shown.done : root.querySelector("details").open;
  const parts = shown.kind === "rate" ? ratingParts() : comparingParts();
  root.replaceChildren(header(), guidelines(open), ...parts, footer(), make("p", { class: "small" }, KEYS[shown.kind]));
  drawCounts();
  const after = root.querySelector(`[data-key="${fresh ? firstKey() : key}"]`);
  after?.focus({ preventScroll: fresh });
  if (!fresh && after?.type === "text") after.setSelectionRange(from, to);
}

// What the server says of the task and the others, in the elements that are there.
function drawCounts() {
  root.querySelector(".count").textContent = `${start.cultures[me.culture]}: task ${shown.number + 1} of ${shown.tasks}, ${shown.done} done`;
  Object.assign(root.querySelector("progress"), { max: shown.tasks, value: shown.done });
  const note = root.querySelector("[role=note]");
  if (note) note.textContent = contradicted();
  const [previous, next, first] = root.querySelector(".footer").children;
  previous.disabled = shown.number === 0;
  next.disabled = shown.number === shown.tasks - 1;
  next.classList.toggle("main", shown.finished);
  first.disabled = shown.next === null;
}

function contradicted() {
  const wrong = shown.contradictions.map(([one, other]) => `${letter(one)} stands above ${letter(other)}, and is rated lower.`);
  for (const item of Object.keys(shown.untrue)) {
    if (shown.ratings[item] > 5) wrong.push(`${letter(Number(item))} is not true here, and is rated ${shown.ratings[item]}.`);
  }
  return wrong.join(" ");
}

function firstKey() {
  if (shown.kind === "rate") return `item-${shown.order[0]}`;
  return `measure-${Object.keys(MEASURES).find((one) => !shown.verdicts[one]) || "accuracy"}`;
}

function header() {
  const button = make("button", { type: "button", "data-key": "leave", onclick: leave }, "Change name or culture");
  return make(
    "div",
    {},
    make("div", { class: "bar" }, make("span", { class: "grow count" }), button),
    make("progress", { "aria-label": "tasks done" }),
  );
}

function guidelines(open) {
  const lines = GUIDELINES[shown.kind].map((line) => make("li", {}, line));
  return make("details", { open }, make("summary", { "data-key": "guidelines" }, "Guidelines"), make("ul", {}, ...lines));
}

function ratingParts() {
  return [
    make("h2", { dir: "auto" }, shown.question),
    make("ol", { class: "items" }, ...shown.order.map(card)),
    make("p", { class: "small", role: "note" }),
  ];
}

function letter(item) {
  return String.fromCharCode(65 + item);
}

function card(item, place) {
  const rating = shown.ratings[item];
  const untrue = item in shown.untrue;
  const name = `Answer ${letter(item)}`;
  const says = [`place ${place + 1} of ${shown.order.length}`, rating ? `rated ${rating}` : "not rated"];
  const move = (by, sign, label) =>
    make(
      "button",
      {
        type: "button",
        "data-key": `${label}-${item}`,
        "aria-label": `${name} ${label}`,
        disabled: place + by < 0 || place + by >= shown.order.length,
        onclick: () => act({ item, move: place + by }),
      },
      sign,
    );
  return make(
    "li",
    {
      class: rating || untrue ? "item done" : "item",
      tabindex: 0,
      "data-key": `item-${item}`,
      "aria-label": `${name}, ${says.join(", ")}`,
      onkeydown: (event) => cardKey(event, item, place),
    },
    make(
      "div",
      { class: "bar" },
      make("strong", { class: "grow" }, `${place + 1}. ${name}`),
      move(-1, "↑", "up"),
      move(1, "↓", "down"),
    ),
    make("p", { class: "text", dir: "auto" }, shown.items[item].response),
    choice(`${name}: rating`, `rating-${item}`, range(1, 10), rating, (value) => act({ item, rate: Number(value) })),
    untrueParts(item, name),
  );
}

// The whole numbers from `low` to `high` as options.
function range(low, high) {
  return Object.fromEntries(Array.from({ length: high - low + 1 }, (_, at) => [low + at, String(low + at)]));
}

// A group of radio buttons, of value -> text.
function choice(legend, name, options, chosen, picked) {
  const labels = Object.entries(options).map(([value, text]) => {
    const input = make("input", {
      type: "radio",
      name: `caredio-${name}`,
      value,
      "data-key": `${name}-${value}`,
      onchange: () => picked(value),
    });
    input.checked = String(chosen) === value;
    return make("label", {}, input, make("span", {}, text));
  });
  return make("fieldset", {}, make("legend", {}, legend), make("div", { class: "scale" }, ...labels));
}

function untrueParts(item, name) {
  const untrue = item in shown.untrue;
  const box = make("input", {
    type: "checkbox",
    "data-key": `untrue-${item}`,
    onchange: () => act({ item, untrue: box.checked ? "" : null }),
  });
  box.checked = untrue;
  const parts = [make("label", {}, box, " Not true here")];
  if (untrue) {
    const comment = make("input", {
      type: "text",
      "data-key": `comment-${item}`,
      "aria-label": `${name}: why it is not true here`,
      placeholder: "Why? (optional)",
      maxlength: 2000,
      dir: "auto",
    });
    comment.value = shown.untrue[item];
    comment.addEventListener("input", () => {
      shown.untrue[item] = typed[item] = comment.value;
      say("Saving…");
      clearTimeout(timer);
      timer = setTimeout(sendTyped, 400);
    });
    parts.push(comment);
  }
  return make("div", { class: "untrue" }, ...parts);
}

function cardKey(event, item, place) {
  if (event.target.type === "text" || event.ctrlKey || event.altKey || event.metaKey) return;
  const digit = /^[0-9]$/.test(event.key) ? Number(event.key) || 10 : null;
  const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  let click = null;
  if (digit) click = { item, rate: digit };
  else if (event.shiftKey && by) {
    if (place + by < 0 || place + by >= shown.order.length) return;
    click = { item, move: place + by };
  } else if (event.key.toLowerCase() === "x") click = { item, untrue: item in shown.untrue ? null : "" };
  if (!click) return;
  event.preventDefault();
  event.stopPropagation();
  act(click);
}

function comparingParts() {
  const sides = shown.items.map((item, place) =>
    make(
      "li",
      { class: "item" },
      make("strong", {}, place ? "Right" : "Left"),
      make("p", { class: "text asked", dir: "auto" }, item.question),
      make("p", { class: "text", dir: "auto" }, item.response),
      untrueParts(place, place ? "Right" : "Left"),
    ),
  );
  const measures = Object.entries(MEASURES).map(([measure, legend]) => {
    const group = choice(legend(start.cultures[me.culture]), measure, SIDES, shown.verdicts[measure], (side) => act({ verdict: measure, side }));
    return make(
      "div",
      {
        class: "measure",
        tabindex: 0,
        "data-key": `measure-${measure}`,
        "aria-label": legend(start.cultures[me.culture]),
        onkeydown: (event) => {
          const side = { 1: "left", 2: "same", 3: "right" }[event.key];
          if (!side) return;
          event.preventDefault();
          act({ verdict: measure, side });
        },
      },
      group,
    );
  });
  return [make("ol", { class: "items two" }, ...sides), ...measures];
}

function footer() {
  const to = (label, key, number) => make("button", { type: "button", "data-key": key, onclick: () => open(number()) }, label);
  const bar = make(
    "div",
    { class: "bar footer" },
    to("Previous", "previous", () => shown.number - 1),
    to("Next", "next", () => shown.number + 1),
    to("First that is not done", "first", () => shown.next),
  );
  return make("div", {}, bar, make("p", { class: "status", role: "status" }));
}

root.addEventListener("keydown", (event) => {
  if (!shown || event.ctrlKey || event.altKey || event.metaKey) return;
  if (["text", "select-one"].includes(event.target.type)) return;
  const by = { n: 1, p: -1 }[event.key.toLowerCase()];
  const number = shown.number + (by || 0);
  if (!by || number < 0 || number >= shown.tasks) return;
  event.preventDefault();
  open(number);
});
for (const kind of ["keydown", "mousedown", "click"]) root.addEventListener(kind, hold, true);

if (me.name && me.culture in start.cultures && start.kinds.includes(me.kind)) {
  root.replaceChildren(make("p", { class: "status", role: "status" }));
  open(null);
} else signIn();
