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

const root = element.querySelector(".rate");
const start = props.start;
let me = remembered();
let shown = null;
let waiting = Promise.resolve();

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

// One question to the server at a time, in the order of the clicks.
function ask(task, click = null) {
  const sent = { ...me, task, click };
  waiting = waiting.then(async () => {
    let found = await server.annotate(sent);
    if (!found) found = { error: "Not saved: the server does not answer. Click again when it runs." };
    if (found.error) {
      say(found.error, true);
      if (shown) draw();
      say(found.error, true);
      return null;
    }
    const fresh = !shown || shown.number !== found.number || shown.kind !== found.kind;
    shown = found;
    draw(fresh);
    if (click) say(found.next === null ? "Saved. All tasks are done: thank you." : "Saved.");
    return found;
  });
  return waiting;
}

function signIn(note = "") {
  shown = null;
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
        ask(null);
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
  const focused = fresh ? null : root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const open = fresh ? !shown.done : root.querySelector("details").open;
  const parts = shown.kind === "rate" ? ratingParts() : comparingParts();
  root.replaceChildren(header(), guidelines(open), ...parts, footer(), make("p", { class: "small" }, KEYS[shown.kind]));
  const key = focused || (fresh ? firstKey() : null);
  if (key) root.querySelector(`[data-key="${key}"]`)?.focus({ preventScroll: fresh });
}

function firstKey() {
  if (shown.kind === "rate") return `item-${shown.order[0]}`;
  return `measure-${Object.keys(MEASURES).find((one) => !shown.verdicts[one]) || "accuracy"}`;
}

function header() {
  const leave = make("button", { type: "button", "data-key": "leave", onclick: () => signIn() }, "Change name or culture");
  return make(
    "div",
    {},
    make(
      "div",
      { class: "bar" },
      make("span", { class: "grow" }, `${start.cultures[me.culture]}: task ${shown.number + 1} of ${shown.tasks}, ${shown.done} done`),
      leave,
    ),
    make("progress", { max: shown.tasks, value: shown.done, "aria-label": "tasks done" }),
  );
}

function guidelines(open) {
  const lines = GUIDELINES[shown.kind].map((line) => make("li", {}, line));
  return make("details", { open }, make("summary", { "data-key": "guidelines" }, "Guidelines"), make("ul", {}, ...lines));
}

function ratingParts() {
  const cards = shown.order.map((item, place) => card(item, place));
  const wrong = shown.contradictions.map(([one, other]) => `${letter(one)} stands above ${letter(other)}, and is rated lower.`);
  for (const item of Object.keys(shown.untrue)) {
    if (shown.ratings[item] > 5) wrong.push(`${letter(Number(item))} is not true here, and is rated ${shown.ratings[item]}.`);
  }
  return [
    make("h2", { dir: "auto" }, shown.question),
    make("ol", { class: "items" }, ...cards),
    make("p", { class: "small", role: "note" }, wrong.join(" ")),
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
        onclick: () => ask(shown.number, { item, move: place + by }),
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
    choice(`${name}: rating`, `rating-${item}`, range(1, 10), rating, (value) => ask(shown.number, { item, rate: Number(value) })),
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
    onchange: () => ask(shown.number, { item, untrue: box.checked ? "" : null }),
  });
  box.checked = untrue;
  const parts = [make("label", {}, box, " Not true here")];
  if (untrue) {
    let timer = null;
    const comment = make("input", {
      type: "text",
      "data-key": `comment-${item}`,
      "aria-label": `${name}: why it is not true here`,
      placeholder: "Why? (optional)",
      maxlength: 2000,
      dir: "auto",
    });
    comment.value = shown.untrue[item];
    const number = shown.number;
    const keep = () => {
      clearTimeout(timer);
      timer = null;
      if (comment.value !== shown.untrue[item]) keepComment(number, item, comment.value);
    };
    comment.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(keep, 400);
    });
    comment.addEventListener("blur", () => timer && keep());
    parts.push(comment);
  }
  return make("div", { class: "untrue" }, ...parts);
}

// Saves what is typed without drawing the page anew, which would move the cursor.
function keepComment(task, item, text) {
  waiting = waiting.then(async () => {
    const found = await server.annotate({ ...me, task, click: { item, untrue: text } });
    if (!found || found.error) say(found?.error || "Not saved: the server does not answer. Type on when it runs.", true);
    else {
      if (shown && shown.number === task) shown.untrue = found.untrue;
      say("Saved.");
    }
  });
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
  ask(shown.number, click);
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
    const group = choice(legend(start.cultures[me.culture]), measure, SIDES, shown.verdicts[measure], (side) => ask(shown.number, { verdict: measure, side }));
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
          ask(shown.number, { verdict: measure, side });
        },
      },
      group,
    );
  });
  return [make("ol", { class: "items two" }, ...sides), ...measures];
}

function footer() {
  const to = (number, label, key, main = false) =>
    make(
      "button",
      {
        type: "button",
        class: main ? "main" : false,
        "data-key": key,
        disabled: number === null || number < 0 || number >= shown.tasks,
        onclick: () => ask(number),
      },
      label,
    );
  return make(
    "div",
    {},
    make(
      "div",
      { class: "bar" },
      to(shown.number - 1, "Previous", "previous"),
      to(shown.number + 1, "Next", "next", shown.finished),
      to(shown.next, "First that is not done", "first"),
    ),
    make("p", { class: "status", role: "status" }),
  );
}

root.addEventListener("keydown", (event) => {
  if (!shown || event.ctrlKey || event.altKey || event.metaKey) return;
  if (["text", "select-one"].includes(event.target.type)) return;
  const by = { n: 1, p: -1 }[event.key.toLowerCase()];
  const number = shown.number + (by || 0);
  if (!by || number < 0 || number >= shown.tasks) return;
  event.preventDefault();
  ask(number);
});

signIn();
if (me.name && me.culture in start.cultures && start.kinds.includes(me.kind)) ask(null);
