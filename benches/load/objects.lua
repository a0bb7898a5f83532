-- Asks for OBJECTS addresses, from START on, in ORDER: one after the other, or at random.
dofile((debug.getinfo(1).source:match("@(.*/)") or "./") .. "wrk.lua")

local objects = tonumber(os.getenv("OBJECTS"))
local next = tonumber(os.getenv("START"))
local random = os.getenv("ORDER") == "random"

function request()
  next = random and math.random(0, objects - 1) or (next + 1) % objects
  return "GET /cached/1k?n=" .. next .. " HTTP/1.1\r\nHost: bench\r\n\r\n"
end
