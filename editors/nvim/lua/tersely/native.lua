--- Suggestions shown by Neovim's own inline completion (0.12), with what it leaves out.
---
--- Neovim asks, paints and cycles. It also paints answers that come too late, goes on showing a suggestion that the
--- user has typed past, and knows no parts. So each answer passes through here before Neovim sees it; what no longer
--- belongs is wiped off at each key; and taking a suggestion is ours.

local client_of = require("tersely.client")
local menu = require("tersely.menu")
local offer = require("tersely.offer")
local paint = require("tersely.paint")
local status = require("tersely.status")
local Suggestion = require("tersely.suggestion")

local api = vim.api

local M = {}

local NAMESPACE = "nvim.lsp.inline_completion"

---@class tersely.Native
---@field suggestions tersely.Suggestion[]
---@field index integer
---@field handler fun(err: table?, result: any, ctx: table) Neovim's own, of the last request

--- By buffer.
---@type table<integer, tersely.Native>
local states = {}

---@param bufnr integer
---@return tersely.Native
local function state_of(bufnr)
  states[bufnr] = states[bufnr] or { suggestions = {}, index = 1 }
  return states[bufnr]
end

---@param bufnr integer
local function wipe(bufnr)
  paint.clear(bufnr, NAMESPACE)
end

--- The suggestion that Neovim has selected, if it still belongs and nothing is in its way.
---@return tersely.Suggestion?
function M.current()
  local state = states[api.nvim_get_current_buf()]
  local suggestion = state and state.suggestions[state.index]
  return suggestion and not menu.in_the_way() and suggestion:rest() and suggestion or nil
end

--- Hand Neovim an answer, or an empty one in place of one that comes too late.
---@param client vim.lsp.Client
---@param asked tersely.Asked
---@param began_ms number
---@param result any
---@return table
local function pass(client, asked, began_ms, result)
  local state = state_of(asked.bufnr)
  local items = type(result) == "table" and (result.items or result) or {}
  if not offer.still(asked) or menu.in_the_way() then
    items = {}
  end
  state.index = 1
  state.suggestions = vim.tbl_map(function(item)
    return Suggestion.new(client, asked.bufnr, item)
  end, items)
  if state.suggestions[1] then
    status.answered((vim.uv.hrtime() / 1e6) - began_ms)
    offer.shown(state.suggestions[1])
  end
  return { items = items }
end

--- Look at this client's inline completions before Neovim does.
---@param client vim.lsp.Client
local function listen(client)
  local request = client.request
  client.request = function(self, method, params, handler, bufnr)
    if method ~= client_of.INLINE_COMPLETION or not handler then
      return request(self, method, params, handler, bufnr)
    end
    bufnr = (bufnr == nil or bufnr == 0) and api.nvim_get_current_buf() or bufnr
    local asked, began_ms = offer.here(bufnr), vim.uv.hrtime() / 1e6
    state_of(bufnr).handler = handler
    return request(self, method, params, function(err, result, ctx)
      return handler(err, err and result or pass(client, asked, began_ms, result), ctx)
    end, bufnr)
  end
end

local listened = {}

--- Wipe off what Neovim goes on showing though it no longer belongs. Runs after Neovim's own autocommand.
local function guard(bufnr)
  local suggestion = M.current()
  -- Neovim shows the rest where the suggestion began, even when the cursor went on to the next line along it.
  if not suggestion or not suggestion:on_first_line() then
    wipe(bufnr)
  end
end

---@param client vim.lsp.Client
---@param bufnr integer
function M.attach(client, bufnr)
  if not listened[client.id] then
    listened[client.id] = true
    listen(client)
  end
  vim.lsp.inline_completion.enable(true, { bufnr = bufnr })
  local group = api.nvim_create_augroup("tersely.native." .. bufnr, {})
  api.nvim_create_autocmd({ "CursorMovedI", "TextChangedI", "TextChangedP", "InsertEnter" }, {
    group = group,
    buffer = bufnr,
    callback = function()
      guard(bufnr)
    end,
  })
  api.nvim_create_autocmd("InsertCharPre", {
    group = group,
    buffer = bufnr,
    callback = function()
      paint.typing(M.current(), vim.v.char, NAMESPACE)
    end,
  })
  api.nvim_create_autocmd({ "InsertLeave", "BufUnload" }, {
    group = group,
    buffer = bufnr,
    callback = function()
      states[bufnr] = nil
    end,
  })
end

--- Ask as Neovim does, and have Neovim take the answer. It offers no way to be told so.
---@param bufnr integer
---@param trigger integer
---@param done? fun()
local function ask(bufnr, trigger, done)
  local state, client = states[bufnr], client_of.of(bufnr)
  if not state or not state.handler or not client then
    return
  end
  local handler = state.handler
  local params = offer.params(client, offer.here(bufnr), trigger)
  client_of.request(client, client_of.INLINE_COMPLETION, params, function(...)
    handler(...)
    if done then
      done()
    end
  end, bufnr)
  -- The request went by `listen`, which took the function above for Neovim's own.
  state_of(bufnr).handler = handler
end

--- A menu opened or closed.
function M.refresh()
  local bufnr = api.nvim_get_current_buf()
  if not states[bufnr] then
    return
  end
  if menu.in_the_way() then
    wipe(bufnr)
  elseif api.nvim_get_mode().mode:sub(1, 1) == "i" then
    ask(bufnr, offer.AUTOMATIC)
  end
end

---@param kind tersely.Part
---@return boolean taken
function M.accept(kind)
  local suggestion = M.current()
  if not suggestion then
    return false
  end
  if offer.take(suggestion, kind) then
    states[suggestion.bufnr].suggestions = {}
  end
  -- Neovim shows the rest again when it sees the cursor moved.
  wipe(suggestion.bufnr)
  return true
end

--- Show the next suggestion; asks for several where only one is known.
function M.next()
  local bufnr = api.nvim_get_current_buf()
  local state = states[bufnr]
  if not state then
    return
  end
  if #state.suggestions > 1 then
    vim.lsp.inline_completion.select({ count = 1 })
    state.index = state.index % #state.suggestions + 1
    return
  end
  local had = M.current() ~= nil
  ask(bufnr, offer.INVOKED, function()
    if had and #state_of(bufnr).suggestions > 1 then
      M.next()
    end
  end)
end

---@return boolean
function M.dismiss()
  local suggestion = M.current()
  if not suggestion then
    return false
  end
  -- Neovim forgets its suggestion, and what it has asked for, only this way.
  vim.lsp.inline_completion.get({
    on_accept = function()
      return nil
    end,
  })
  wipe(suggestion.bufnr)
  states[suggestion.bufnr].suggestions = {}
  return true
end

return M
