// What the page shows, from what the admin API says. Paths and addresses are chosen by anybody: they
// only ever become text.

const at = (id) => document.getElementById(id);

function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name in node && name !== 'list') node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const pill = (text, kind = '') => el('span', { className: `pill ${kind}` }, text);

/** Columns are [title, value of a row, whether it is a number]. */
function table(rows, columns, empty) {
  if (!rows.length) return el('p', { className: 'faint' }, empty);
  const kind = (number) => ({ className: number ? 'number' : '' });
  return el('table', { className: 'rows' },
    el('thead', {}, el('tr', {}, columns.map(([title, , number]) => el('th', { scope: 'col', ...kind(number) }, title)))),
    el('tbody', {}, rows.map((row) => el('tr', {}, columns.map(([, value, number]) => el('td', kind(number), value(row) ?? nothing))))));
}

// Tiles with a line of the last two minutes.

const MOMENTS = 120;
/** Charts are as wide as this many, until there are more. */
const FEW = 30;
const TILES = [
  { title: 'Requests per second', lines: ['requests'], value: (t) => show.count(t.requests), also: (t) => `${show.count(t.inFlight)} in flight` },
  { title: 'Latency', lines: ['p50', 'p95', 'p99'], value: (t) => `p99 ${show.seconds(t.p99)}`, also: (t) => `p50 ${show.seconds(t.p50)} · p95 ${show.seconds(t.p95)}` },
  { title: 'Failed (5xx)', lines: ['errors'], value: (t) => show.percent(t.errors), also: () => 'of all answers', kind: (t) => (t.errors > 0.01 ? 'bad' : '') },
  { title: 'Hit ratio', lines: ['hits'], most: 1, value: (t) => show.percent(t.hits), also: () => 'of what may be cached' },
  { title: 'Sent', lines: ['bytes'], value: (t) => `${show.bytes(t.bytes)}/s`, also: () => 'bodies to clients' },
  { title: 'Connections', lines: ['connections'], value: (t) => show.count(t.connections), also: () => 'of clients' },
  { title: 'Processors', lines: ['cpu'], most: 1, value: (t) => show.percent(t.cpu), also: (t) => `${show.bytes(t.memory)} of memory`, kind: (t) => (t.cpu > 0.8 ? 'warn' : '') },
];

