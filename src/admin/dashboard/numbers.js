'use strict';
// From the text that Prometheus scrapes to what the page shows: what was counted between two looks.

/** Families by name: a list of {labels, value} each. */
function parseMetrics(text) {
  const families = new Map();
  for (const line of text.split('\n')) {
    if (line === '' || line[0] === '#') continue;
    const space = line.lastIndexOf(' ');
    const open = line.indexOf('{');
    const name = line.slice(0, open < 0 ? space : open);
    const labels = {};
    if (open >= 0) {
      for (const [, key, value] of line.slice(open, space).matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
        labels[key] = value.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
      }
    }
    if (!families.has(name)) families.set(name, []);
    families.get(name).push({ labels, value: Number(line.slice(space + 1)) });
  }
  return families;
}

class Sample {
  constructor(families, time) {
    this.families = families;
    this.time = time;
  }

  sum(name, fits = () => true) {
    let sum = 0;
    for (const { labels, value } of this.families.get(name) ?? []) if (fits(labels)) sum += value;
    return sum;
  }

  /** Of a histogram: how many were below each bound. */
  buckets(name, fits = () => true) {
    const below = new Map();
    for (const { labels, value } of this.families.get(`${name}_bucket`) ?? []) {
      if (!fits(labels)) continue;
      const bound = labels.le === '+Inf' ? Infinity : Number(labels.le);
      below.set(bound, (below.get(bound) ?? 0) + value);
    }
    return below;
  }
}

/** What happened from one sample to the next. */
class Interval {
  constructor(before, now) {
    Object.assign(this, { before, now, seconds: Math.max(now.time - before.time, 1) / 1000 });
  }

  /** A counter that is smaller than before has begun anew: the edge was restarted. */
  count(name, fits) {
    return Math.max(0, this.now.sum(name, fits) - this.before.sum(name, fits));
  }

  rate(name, fits) {
    return this.count(name, fits) / this.seconds;
  }

  /** Of a histogram; the quantiles in seconds, null while nothing was observed. */
  quantiles(name, wanted, fits) {
    const before = this.before.buckets(name, fits);
    const counts = [...this.now.buckets(name, fits)]
      .map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)])
      .sort(([a], [b]) => a - b);
    const total = counts.length ? counts[counts.length - 1][1] : 0;
    return wanted.map((quantile) => (total > 0 ? withinBuckets(counts, quantile * total) : null));
  }
}

/** As histogram_quantile of Prometheus does: evenly spread within a bucket. */
function withinBuckets(counts, rank) {
  let [low, below] = [0, 0];
  for (const [bound, count] of counts) {
    if (count >= rank) {
      if (bound === Infinity) return low;
      return low + ((bound - low) * (rank - below)) / Math.max(1, count - below);
    }
    [low, below] = [bound, count];
  }
  return low;
}

const isFailure = (labels) => labels.code[0] === '5';

/** The numbers of the tiles. */
function traffic(interval) {
  const requests = 'lakh_http_requests_total';
  const cached = 'lakh_cache_requests_total';
  const all = interval.count(requests);
  const asked = interval.count(cached, (l) => l.status !== 'bypass');
  const found = interval.count(cached, (l) => l.status === 'hit' || l.status === 'stale');
  const [p50, p95, p99] = interval.quantiles('lakh_http_request_duration_seconds', [0.5, 0.95, 0.99]);
  return {
    requests: all / interval.seconds,
    p50, p95, p99,
    errors: all > 0 ? interval.count(requests, isFailure) / all : null,
    hits: asked > 0 ? found / asked : null,
    bytes: interval.rate('lakh_http_response_bytes_total'),
    inFlight: interval.now.sum('lakh_in_flight'),
    connections: interval.now.sum('lakh_connections'),
    cpu: interval.rate('lakh_process_cpu_seconds_total') / Math.max(1, interval.now.sum('lakh_process_cpus')),
    memory: interval.now.sum('lakh_process_resident_memory_bytes'),
  };
}

const nothing = '–';
const withUnit = (value, step, units) => {
  let unit = 0;
  while (value >= step && unit < units.length - 1) { value /= step; unit += 1; }
  const digits = value >= 100 || unit === 0 && Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`.trim();
};
const show = {
  count: (n) => withUnit(n, 1000, ['', 'k', 'M', 'G']),
  bytes: (n) => withUnit(n, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']),
  seconds: (s) => (s === null ? nothing : s < 1 ? withUnit(s * 1e6, 1000, ['µs', 'ms']) : `${s.toFixed(2)} s`),
  percent: (r) => (r === null ? nothing : `${(100 * r).toFixed(r < 0.1 && r > 0 ? 2 : 1)} %`),
  age: (s) => (s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`),
};
