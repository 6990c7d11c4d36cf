--- When to start a server again that ended by itself: ever later, and not for ever. Knows no servers and no clock.

local FIRST_S, MOST = 1, 5
local GOOD_S = 180

---@class tersely.Backoff
---@field private failures integer
local Backoff = {}
Backoff.__index = Backoff

---@return tersely.Backoff
function Backoff.new()
  return setmetatable({ failures = 0 }, Backoff)
end

--- The server ended after `lived_s` seconds. Returns the seconds to wait; nil: give up.
---@param lived_s number
---@return integer?
function Backoff:ended(lived_s)
  if lived_s >= GOOD_S then
    self.failures = 0
  end
  self.failures = self.failures + 1
  if self.failures > MOST then
    return nil
  end
  return FIRST_S * 2 ^ (self.failures - 1)
end

--- The user starts it again: what was is forgotten.
function Backoff:reset()
  self.failures = 0
end

return Backoff
