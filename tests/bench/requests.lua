-- SPDX-License-Identifier: Apache-2.0
-- Sends the requests of a file over and over: wrk -s requests.lua URL -- FILE
-- First line of the file: the Cookie header ("-" for none). Each further line: METHOD, tab, PATH, tab, BODY (or "-").
-- Prints one line for bench.py at the end.

local prepared = {}
local at = 0
local threads = 0

function setup(thread)
  -- Each thread starts elsewhere, so that the threads do not ask for the same key at the same moment.
  thread:set("first", threads * 7919)
  threads = threads + 1
end

function init(args)
  local file = assert(io.open(args[1], "r"))
  local cookie = file:read("*l")
  for line in file:lines() do
    local method, path, body = line:match("^([^\t]*)\t([^\t]*)\t(.*)$")
    local headers = {}
    if cookie ~= "-" then
      headers["Cookie"] = cookie
    end
    if body == "-" then
      body = nil
    else
      headers["Content-Type"] = "application/json"
    end
    prepared[#prepared + 1] = wrk.format(method, path, headers, body)
  end
  file:close()
  at = first
end

function request()
  at = at + 1
  return prepared[at % #prepared + 1]
end

function done(summary, latency)
  local e = summary.errors
  print(string.format(
    "RESULT requests=%d micros=%d p50=%d p99=%d connect=%d read=%d write=%d status=%d timeout=%d",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
