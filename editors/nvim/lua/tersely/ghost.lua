--- Our own ghost text, for Neovim before 0.12: one suggestion at the cursor of the current buffer.
---
--- What is typed along a suggestion advances it and asks nobody. Anything else clears it at once, and asks again when
--- typing rests. An answer is painted only if text, cursor and mode are what they were when it was asked for.

local client_of = require("tersely.client")
local config = require("tersely.config")
local menu = require("tersely.menu")
local offer = require("tersely.offer")
local paint = require("tersely.paint")
local status = require("tersely.status")
local Suggestion = require("tersely.suggestion")

local api = vim.api

local M = {}

---@class tersely.Request
---@field client vim.lsp.Client
---@field id integer

---@type tersely.Suggestion[]
local suggestions = {}
local index = 1
local counted = false
---@type tersely.Request?
local request
---@type uv.uv_timer_t?
local timer
--- Where the user put a suggestion away: no other is asked for there.
---@type tersely.Asked?
local dismissed

local function stop_waiting()
  -- A timer that has fired is closed already, though its work may still lie ahead: it looks at `timer` then.
  if timer and not timer:is_closing() then
    timer:stop()
    timer:close()
  end
  timer = nil
  if request then
    client_of.cancel(request.client, request.id)
    request = nil
  end
end

--- Forget what is shown and what was asked for.
local function clear()
  stop_waiting()
  local shown = suggestions[index]
  if shown then
    paint.clear(shown.bufnr)
  end
  suggestions, index, counted = {}, 1, false
end

--- Paint what is left of the suggestion. Returns whether there is something.
local function show()
  local suggestion = suggestions[index]
  local rest = suggestion and suggestion:rest()
  if not rest then
    return false
  end
  if menu.in_the_way() then
    paint.clear(suggestion.bufnr)
    return true
  end
  local text, how = suggestion:display(rest)
  paint.show(suggestion.bufnr, text, how, counted and ("(%d/%d)"):format(index, #suggestions) or nil)
  offer.shown(suggestion)
  return true
end

---@param client vim.lsp.Client
---@param asked tersely.Asked
---@param result any
---@param began_ms number
---@param first integer which of several to show
local function answered(client, asked, result, began_ms, first)
  local items = type(result) == "table" and (result.items or result) or {}
  if #items == 0 or not offer.still(asked) then
    return
  end
  status.answered((vim.uv.hrtime() / 1e6) - began_ms)
  suggestions = vim.tbl_map(function(item)
    return Suggestion.new(client, asked.bufnr, item)
  end, items)
  index = math.min(first, #suggestions)
  counted = first > 1
  show()
end

--- Ask the server for the cursor as it is now.
---@param bufnr integer
---@param trigger integer
---@param first? integer
local function ask(bufnr, trigger, first)
  stop_waiting()
  local client = client_of.of(bufnr)
  if not client or (menu.in_the_way() and trigger == offer.AUTOMATIC) then
    return
  end
  local asked = offer.here(bufnr)
  local began_ms = vim.uv.hrtime() / 1e6
  local id
  id = client_of.request(
    client,
    client_of.INLINE_COMPLETION,
    offer.params(client, asked, trigger),
    function(err, result)
      -- The answer to an older request says nothing about the newer one.
      if request and request.id == id then
        request = nil
        if not err then
          answered(client, asked, result, began_ms, first or 1)
        end
      end
    end,
    bufnr
  )
  request = id and { client = client, id = id } or nil
end

--- Text or cursor changed: go on along the suggestion, or ask for another when typing rests.
---@param bufnr integer
local function changed(bufnr)
  if suggestions[index] and show() then
    return
  end
  clear()
  if dismissed and vim.deep_equal(dismissed, offer.here(bufnr)) then
    return
  end
  dismissed = nil
  local own
  own = vim.defer_fn(function()
    if timer ~= own then
      return
    end
    timer = nil
    if api.nvim_get_current_buf() == bufnr and api.nvim_get_mode().mode:sub(1, 1) == "i" then
      ask(bufnr, offer.AUTOMATIC)
    end
  end, config.get().debounce_ms)
  timer = own
end

--- A menu opened or closed.
function M.refresh()
  local bufnr = api.nvim_get_current_buf()
  if api.nvim_get_mode().mode:sub(1, 1) == "i" and client_of.of(bufnr) then
    changed(bufnr)
  end
end

---@param _ vim.lsp.Client
---@param bufnr integer
function M.attach(_, bufnr)
  local group = api.nvim_create_augroup("tersely.ghost." .. bufnr, {})
  api.nvim_create_autocmd({ "InsertEnter", "CursorMovedI", "TextChangedI", "TextChangedP" }, {
    group = group,
    buffer = bufnr,
    callback = function()
      changed(bufnr)
    end,
  })
  api.nvim_create_autocmd("InsertCharPre", {
    group = group,
    buffer = bufnr,
    callback = function()
      paint.typing(M.current(), vim.v.char)
    end,
  })
  api.nvim_create_autocmd({ "InsertLeave", "BufLeave" }, { group = group, buffer = bufnr, callback = clear })
  if api.nvim_get_current_buf() == bufnr and api.nvim_get_mode().mode:sub(1, 1) == "i" then
    changed(bufnr)
  end
end

--- The suggestion on screen.
---@return tersely.Suggestion?
function M.current()
  local suggestion = suggestions[index]
  return suggestion and not menu.in_the_way() and suggestion:rest() and suggestion or nil
end

---@param kind tersely.Part
---@return boolean taken
function M.accept(kind)
  local suggestion = M.current()
  if not suggestion then
    return false
  end
  if offer.take(suggestion, kind) then
    clear()
  else
    show()
  end
  return true
end

--- Show the next suggestion; asks for several where only one is known.
function M.next()
  if #suggestions > 1 and M.current() then
    index, counted = index % #suggestions + 1, true
    show()
  else
    ask(api.nvim_get_current_buf(), offer.INVOKED, M.current() and 2 or 1)
  end
end

---@return boolean
function M.dismiss()
  local suggestion = M.current()
  if not suggestion then
    return false
  end
  dismissed = offer.here(suggestion.bufnr)
  clear()
  return true
end

return M