function svg(tag, attributes, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function chart(moments, names, most) {
  const values = names.map((name) => moments.map((moment) => moment[name] ?? 0));
  const top = most ?? Math.max(1e-9, ...values.flat()) * 1.1;
  const wide = Math.max(FEW, moments.length);
  const x = (n) => ((wide - moments.length + n) * 240) / (wide - 1);
  const y = (value) => 47 - (46 * Math.min(value, top)) / top;
  const path = (line) => line.map((value, n) => `${n ? 'L' : 'M'}${x(n).toFixed(1)} ${y(value).toFixed(1)}`).join('');
  const lines = values.map((line, n) => svg('path', { class: `line ${['', 'second', 'third'][n]}`, d: path(line) }));
  const area = moments.length > 1 && names.length === 1
    ? [svg('path', { class: 'area', d: `${path(values[0])}L240 48L${x(0).toFixed(1)} 48Z` })] : [];
  return svg('svg', { viewBox: '0 0 240 48', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, ...area, ...lines);
}

function showTiles(moments) {
  const now = moments[moments.length - 1];
  at('tiles').replaceChildren(...TILES.map((tile) => el('div', { className: 'tile' },
    el('h3', {}, tile.title),
    el('div', { className: `value ${tile.kind?.(now) ?? ''}` }, tile.value(now)),
    el('div', { className: 'also' }, tile.also(now)),
    chart(moments, tile.lines, tile.most))));
}

// The map: listener → route → upstream → server.

const STATES = { up: 'good', draining: 'warn', half_open: 'warn', down: 'bad', ejected: 'bad', open: 'bad' };
const sides = (route) => (route.upstream ? [route.upstream] : Object.keys(route.split ?? {}));

function matchText(match = {}) {
  const conditions = Object.entries(match).filter(([key]) => key !== 'path');
  return [match.path, ...conditions.map(([key, value]) => `${key} ${typeof value === 'object' ? JSON.stringify(value) : value}`)]
    .filter(Boolean).join(', ');
}

function showListeners(listeners, interval) {
  at('listeners').replaceChildren(...listeners.map((listener) => el('li', { id: `listener-${listener.name}` },
    el('span', { className: 'name' }, listener.name), ` ${listener.address} `,
    listener.tls ? pill('TLS') : null,
    el('div', { className: 'faint' }, `${show.count(interval.rate('lakh_http_requests_total', (l) => l.listener === listener.name))}/s`))));
}

function showRoutes(routes, interval) {
  at('routes').replaceChildren(...routes.map((route) => {
    const mine = (labels) => labels.route === route.name;
    const all = interval.count('lakh_http_requests_total', mine);
    const failed = interval.count('lakh_http_requests_total', (l) => mine(l) && isFailure(l));
    const [p99] = interval.quantiles('lakh_http_request_duration_seconds', [0.99], mine);
    return el('li', { id: `route-${route.name}` },
      el('span', { className: 'name' }, route.name), ` ${matchText(route.match)} `,
      el('div', { className: 'faint' }, `${show.count(all / interval.seconds)}/s · p99 ${show.seconds(p99)} · `,
        el('span', { className: failed ? 'bad' : '' }, `${show.percent(all ? failed / all : null)} failed`),
        ` → ${sides(route).join(', ') || 'nobody'}`));
  }));
}

/** Rows are kept while their servers are: a button under somebody's finger must not go away. */
function showUpstreams(upstreams, interval, onDrain) {
  const list = at('upstreams');
  const focused = document.activeElement?.dataset?.server;
  const most = Math.max(1, ...upstreams.flatMap((upstream) => upstream.servers.map((server) => server.active)));
  list.replaceChildren(...upstreams.map((upstream) => el('li', { id: `upstream-${upstream.name}` },
    el('span', { className: 'name' }, upstream.name), ' ',
    upstream.in_use === 'primaries' ? null : pill(`uses ${upstream.in_use}`, 'warn'),
    el('div', { className: 'faint' }, `${upstream.active} active, ${upstream.waiting} waiting`,
      upstream.concurrency ? ` of ${upstream.concurrency} at once` : ''),
    el('table', { className: 'servers' }, el('tbody', {}, upstream.servers.map((server) => serverRow(upstream, server, interval, most, onDrain)))))));
  if (focused) list.querySelector(`[data-server="${CSS.escape(focused)}"]`)?.focus();
}

function serverRow(upstream, server, interval, most, onDrain) {
  const mine = (labels) => labels.upstream === upstream.name && labels.server === server.address;
  const draining = server.state === 'draining';
  const button = el('button', { className: 'small', type: 'button', onclick: () => onDrain(upstream.name, server.address, !draining) },
    draining ? 'Undrain' : 'Drain');
  button.dataset.server = `${upstream.name} ${server.address}`;
  button.setAttribute('aria-label', `${button.textContent} ${server.address} of ${upstream.name}`);
  const trouble = [server.why, server.last_probe_error].filter(Boolean).join('; ');
  const row = el('tr', {},
    el('td', {}, server.address, server.backup ? ' (backup)' : ''),
    el('td', {}, pill(server.state.replace('_', ' '), STATES[server.state]), ` ${show.age(server.since_seconds)}`,
      server.state === 'up' || !trouble ? null : el('div', { className: 'faint' }, trouble)),
    el('td', {}, el('meter', { min: 0, max: most, value: server.active, title: 'active requests' }), ` ${server.active} · `,
      `${show.count(interval.rate('lakh_upstream_requests_total', mine))}/s`),
    el('td', { className: 'faint' }, `breaker ${server.breaker}`),
    el('td', {}, button));
  row.dataset.state = server.state;
  return row;
}

function drawWires(listeners, routes) {
  const plan = at('plan').getBoundingClientRect();
  const end = (id, side) => {
    const box = document.getElementById(id)?.getBoundingClientRect();
    return box && { x: box[side] - plan.left, y: box.top - plan.top + Math.min(20, box.height / 2) };
  };
  const wires = [
    ...listeners.flatMap((listener) => routes.map((route) => [`listener-${listener.name}`, `route-${route.name}`])),
    ...routes.flatMap((route) => sides(route).map((name) => [`route-${route.name}`, `upstream-${name}`])),
  ];
  at('wires').replaceChildren(...wires.flatMap(([from, to]) => {
    const [a, b] = [end(from, 'right'), end(to, 'left')];
    if (!a || !b) return [];
    const middle = (a.x + b.x) / 2;
    return [svg('path', { d: `M${a.x} ${a.y}C${middle} ${a.y} ${middle} ${b.y} ${b.x} ${b.y}` })];
  }));
}

// What changes slowly.

function showChips(status, isOutOfReach) {
  const config = status.config.error ? pill('last reload refused', 'bad') : pill('configuration in force', 'good');
  at('chips').replaceChildren(
    isOutOfReach ? pill('does not answer', 'bad') : status.ready ? pill('ready', 'good') : pill('not ready', 'bad'),
    config, pill(`up ${show.age(status.uptime_seconds)}`), pill(`version ${status.version}`));
}

function showZones(caches, interval) {
  at('zones').replaceChildren(...caches.map((zone) => {
    const asked = (...results) => interval.count('lakh_cache_requests_total', (l) => l.cache === zone.name && results.includes(l.status));
    const [found, others] = [asked('hit', 'stale'), asked('miss', 'revalidated', 'collapsed')];
    return el('div', {},
      el('span', { className: 'name' }, zone.name), ' ', zone.disk ? pill('disk') : null, zone.redis ? pill('Redis') : null,
      el('div', {}, `${show.bytes(zone.bytes)} of ${show.bytes(zone.memory)} `, el('meter', { min: 0, max: zone.memory, value: zone.bytes })),
      el('div', {}, `${show.count(zone.objects)} objects · ${show.percent(found + others ? found / (found + others) : null)} hits`),
      el('div', { className: 'faint' }, `${show.count(zone.evicted)} evicted`));
  }));
  if (!caches.length) at('zones').replaceChildren(el('p', { className: 'faint' }, 'No cache is configured.'));
}

function showTop(objects) {
  at('top').replaceChildren(table(objects, [
    ['Object', (o) => `${o.host}${o.path}${o.query ? `?${o.query}` : ''}${o.made ? ` (${o.made})` : ''}`],
    ['Cache', (o) => o.zone], ['Status', (o) => o.status],
    ['Hits', (o) => show.count(o.hits), true], ['Bytes', (o) => show.bytes(o.bytes), true], ['Fresh for', (o) => (o.ttl > 0 ? show.age(o.ttl) : 'stale'), true],
  ], 'Nothing is stored.'));
}

function showLimits({ limits, most_limited: offenders, bans }, onBan, onLift) {
  at('limiters').replaceChildren(table(limits, [
    ['Limit', (l) => `${l.name}${l.dry_run ? ' (dry run)' : ''}`],
    ['Allowed', (l) => show.count(l.allowed), true],
    ['Refused', (l) => show.count(l.dry_run ? l.would_refuse : l.refused), true], ['Keys', (l) => show.count(l.keys), true],
  ], 'No rate limit is configured.'));
  const button = (text, what, onclick) => el('button', { className: 'small', type: 'button', 'aria-label': `${text} ${what}`, onclick }, text);
  at('offenders').replaceChildren(table(offenders, [
    ['Address', (o) => o.address], ['By', (o) => o.by], ['Times', (o) => show.count(o.refused), true],
    ['', (o) => button('Ban 10 min', o.address, () => onBan(o.address))],
  ], 'Nobody was refused.'));
  at('bans').replaceChildren(table(bans, [
    ['Address', (b) => b.address], ['For', (b) => b.offence], ['Left', (b) => show.age(b.seconds_left), true],
    ['', (b) => button('Lift', b.address, () => onLift(b.address))],
  ], 'Nobody is kept out.'));
}

function showImages(pictures, sample) {
  const outcomes = sample.families.get('lakh_image_transforms_total') ?? [];
  const made = outcomes.filter((o) => o.labels.outcome === 'transformed').reduce((sum, o) => sum + o.value, 0);
  const failed = outcomes.reduce((sum, o) => sum + o.value, 0) - made;
  at('pool').replaceChildren(
    `${show.count(sample.sum('lakh_image_running'))} being made, ${show.count(sample.sum('lakh_image_queue'))} waiting, `
    + `${show.bytes(sample.sum('lakh_image_memory_bytes'))} taken · ${show.count(made)} made, ${show.count(failed)} not · `
    + `${show.bytes(sample.sum('lakh_image_saved_bytes_total'))} saved`);
  at('pictures').replaceChildren(table([...pictures].reverse(), [
    ['Time', (p) => p.time.slice(11, 19)], ['Source', (p) => p.path], ['Route', (p) => p.route], ['Plan', (p) => p.plan],
    ['Outcome', (p) => pill(p.outcome.replace('_', ' '), p.outcome === 'transformed' ? 'warn' : 'bad')],
    ['Bytes', (p) => show.bytes(p.source_bytes), true], ['Waited', (p) => `${p.waited_ms} ms`, true], ['Took', (p) => `${p.took_ms} ms`, true],
  ], 'None.'));
}

function showConfig(status, sample, written, certificates) {
  const loaded = sample.sum('lakh_config_loaded_timestamp_seconds');
  at('loaded').replaceChildren(
    `In force since ${new Date(loaded * 1000).toLocaleString()}, ${show.count(status.config.loads)} loads, `
    + `${show.count(status.config.failed_reloads)} refused.`,
    status.config.error ? el('pre', { className: 'bad' }, status.config.error) : '');
  at('written').textContent = JSON.stringify(written, null, 2);
  at('certificates').replaceChildren(table(certificates, [
    ['Listener', (c) => c.listener], ['File', (c) => c.file], ['For', (c) => c.names.join(', ')],
    ['Until', (c) => el('span', { className: c.days_left < 14 ? 'bad' : '' }, `${c.not_after.slice(0, 10)} (${c.days_left} days)`)],
    ['', (c) => (c.stale ? pill('its files can’t be used', 'bad') : '')],
  ], 'No listener has TLS.'));
}

function showStream(requests) {
  const status = (r) => el('span', { className: r.status >= 500 ? 'bad' : r.status >= 400 ? 'warn' : '' }, String(r.status));
  at('stream').replaceChildren(table(requests, [
    ['Time', (r) => r.time.slice(11, 23)], ['Client', (r) => r.client], ['Status', status],
    ['Request', (r) => `${r.method} ${r.host}${r.path}`], ['Route', (r) => r.route], ['Server', (r) => r.server],
    ['Cache', (r) => r.cache], ['ms', (r) => r.ms.toFixed(1), true], ['Bytes', (r) => show.bytes(r.bytes), true],
    ['', (r) => r.error ?? r.limit ?? ''],
  ], 'None yet.'));
}
