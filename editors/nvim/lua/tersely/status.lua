--- What the server last said of itself, and how long its last answer took. Shows nothing by itself but a short text.

local M = {}

---@class tersely.Status
---@field kind "Normal"|"Busy"|"Warning"|"Error"|"Inactive"
---@field message string
---@field hint string

---@type tersely.Status?
local last
---@type number?
local latency_ms

local SIGNS = { Normal = "✓", Busy = "…", Warning = "!", Error = "✗", Inactive = "off" }

local function changed()
  vim.schedule(function()
    vim.api.nvim_exec_autocmds("User", { pattern = "TerselyStatus", modeline = false })
    vim.cmd.redrawstatus()
  end)
end

--- Take what `tersely/didChangeStatus` brought.
---@param status tersely.Status
function M.set(status)
  last = status
  changed()
end

--- The server is gone.
function M.reset()
  last, latency_ms = nil, nil
  changed()
end

--- Note how long an answer with a suggestion took.
---@param milliseconds number
function M.answered(milliseconds)
  latency_ms = milliseconds
  changed()
end

---@return tersely.Status?
function M.get()
  return last
end

---@return number?
function M.latency_ms()
  return latency_ms
end

---@return string
function M.line()
  if not last then
    return ""
  end
  local words = { "tersely", SIGNS[last.kind] or "?" }
  if last.kind == "Busy" then
    words[#words + 1] = last.message
  elseif last.kind == "Normal" and latency_ms then
    words[#words + 1] = ("%.0f ms"):format(latency_ms)
  end
  return table.concat(words, " ")
end

return M
