-- Ends wrk's report with one line of JSON: exact counts, latencies in microseconds.
-- It defines `done` only: `request` or `response` would slow wrk down on each request.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "bytes": %d, "p99": %.0f, '
      .. '"errors": {"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
