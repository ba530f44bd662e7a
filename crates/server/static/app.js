// What the pages do beyond reading and forms: looking again when something changed, logs that go on, keys, true times.
// Everything on them can be read, and every button pressed, without it.
'use strict';

(() => {
  const kept = {
    get(name) { try { return localStorage.getItem(name); } catch { return null; } },
    set(name, value) { try { localStorage.setItem(name, value); } catch { /* Not kept, then. */ } },
  };

  // --- Light and dark: before anything is drawn

  const themes = ['auto', 'light', 'dark'];
  const themeNow = () => (themes.includes(kept.get('cairn-theme')) ? kept.get('cairn-theme') : 'auto');
  const applyTheme = () => { document.documentElement.dataset.theme = themeNow(); };
  applyTheme();

  function theme() {
    const button = document.querySelector('[data-theme-button]');
    if (!button) return;
    const words = { auto: 'Auto', light: 'Light', dark: 'Dark' };
    const show = () => {
      const now = themeNow();
      button.textContent = words[now];
      button.setAttribute('aria-label', `${words[now]} theme`);
      button.title = 'Theme: that of the system, light, or dark';
    };
    button.hidden = false;
    show();
    button.addEventListener('click', () => {
      kept.set('cairn-theme', themes[(themes.indexOf(themeNow()) + 1) % themes.length]);
      applyTheme();
      show();
    });
  }

  // --- Times that stay true

  function far(ms) {
    const seconds = Math.floor(Math.abs(ms) / 1000);
    if (seconds < 10) return ms > 0 ? 'in a moment' : 'just now';
    let words;
    if (seconds < 60) words = `${seconds} s`;
    else if (seconds < 3600) words = `${Math.floor(seconds / 60)} min`;
    else if (seconds < 172800) words = `${Math.floor(seconds / 3600)} h`;
    else words = `${Math.floor(seconds / 86400)} d`;
    return ms > 0 ? `in ${words}` : `${words} ago`;
  }

  function took(ms) {
    const seconds = Math.floor(ms / 1000);
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  }

  function put(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function times() {
    const now = Date.now();
    for (const time of document.querySelectorAll('time[data-relative]')) {
      put(time, far(Date.parse(time.dateTime) - now));
    }
    for (const since of document.querySelectorAll('[data-since]')) {
      put(since, took(Math.max(0, now - Number(since.dataset.since))));
    }
  }

  // --- Looking again

  const served = new Map();
  const remember = (root) => {
    for (const part of root.querySelectorAll('[data-part]')) served.set(part.id, part.outerHTML);
  };

  // What tells an element from others like it, wherever a list has moved it: its id, or else where it leads, and what its
  // form says without being asked. Nothing else gets the focus: who presses Enter means this one.
  function markOf(element) {
    if (element.id) return element.id;
    const form = element.closest('form');
    const hidden = form ? [...form.querySelectorAll('input[type="hidden"]')] : [];
    return JSON.stringify([
      ...['href', 'aria-label', 'name', 'type'].map((name) => element.getAttribute(name)),
      element.tagName === 'BUTTON' ? element.value : null,
      element.closest('details')?.id ?? null,
      form?.getAttribute('action') ?? null,
      hidden.map((input) => [input.name, input.value]),
    ]);
  }

  function likeOf(element) {
    const part = element?.closest?.('[data-part]');
    if (!part) return null;
    const mark = markOf(element);
    return () => {
      const fresh = document.getElementById(part.id);
      if (!fresh || element === part) return fresh;
      return [...fresh.querySelectorAll(element.tagName)].find((other) => markOf(other) === mark);
    };
  }

  function take(fresh) {
    const focused = likeOf(document.activeElement);
    for (const part of fresh.querySelectorAll('[data-part]')) {
      const old = document.getElementById(part.id);
      if (!old || served.get(part.id) === part.outerHTML) continue;
      served.set(part.id, part.outerHTML);
      const open = new Set([...old.querySelectorAll('details[open][id]')].map((details) => details.id));
      const left = old.scrollLeft;
      const node = document.importNode(part, true);
      for (const details of node.querySelectorAll('details[id]')) details.open = open.has(details.id);
      old.replaceWith(node);
      node.scrollLeft = left;
    }
    focused?.()?.focus({ preventScroll: true });
    document.title = fresh.title;
    takeLog(fresh);
    times();
  }

  // What is pressed stays where it is until it is let go: a button that is replaced between the two gets no click. And a
  // page whose form is on its way is about to be left.
  const PRESS_MAX = 10_000;
  let pressedUntil = 0;
  let late = null;
  let lateTimer;
  const press = () => { pressedUntil = Date.now() + PRESS_MAX; };
  const takeLate = () => {
    clearTimeout(lateTimer);
    if (!late) return;
    // What is put off may be the last there is: it is taken though nothing else happens.
    const left = pressedUntil - Date.now();
    if (left > 0) { lateTimer = setTimeout(takeLate, left); return; }
    const fresh = late;
    late = null;
    take(fresh);
  };
  const letGo = () => { pressedUntil = 0; takeLate(); };
  const takeSoon = (fresh) => { late = fresh; takeLate(); };

  function presses() {
    let sending = false;
    // The click comes after the release, before anything that is put off.
    const release = () => setTimeout(() => { if (!sending) letGo(); }, 0);
    addEventListener('pointerdown', press, true);
    addEventListener('pointerup', release, true);
    addEventListener('pointercancel', release, true);
    addEventListener('keydown', (event) => { if (event.key === 'Enter' || event.key === ' ') press(); }, true);
    addEventListener('keyup', release, true);
    addEventListener('blur', release);
    addEventListener('submit', (event) => {
      // A form that is not sent leads nowhere.
      if (event.defaultPrevented || event.target.method === 'dialog') return;
      sending = true;
      press();
      setTimeout(() => { sending = false; letGo(); }, PRESS_MAX);
    });
    addEventListener('pageshow', () => { sending = false; letGo(); });
  }

  function live() {
    let source = null;
    let busy = false;
    let again = false;
    const status = document.querySelector('[data-live-status]');
    const say = (text) => { if (status) put(status, text); };
    const close = () => { source?.close(); source = null; };
    async function look() {
      if (busy) { again = true; return; }
      busy = true;
      try {
        const answer = await fetch(location.href, { headers: { accept: 'text/html', 'cairn-looks-again': '1' }, cache: 'no-store' });
        if (answer.redirected || answer.status === 401) { location.reload(); return; }
        if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
          takeSoon(fresh);
          if (!fresh.body.dataset.live) { delete document.body.dataset.live; close(); }
        }
      } catch { /* The daemon is away: the stream says so. */ }
      busy = false;
      if (again) { again = false; look(); }
    }
    function open() {
      const address = document.body.dataset.live;
      if (!address || source) return;
      source = new EventSource(address);
      source.addEventListener('change', look);
      source.addEventListener('open', () => say(''));
      source.addEventListener('error', () => {
        say('Not connected to the daemon');
        if (source?.readyState === EventSource.CLOSED) { source = null; setTimeout(open, 3000); }
      });
    }
    // What runs gets longer, though nothing happens.
    setInterval(() => { if (source && !document.hidden && document.querySelector('[data-since]:not([data-by-itself])')) look(); }, 2000);
    document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
    // A page that is left keeps no connection: a browser has few for each host.
    addEventListener('pagehide', close);
    addEventListener('pageshow', open);
    open();
  }

  // --- Logs

  const LINES_MAX = 5000;
  let following = null;

  function log() {
    const box = document.querySelector('[data-log]');
    const tools = document.querySelector('[data-log-tools]');
    if (!box || !tools) return;
    tools.hidden = false;
    const find = tools.querySelector('#log-find');
    const found = tools.querySelector('[data-log-found]');
    const follow = tools.querySelector('[data-log-follow]');
    const wrap = tools.querySelector('[data-log-wrap]');
    const stamps = tools.querySelector('[data-log-times]');
    const end = () => { box.scrollTop = box.scrollHeight; };
    const down = () => { if (follow.checked) end(); };
    wrap.checked = kept.get('cairn-wrap') !== 'off';
    stamps.checked = kept.get('cairn-times') === 'on';
    const dress = () => {
      box.classList.toggle('nowrap', !wrap.checked);
      box.classList.toggle('stamped', stamps.checked);
    };
    dress();
    wrap.addEventListener('change', () => { kept.set('cairn-wrap', wrap.checked ? 'on' : 'off'); dress(); });
    stamps.addEventListener('change', () => { kept.set('cairn-times', stamps.checked ? 'on' : 'off'); dress(); });
    follow.addEventListener('change', down);
    // Who goes back, by whatever means, is left there; who comes to the end again follows again.
    let stood = box.scrollTop;
    box.addEventListener('scroll', () => {
      const left = box.scrollHeight - box.clientHeight - box.scrollTop;
      if (box.scrollTop < stood - 1 && left > 30) follow.checked = false;
      else if (left < 4 && following) follow.checked = true;
      stood = box.scrollTop;
    }, { passive: true });
    // The box scrolls, not the page: what was searched with stays in sight.
    const show = (line) => {
      const centre = () => {
        const { top, height } = line.getBoundingClientRect();
        box.scrollTop += top + height / 2 - box.getBoundingClientRect().top - box.clientHeight / 2;
      };
      centre();
      // Lines that nobody has seen yet are of a height that was guessed.
      requestAnimationFrame(centre);
    };
    tools.querySelector('[data-log-top]').addEventListener('click', () => { follow.checked = false; box.scrollTop = 0; });
    tools.querySelector('[data-log-end]').addEventListener('click', end);

    let hits = [];
    let at = -1;
    let searched = '';
    const search = () => {
      const words = find.value.toLowerCase();
      searched = find.value;
      // Lines that come do not take away the one that was gone to.
      const now = hits[at];
      hits = [];
      for (const line of box.children) {
        const hit = words !== '' && line.lastElementChild.textContent.toLowerCase().includes(words);
        line.classList.toggle('hit', hit);
        if (hit) hits.push(line);
        else line.classList.remove('now');
      }
      at = hits.indexOf(now);
      const many = words === '' ? '' : hits.length === 0 ? ('cut' in box.dataset ? 'none in what is shown' : 'none') : `${hits.length} lines`;
      put(found, at < 0 ? many : `${at + 1} of ${hits.length}`);
    };
    const step = (by) => {
      if (hits.length === 0) return;
      hits[at]?.classList.remove('now');
      at = (at + by + hits.length) % hits.length;
      hits[at].classList.add('now');
      follow.checked = false;
      show(hits[at]);
      put(found, `${at + 1} of ${hits.length}`);
    };
    let waiting;
    find.addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(search, 150); });
    find.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') { event.preventDefault(); clearTimeout(waiting); if (at < 0 || find.value !== searched) search(); step(event.shiftKey ? -1 : 1); }
    });
    log.step = step;
    log.follow = () => { follow.checked = !follow.checked; down(); };

    log.unfollow = () => { following?.close(); following = null; };
    log.goOn = () => {
      if (following || document.hidden || !box.dataset.follow || !box.isConnected) return;
      const source = new EventSource(box.dataset.follow);
      following = source;
      const over = () => { source.close(); if (following === source) following = null; };
      source.addEventListener('lines', (event) => {
        // The last line may have been shown before it was whole.
        const first = /id="(L\d+)"/.exec(event.data);
        if (first) document.getElementById(first[1])?.remove();
        box.insertAdjacentHTML('beforeend', event.data);
        // Whoever opens it anew goes on here.
        box.dataset.follow = box.dataset.follow.replace(/after=[^&]*/, `after=${event.lastEventId}`);
        while (box.childElementCount > LINES_MAX) box.firstElementChild.remove();
        if (find.value) search();
        down();
      });
      // What is over is not asked for again; the address still tells which attempt it was.
      source.addEventListener('done', () => { over(); log.goOn = undefined; });
      source.addEventListener('error', () => {
        if (source.readyState === EventSource.CLOSED) { over(); setTimeout(() => log.goOn?.(), 3000); }
      });
    };
    log.unfollow();
    log.goOn();
    // Why it failed is said last, and of a long log only the end is here. A link to a line goes to that line.
    const linked = /^#L\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (linked && box.contains(linked)) { follow.checked = false; show(linked); }
    else if ('atEnd' in box.dataset) end();
    else down();
  }

  // A page that nobody sees, or that is left, keeps no connection: a browser has six for each host.
  function whileSeen() {
    document.addEventListener('visibilitychange', () => (document.hidden ? log.unfollow?.() : log.goOn?.()));
    addEventListener('pagehide', () => log.unfollow?.());
    addEventListener('pageshow', () => log.goOn?.());
  }

  // An attempt that began after the page was made has a log that the page does not.
  function takeLog(fresh) {
    const theirs = fresh.querySelector('#log');
    const ours = document.querySelector('#log');
    if (!theirs || !ours || following) return;
    const next = theirs.querySelector('[data-follow]')?.dataset.follow;
    const attempt = (address) => /attempt=(\d+)/.exec(address ?? '')?.[1];
    const box = ours.querySelector('[data-log]');
    if (!next || attempt(next) === attempt(box?.dataset.follow)) return;
    ours.replaceWith(document.importNode(theirs, true));
    log();
  }

  // --- Calendars: today is what is looked for, also where not all weeks have room

  function calendars() {
    for (const today of document.querySelectorAll('.scroll .calendar .today')) {
      const box = today.closest('.scroll');
      const { left, width } = today.getBoundingClientRect();
      box.scrollLeft += left + width / 2 - box.getBoundingClientRect().left - box.clientWidth / 2;
    }
  }

  // --- Keys

  function keys() {
    const dialog = document.getElementById('keys');
    const on = document.querySelector('[data-keys-on]');
    const hint = document.querySelector('[data-keys-hint]');
    if (!dialog || !on) return;
    const enabled = () => kept.get('cairn-keys') !== 'off';
    on.checked = enabled();
    if (hint) hint.hidden = !enabled();
    on.addEventListener('change', () => { kept.set('cairn-keys', on.checked ? 'on' : 'off'); if (hint) hint.hidden = !on.checked; });
    const places = { p: '/', r: '/runs', s: '/schedule', d: '/dead', e: '/effects', y: '/system' };
    let going = 0;
    const move = (by) => {
      const links = [...document.querySelectorAll('[data-line] [data-line-link]')];
      if (links.length === 0) return;
      const here = document.activeElement?.closest?.('[data-line]');
      const now = links.findIndex((link) => link.closest('[data-line]') === here);
      const to = links[now < 0 ? 0 : Math.min(links.length - 1, Math.max(0, now + by))];
      to.focus();
      to.scrollIntoView({ block: 'nearest' });
    };
    document.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      if (event.target.closest?.('input, textarea, select, [contenteditable]') || dialog.open) return;
      if (!enabled() && event.key !== '?') return;
      if (Date.now() - going < 1500) {
        going = 0;
        if (places[event.key]) { event.preventDefault(); location.href = places[event.key]; return; }
      }
      const does = {
        '/': () => document.getElementById('search')?.focus(),
        '?': () => dialog.showModal(),
        g: () => { going = Date.now(); },
        j: () => move(1),
        k: () => move(-1),
        f: () => log.follow?.(),
        n: () => log.step?.(1),
        N: () => log.step?.(-1),
      }[event.key];
      if (does) { event.preventDefault(); does(); }
    });
  }

  document.addEventListener('DOMContentLoaded', () => {
    remember(document);
    theme();
    times();
    setInterval(times, 1000);
    calendars();
    log();
    whileSeen();
    keys();
    presses();
    live();
  });
})();
