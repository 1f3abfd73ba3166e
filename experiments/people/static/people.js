// What a page does beyond its forms: keys, timings, waiting, and a connection that comes and goes.
"use strict";
(() => {
  const body = document.body, form = document.querySelector("form.answer"), lost = document.getElementById("lost");
  const home = body.dataset.token ? `/s/${body.dataset.token}` : null;
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const start = performance.now();
  let shown = null, hidden = 0, since = document.hidden ? start : null, sent = false;

  // Small images are scaled pixel by pixel; photographs aren't.
  const smooth = (image) => image.classList.toggle("smooth", image.naturalWidth > 128);
  const images = [...document.images].map((image) => (image.complete ? smooth(image) : new Promise((done) => {
    image.addEventListener("load", () => { smooth(image); done(); });
    image.addEventListener("error", done);
  })));
  Promise.all(images).then(() => { shown = performance.now(); });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) since = performance.now();
    else if (since !== null) { hidden += performance.now() - since; since = null; }
  });

  function timings() {
    const now = performance.now();
    return {
      ms: now - (shown ?? start), loaded: shown ?? now, hidden: hidden + (since === null ? 0 : now - since),
      width: window.innerWidth, height: window.innerHeight,
    };
  }

  async function send(data) {
    for (;;) {
      try {
        const reply = await fetch(form.action, {method: "POST", body: data, redirect: "manual"});
        lost.hidden = true;
        if (reply.type === "opaqueredirect") { location.replace(home ?? form.action); return; }
        if (reply.status === 429 || reply.status >= 500) { await sleep(2000); continue; }
        document.open(); document.write(await reply.text()); document.close();
        return;
      } catch {
        lost.hidden = false;
        await sleep(1500);
      }
    }
  }

  if (form && home) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (sent) return;
      sent = true;
      const data = new URLSearchParams(new FormData(form));
      if (event.submitter?.name) data.set(event.submitter.name, event.submitter.value);
      for (const [name, value] of Object.entries(timings())) data.set(name, String(Math.max(0, Math.round(value))));
      form.classList.add("sent");
      form.setAttribute("aria-busy", "true");
      send(data);
    });
  }

  const typed = document.querySelector("[data-words]"), words = document.getElementById("words");
  let asked = 0;
  async function check() {
    const mine = ++asked;
    await sleep(350);
    if (mine !== asked) return;
    try {
      const reply = await fetch(`${home}/words`, {method: "POST", body: new URLSearchParams({prompt: typed.value})});
      const found = (await reply.json()).words;
      if (mine !== asked) return;
      const text = found.length ? `Not allowed, as only the goal has it: ${found.join(", ")}` : "";
      if (words.textContent !== text) words.textContent = text;
      words.hidden = !found.length;
      typed.toggleAttribute("aria-invalid", found.length > 0);
    } catch { /* The server says it again when the form is sent. */ }
  }
  if (typed) { typed.addEventListener("input", check); check(); }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target.closest("textarea, input, select, a, progress")) return;
    const onButton = event.target.closest("button");
    let button = null;
    if (/^[0-9]$/.test(event.key)) button = document.querySelector(`[data-key="${event.key}"]`);
    else if (event.key === " " && !onButton) button = document.querySelector("[data-held]");
    if (button) { event.preventDefault(); button.click(); }
  });

  async function wait() {
    const queue = document.getElementById("queue");
    for (;;) {
      try {
        const reply = await fetch(`${home}/state`);
        lost.hidden = true;
        if (reply.ok) {
          const state = await reply.json();
          if (state.step !== body.dataset.step) { location.replace(home); return; }
          if (state.place > 1) queue.textContent = `You are number ${state.place} in the queue.`;
        } else await sleep(1000);
      } catch {
        lost.hidden = false;
        await sleep(1500);
      }
    }
  }
  if (home && document.getElementById("queue")) wait();
})();
